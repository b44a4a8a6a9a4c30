"""The newest events of this process's own commits, so that those who follow the log need not read it back."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.sqlite.sql import Row

KEPT = 10_000  # events; about a second of the fastest worker


class Tail:
    """Rows of the log as far back as they are without a gap."""

    def __init__(self, head: int) -> None:
        self.head = head  # the newest seq known, of any process
        self._rows: list[Row] = []  # seq, time, id, line, state, attempt, kind, data

    def add(self, rows: Sequence[Row]) -> None:
        """The events of one commit of ours, with their numbers."""
        first = rows[0][0]
        if not self._rows or first != self._rows[-1][0] + 1:
            self._rows = []
        self._rows += rows
        if len(self._rows) > 2 * KEPT:
            del self._rows[:-KEPT]
        self.head = max(self.head, rows[-1][0])

    def moved_on(self, head: int) -> bool:
        """True if the log has events that this process has not heard of."""
        news = head > self.head
        self.head = max(self.head, head)
        return news

    def after(self, seq: int, limit: int) -> list[Row] | None:
        """The rows with a larger seq, in order; None if they have to be read from the database."""
        if seq == self.head:
            return []
        if seq > self.head or not self._rows or self._rows[-1][0] != self.head or seq + 1 < self._rows[0][0]:
            return None
        start = seq + 1 - self._rows[0][0]
        return self._rows[start : start + limit]
