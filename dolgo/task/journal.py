"""What handlers wrote while they ran: the lines of a task's log, page by page."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from dolgo.errors import InvalidRequest, Problem
from dolgo.store.base import Store
from dolgo.task.types import Task

PREFIX = "log/"  # notes are called `log/ATTEMPT/PIECE`, each number with eight digits

_piece = msgspec.json.Decoder(list[tuple[int, float, str, str]]).decode


class LogLine(Struct, frozen=True):
    """One line of one attempt."""

    attempt: int
    number: int  # from 1 in each attempt; where some are missing, the line before says how many
    time: float
    level: str
    text: str


class LogPage(Struct, frozen=True):
    """Lines in order, and where to go on; `next` is None while there has been no line."""

    lines: list[LogLine]
    next: str | None


class Journal:
    """Reads the logs that are kept in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, task: Task, *, attempt: int | None, after: str | None, limit: int) -> LogPage:
        """The lines of one attempt, or of all, behind the place `after`, which a page before has named as its `next`."""
        first, seen = (1, 0) if after is None else _place(after)
        if attempt is not None and first < attempt:
            first, seen = attempt, 0
        lines: list[LogLine] = []
        for number in range(max(first, attempt or 1), (attempt or task.attempt) + 1):
            for line in await self._lines(task.id, number):
                if line.attempt > first or line.number > seen:
                    lines.append(line)
            if len(lines) >= limit:
                break
        del lines[limit:]
        return LogPage(lines, f"{lines[-1].attempt}-{lines[-1].number}" if lines else after)

    async def _lines(self, id: str, attempt: int) -> list[LogLine]:
        pieces = await self._store.notes(id, f"{PREFIX}{attempt:08}/")
        return [LogLine(attempt, *line) for _, value in pieces for line in _piece(value)]


def _place(after: str) -> tuple[int, int]:
    attempt, _, number = after.partition("-")
    if not (after.isascii() and attempt.isdigit() and number.isdigit() and len(after) <= 40):
        detail = "it is no place in a log: take the `next` of the page before"
        raise InvalidRequest.of([Problem("/query/after", detail)], "query")
    return int(attempt), int(number)
