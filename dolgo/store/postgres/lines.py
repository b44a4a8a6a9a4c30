"""The names of the lines, which are read once and kept."""

from __future__ import annotations

from dolgo.store.postgres.sql import Connection, rows
from dolgo.store.relational.rows import LineKey


class Lines:
    """The lines by number and by key, read once: they are only ever added to."""

    def __init__(self) -> None:
        self.by_number: dict[int, LineKey] = {}
        self.by_key: dict[LineKey, int] = {}

    async def read(self, connection: Connection) -> None:
        for n, *key in await rows(connection, "lines_all"):
            self.add(n, (key[0], key[1], key[2]))

    async def key(self, connection: Connection, number: int) -> LineKey:
        if number not in self.by_number:
            await self.read(connection)
        return self.by_number[number]

    async def numbers(self, connection: Connection, keys: set[LineKey]) -> None:
        """See that the lines of these keys have numbers; the new ones are made, all at once and in the order of their keys."""
        new = sorted(keys - self.by_key.keys())
        if not new:
            return
        columns = [list(column) for column in zip(*new, strict=True)]
        await rows(connection, "lines_add", *columns)
        for n, queue, type, hash in await rows(connection, "lines_named", *columns):
            self.add(n, (queue, type, hash))

    def add(self, number: int, key: LineKey) -> None:
        self.by_number[number] = key
        self.by_key[key] = number

    def drop(self) -> None:
        """Forget all: the transaction that added some was rolled back."""
        self.by_number.clear()
        self.by_key.clear()
