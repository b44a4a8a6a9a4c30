"""The names of the lines, which are read once and kept."""

from __future__ import annotations

from dolgo.store.relational.rows import LineKey
from dolgo.store.sqlite.sql import Connection, run


class Lines:
    """The lines by number and by key, read once: they are only ever added to."""

    def __init__(self) -> None:
        self.by_number: dict[int, LineKey] = {}
        self.by_key: dict[LineKey, int] = {}

    def read(self, connection: Connection) -> None:
        for n, queue, type, hash in run(connection, "lines_all"):
            self.by_number[n] = (queue, type, hash)
            self.by_key[(queue, type, hash)] = n

    def key(self, connection: Connection, number: int) -> LineKey:
        if number not in self.by_number:
            self.read(connection)
        return self.by_number[number]

    def drop(self) -> None:
        """Forget all: the transaction that added some was rolled back."""
        self.by_number.clear()
        self.by_key.clear()
