"""How tasks that are watched are shown: lines, JSON, or bars on a terminal."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dolgo.cli import output
from dolgo.cli.task import show
from dolgo.task.types import FINAL


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


class Lines:
    """A line for each change; with its id where several tasks are watched."""

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._last: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def show(self, id: str, task: Full, raw: bytes) -> None:
        """Tell how the task stands, unless it was told."""
        told = line(task)
        if told != self._last.get(id) and task.status not in FINAL:
            output.data(f"{output.plain(id)}  {told}" if self._several else told)
        self._last[id] = told

    def ended(self, short: bytes) -> None:
        """Tell how a task has ended, as its short form has it."""
        show(short, as_json=False)


class Json(Lines):
    """The full view at each change, as the server sent it."""

    def show(self, id: str, task: Full, raw: bytes) -> None:
        output.line(raw)

    def ended(self, short: bytes) -> None:
        """The full view has told it."""


class Bars(Lines):
    """A bar for each task on a terminal; it goes when the task has ended."""

    def __init__(self, *, several: bool) -> None:
        super().__init__(several=several)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._rows: dict[str, TaskID] = {}
        self._ended: list[bytes] = []

    def __enter__(self) -> Lines:
        self._bars.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.stop()
        for short in self._ended:
            super().ended(short)

    def show(self, id: str, task: Full, raw: bytes) -> None:
        """Move the task's bar."""
        if id not in self._rows:
            self._rows[id] = self._bars.add_task("", total=None)
        if task.status in FINAL:
            self._bars.update(self._rows[id], visible=False)
            return
        done = task.progress or Done(0)
        name = f"{output.plain(id)}  " if self._several else ""
        self._bars.update(self._rows[id], description=name + words(task), completed=done.done, total=done.total, refresh=True)

    def ended(self, short: bytes) -> None:
        """Tell it when no bar is in the way any more."""
        self._ended.append(short)


def screen(*, several: bool, as_json: bool) -> Lines:
    """What fits who looks."""
    if as_json:
        return Json(several=several)
    return Bars(several=several) if sys.stderr.isatty() else Lines(several=several)


def words(task: Full) -> str:
    """The status, and what is to be said of it in words."""
    about = f"attempt {task.attempt}" if task.attempt > 1 else ""
    note = task.progress.note if task.progress is not None else ""
    why = task.waiting_for.text if task.waiting_for is not None else ""
    return output.plain("  ".join(filter(None, (task.status, about, note, why))))


def line(task: Full) -> str:
    """The same, and how far it is."""
    done = task.progress
    figures = "" if done is None else f"{done.done:g}" if done.total is None else f"{done.done:g}/{done.total:g}"
    return "  ".join(filter(None, (words(task), figures)))
