"""Counts the words of Python's own standard library: one task for every module, submitted in one batch.

    make run                                          # in one terminal
    .venv/bin/python examples/quickstart.py           # in another

Speaks plain HTTP, as a program in any language would. The server reads the files, so it must run on the same machine.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

BATCH = 10_000  # tasks a request may hold
WAIT = 30  # seconds a request may wait for one task to end
ALL = 1_000_000  # to add up words over files, each file must name all of its own
SHOWN = 10  # of the most frequent words


def main() -> int:
    """Submit, wait, add up, print; the exit code."""
    parser = argparse.ArgumentParser(description="Count the words of Python's standard library with dolgo.")
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="default: %(default)s")
    server = parser.parse_args().server
    started = time.monotonic()
    try:
        with httpx.Client(base_url=server, timeout=WAIT + 10) as client:
            ids = submit(client, list(modules()))
            ended = list(wait(client, ids))
    except httpx.TransportError as error:
        return give_up(f"{server} does not answer ({error}). `make run` starts a server.")
    except httpx.HTTPStatusError as error:
        return give_up(f"The server refused: {error.response.json()['error']}")
    failed = [task["error"] for task in ended if task["status"] != "done"]
    if failed:
        return give_up(f"{len(failed)} of {len(ended)} tasks did not end well; the first says: {failed[0]}")
    show([task["result"] for task in ended], time.monotonic() - started)
    return 0


def modules() -> Iterator[Path]:
    """Every Python file of the standard library, without what was installed beside it."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        if not {"site-packages", "dist-packages"} & set(path.parts):
            yield path


def submit(client: httpx.Client, paths: list[Path]) -> list[str]:
    """The ids of one task for each file. A batch is stored whole or not at all."""
    ids: list[str] = []
    for start in range(0, len(paths), BATCH):
        tasks = [{"type": "count_words", "payload": {"path": str(path), "top": ALL}} for path in paths[start : start + BATCH]]
        answer = client.post("/tasks/batch", json={"tasks": tasks}).raise_for_status()
        ids += [task["id"] for task in answer.json()["tasks"]]
    return ids


def wait(client: httpx.Client, ids: list[str]) -> Iterator[dict[str, Any]]:
    """Each task once it has ended, with a progress bar. They run in the order they were submitted, so that is how to wait."""
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for id in progress.track(ids, description="Counting"):
            task: dict[str, Any] = {}
            while task.get("status") not in ("done", "failed", "cancelled"):
                task = client.get(f"/tasks/{id}", params={"wait": WAIT}).raise_for_status().json()
            yield task


def show(results: Iterable[dict[str, Any]], seconds: float) -> None:
    """Print the totals."""
    files = lines = 0
    words: Counter[str] = Counter()
    for result in results:
        files += 1
        lines += result["lines"]
        words.update(result["frequent"])
    table = Table("counted", "number")
    table.columns[1].justify = "right"
    for name, number in {"files": files, "lines": lines, "words": words.total()}.items():
        table.add_row(name, f"{number:,}")
    table.add_row("seconds", f"{seconds:.1f}", end_section=True)
    for word, number in words.most_common(SHOWN):
        table.add_row(f"“{word}”", f"{number:,}")
    Console().print(table)


def give_up(reason: str) -> int:
    """Say why it did not work; the exit code."""
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
