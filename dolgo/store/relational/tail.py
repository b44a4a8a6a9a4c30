"""The newest events of this process's own commits, so that those who follow the log need not read it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = tuple[Any, ...]

PLAIN = (0, None)  # kind and data of an event that tells of a status
KEPT = 10_000  # events; about a second of the fastest worker


class Tail:
    """Rows of the log as far back as they are without a gap, which a commit of another process makes."""

    def __init__(self, head: int = 0) -> None:
        self.head = head  # the newest seq that this process has written or heard of
        self._first = head + 1  # the seq of the first row here
        self._rows: list[Row] = []  # time, id, line, state, attempt, and of a note kind and data

    def add(self, first: int, rows: Sequence[Row]) -> None:
        """The events of one commit of ours, and the number of the first. Most are never read, so they stay as they are."""
        if first != self._first + len(self._rows):
            self._first, self._rows = first, []
        self._rows += rows
        if len(self._rows) > 2 * KEPT:
            self._first += len(self._rows) - KEPT
            del self._rows[:-KEPT]
        self.head = max(self.head, first + len(rows) - 1)

    def moved_on(self, head: int) -> bool:
        """True if the log has events that this process has not heard of."""
        news = head > self.head
        self.head = max(self.head, head)
        return news

    def forget(self) -> None:
        """The log may be another: data was set back, or a server that lacks the newest took over."""
        self.head, self._first, self._rows = 0, 1, []

    def reaches(self, seq: int) -> bool:
        """Whether all later events that this process has heard of are here."""
        return seq == self.head or (self._first <= seq + 1 <= self.head and self._first + len(self._rows) - 1 == self.head)

    def after(self, seq: int, limit: int) -> list[Row]:
        """The rows with a larger seq, in order, as far as they are here: seq, time, id, line, state, attempt, kind, data.

        If there are none here, the database may have some."""
        if seq + 1 < self._first:
            return []
        start = seq + 1 - self._first
        return [(seq + n, *row, *PLAIN[len(row) - 5 :]) for n, row in enumerate(self._rows[start : start + limit], start=1)]
