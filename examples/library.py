"""Measures Python's own standard library: one task a package, one that collects what they found, and one that writes a report.

    make run                                          # in one terminal
    .venv/bin/python examples/library.py              # in another; or name some packages: … library.py asyncio json

They are submitted as one batch, in which each names by its `ref` what it depends on; so the report is made whether this program
waits for it or not. The server reads the files, so it must run on the same machine.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import MofNCompleteColumn, Progress

WAIT = 30  # seconds a request may wait for one task to end
INSTALLED = ("site-packages", "dist-packages")  # beside the library, not of it


class Trouble(Exception):
    """What the user can do something about."""


def main() -> int:
    """Submit, wait, print the report; the exit code."""
    parser = argparse.ArgumentParser(description="Measure Python's standard library with dolgo.")
    parser.add_argument("packages", nargs="*", help="packages and modules of the library; all of them if none is named")
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="write the report, which is Markdown, to this file instead of printing it")
    options = parser.parse_args()
    try:
        with httpx.Client(base_url=options.server, timeout=WAIT + 10) as client:
            report = wait(client, submit(client, batch(chosen(options.packages))))
    except httpx.TransportError as error:
        return give_up(f"{options.server} does not answer ({error}). `make run` starts a server.")
    except httpx.HTTPStatusError as error:
        return give_up(f"The server refused: {error.response.json()['error']}")
    except Trouble as error:
        return give_up(str(error))
    if options.out:
        options.out.write_text(report, encoding="utf-8")
    else:
        Console().print(Markdown(report))
    return 0


def chosen(names: Sequence[str]) -> list[Path]:
    """The packages of these names, or all. Raises Trouble for a name that the library has not."""
    library = {path.stem: path for path in packages(Path(sysconfig.get_path("stdlib")))}
    if unknown := [name for name in names if name not in library]:
        raise Trouble(f"The standard library has no source of {', '.join(unknown)}.")
    return [library[name] for name in names or library]


def packages(library: Path) -> Iterator[Path]:
    """Its packages and modules, without what was installed beside it."""
    for path in sorted(library.iterdir()):
        if path.suffix == ".py" or ((path / "__init__.py").exists() and path.name not in INSTALLED):
            yield path


def batch(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The tasks: many to measure, one that depends on all of them, and one that depends on that one."""
    measures = [{"type": "measure_package", "payload": {"path": str(path)}, "ref": path.stem} for path in paths]
    collect = {"type": "collect_packages", "ref": ".collect", "depends_on": [f"ref:{path.stem}" for path in paths]}
    report = {"type": "report_packages", "depends_on": ["ref:.collect"]}
    return [*measures, collect, report]


def submit(client: httpx.Client, tasks: Sequence[dict[str, Any]]) -> list[str]:
    """Their ids. All are stored, or none."""
    answer = client.post("/tasks/batch", json={"tasks": tasks}).raise_for_status()
    return [task["id"] for task in answer.json()["tasks"]]


def wait(client: httpx.Client, ids: Sequence[str]) -> str:
    """What the last task made, once it has ended; with a progress bar. Raises Trouble at the first that did not end well."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    task: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for id in progress.track(ids, description="Measuring"):
            task = ended(client, id)
            if task["status"] != "done":
                raise Trouble(f"Task {id} did not end well, and those that depend on it are cancelled: {task['error']}")
    return str(task["result"])


def ended(client: httpx.Client, id: str) -> dict[str, Any]:
    """The task, when it has ended."""
    while True:
        task: dict[str, Any] = client.get(f"/tasks/{id}", params={"wait": WAIT}).raise_for_status().json()
        if task["status"] in ("done", "failed", "cancelled"):
            return task


def give_up(reason: str) -> int:
    """Say why it did not work; the exit code."""
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
