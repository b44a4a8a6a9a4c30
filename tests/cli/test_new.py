"""`dolgo new`: the files it writes work as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("command", [["-m", "pytest"], [str(Path(sys.executable).with_name("pytest"))]])
def test_it_writes_a_type_and_a_test_that_passes(command: list[str], alone: Run, at: Path) -> None:
    ran = alone("new", "resize_picture")
    assert (ran.code, ran.out) == (0, "tasks/resize_picture.py\ntests/test_resize_picture.py\n")
    tested = subprocess.run([sys.executable, *command, "-q"], cwd=at, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout


def test_what_it_writes_is_a_task_type(alone: Run, at: Path) -> None:
    alone("new", "resize_picture")
    probe = (
        "from dolgo.runner.discover import load\n"
        "found = load(['tasks'])\n"
        "assert 'resize_picture' in found.registry and not found.broken, found.broken\n"
    )
    subprocess.run([sys.executable, "-c", probe], cwd=at, check=True)


def test_what_it_writes_is_formatted(alone: Run, at: Path) -> None:
    alone("new", "resize_picture")
    for command in (["check", "--select", "E,F,I"], ["format", "--check"]):
        subprocess.run([Path(sys.executable).with_name("ruff"), *command, "--quiet", "--isolated", "."], cwd=at, check=True)


@pytest.mark.parametrize("there", ["tasks/x.py", "tests/test_x.py"])
def test_it_overwrites_nothing(there: str, alone: Run, at: Path) -> None:
    (at / there).parent.mkdir()
    (at / there).write_text("mine")
    ran = alone("new", "x")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"dolgo: {there} exists already, and nothing was written. Choose another name.\n"
    assert [path.read_text() for path in at.rglob("*.py")] == ["mine"]


@pytest.mark.parametrize("name", ["1st", "a-b", "a.b", "class", "", "../x", "имя", "_x", "x y", "long_task"])
def test_a_name_that_cannot_be_used_is_refused(name: str, alone: Run, at: Path) -> None:
    ran = alone("new", name)
    assert (ran.code, ran.out) == (2, "")
    assert list(at.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(alone: Run, at: Path) -> None:
    (at / "tasks").write_text("a file")
    ran = alone("new", "x")
    assert ran.code == 1
    assert ran.err.startswith("dolgo: tasks/x.py cannot be written: ")
    assert ran.err.count("\n") == 1


def test_json_lists_the_files(alone: Run) -> None:
    assert alone("new", "x", "--json").out == '["tasks/x.py","tests/test_x.py"]\n'
