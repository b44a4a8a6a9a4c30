"""`dolgo watch`: how a task goes, until it has ended."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, task_path
from dolgo.cli.options import Duration
from dolgo.cli.task import show
from dolgo.client.verbs import HOLD, OUTAGE
from dolgo.task.types import FINAL, Status


class Done(msgspec.Struct):
    """How far a handler says it is."""

    done: float
    total: float | None = None
    note: str = ""


class Reason(msgspec.Struct):
    """Why a task has not started."""

    text: str


class Full(msgspec.Struct):
    """What is looked at of a task."""

    status: str
    attempt: int = 0
    progress: Done | None = None
    waiting_for: Reason | None = None


@click.command("watch")
@click.argument("id")
@click.option("--timeout", type=Duration(), help="Give up after this long, such as 30s or 5m (exit code 124).")
@client_command
async def watch_command(server: Server, *, id: str, timeout: float | None, as_json: bool) -> int:
    """Show how a task stands and how far it is, until it has ended. Exit code 3 when it did not end `done`."""
    with _screen(as_json=as_json) as screen:
        status = await _watch(server, id, timeout, screen)
    if status not in FINAL:
        return Exit.TIMED_OUT
    if not as_json:
        show(await server.get(task_path(id)), as_json=False)
    return Exit.OK if status == Status.DONE else Exit.TASK_FAILED


async def _watch(server: Server, id: str, timeout: float | None, screen: _Lines) -> str:
    """The status when it has ended, or when time has run out."""
    loop, etag, status, hold = asyncio.get_running_loop(), None, "", 0.0
    deadline = None if timeout is None else loop.time() + timeout
    while status not in FINAL:
        body, etag = await server.changed(task_path(id), etag, wait=hold, params={"view": "full"})
        server.patience = OUTAGE
        if body is not None:
            task = decode(body, Full)
            status = task.status
            screen.show(task, body)
        hold = HOLD if deadline is None else min(HOLD, deadline - loop.time())
        if hold <= 0.0:
            break
    return status


def _screen(*, as_json: bool) -> _Lines:
    if as_json:
        return _Json()
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Lines:
    """A line for each change."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def show(self, task: Full, raw: bytes) -> None:
        """Tell how the task stands, unless it was told."""
        line = _line(task)
        if line != self._last and task.status not in FINAL:
            output.data(line)
        self._last = line


class _Json(_Lines):
    """The full view at each change, as the server sent it."""

    def show(self, task: Full, raw: bytes) -> None:
        output.line(raw)


class _Bar(_Lines):
    """A bar on a terminal; it goes when the task has ended."""

    def __init__(self) -> None:
        super().__init__()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID = self._bar.add_task("", total=None)

    def __enter__(self) -> _Lines:
        self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.stop()

    def show(self, task: Full, raw: bytes) -> None:
        done = task.progress or Done(0)
        if task.status not in FINAL:
            self._bar.update(self._task, description=_words(task), completed=done.done, total=done.total, refresh=True)


def _line(task: Full) -> str:
    done = task.progress
    figures = "" if done is None else f"{done.done:g}" if done.total is None else f"{done.done:g}/{done.total:g}"
    return "  ".join(filter(None, (_words(task), figures)))


def _words(task: Full) -> str:
    """The status, and what is to be said of it in words."""
    about = f"attempt {task.attempt}" if task.attempt > 1 else ""
    note = task.progress.note if task.progress is not None else ""
    why = task.waiting_for.text if task.waiting_for is not None else ""
    return output.plain("  ".join(filter(None, (task.status, about, note, why))))
