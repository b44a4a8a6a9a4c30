"""The gates of a file, as a commit finds them."""

from __future__ import annotations

from collections.abc import Iterable

from dolgo.store.relational.gates import GateRules, Name
from dolgo.store.sqlite.sql import Connection, run
from dolgo.task.types import HeldUp


class Gates(GateRules):
    """All gates at one moment."""

    def __init__(self, connection: Connection, name: Name, now: float, running: Iterable[tuple[int, int]]) -> None:
        """`running`: how many tasks of each line are in progress."""
        super().__init__(name, now, run(connection, "gates").fetchall(), running)
        self._connection = connection

    def key_held_up(self, line: int, key: str) -> HeldUp | None:
        """What closes the line to the tasks of one limit key, whatever else does."""
        if not self._of_keys(line):
            return None
        for new in self._begin_to_know([key]):
            self._know((new, *row) for row in run(self._connection, "keyed_running", new))
        return self._key_held_up(line, key)

    def write(self) -> None:
        """Keep what the rates have let through."""
        for scope, tat in self.new_times.items():
            run(self._connection, "gate_started", tat, scope)
