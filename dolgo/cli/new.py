"""`dolgo new`: the files of a new task type."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

import click

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit

TASK = '''\
"""The task type {name}."""

from dolgo import task


@task
def {name}(name: str = "world") -> dict[str, str]:
    """Greet someone. (This is the description; the parameters are the payload.)"""
    return {{"greeting": f"Hello, {{name}}!"}}
'''

TEST = '''\
"""Tests of the task type {name}: `run` runs it as a task, without a server."""

import sys
from pathlib import Path

from dolgo.testing import run

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.{name} import {name}  # noqa: E402


def test_{name}_greets() -> None:
    assert run({name}, name="you") == {{"greeting": "Hello, you!"}}
'''


@click.command("new")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new_command(*, name: str, as_json: bool) -> int:
    """Write a task type, tasks/NAME.py, and its test, tests/test_NAME.py."""
    _check(name)
    files = {Path("tasks", f"{name}.py"): TASK, Path("tests", f"test_{name}.py"): TEST}
    for path in files:
        if path.exists():
            raise CallFailed(f"{path} exists already, and nothing was written. Choose another name.")
    for path, text in files.items():
        _write(path, text.format(name=name))
    if as_json:
        output.json([str(path) for path in files])
        return Exit.OK
    for path in files:
        output.data(str(path))
    output.talk(f"Run its test with `python -m pytest tests/test_{name}.py`, and the task with `dolgo serve` and")
    output.talk(f"`dolgo submit {name} --wait`.")
    return Exit.OK


def _check(name: str) -> None:
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name.startswith("_"):
        raise click.UsageError(f"{name!r} cannot name a Python function: letters, digits and _, such as resize_picture.")
    if importlib.util.find_spec(f"dolgo.tasks.{name}") is not None:
        raise click.UsageError(f"{name!r} is a task type that dolgo brings along. Choose another name.")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CallFailed(f"{path} cannot be written: {error.strerror}.") from None
