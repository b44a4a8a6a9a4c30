"""One transaction: its time, what it adds to the log, and how it changes the lines."""

from __future__ import annotations

from dolgo.store.sqlite.rows import LATER, READY, LineKey
from dolgo.store.sqlite.sql import Connection, Row, run, run_rows


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


class Turn:
    """What the verbs of one commit gather, written once at its end: few statements, because each may wait for the interpreter."""

    def __init__(self, connection: Connection, lines: Lines, now: float) -> None:
        self.connection = connection
        self.now = now
        self.lines = lines
        self.events: list[Row] = []  # time, id, line, state, attempt; after `finish` with their seq before
        self.work = False  # something may have become claimable
        self._changes: dict[int, list[int]] = {}  # line → change of each count, by state
        self._heads: dict[int, float] = {}  # line → smallest rank that joined it
        self._claimed: set[int] = set()  # lines something was taken from

    def line(self, key: LineKey) -> int:
        """The number of a line, made if it is new."""
        number = self.lines.by_key.get(key)
        if number is None:
            self.lines.read(self.connection)
            number = self.lines.by_key.get(key)
        if number is None:
            number = run(self.connection, "line_add", *key).lastrowid
            assert number is not None
            self.lines.by_key[key] = number
            self.lines.by_number[number] = key
        return number

    def moved(self, id: str, line: int, before: int, after: int, attempt: int) -> None:
        """A task came from one state to another (0: it was new): count it and log it."""
        self.counted(line, before, after)
        self.events.append((self.now, id, line, after, attempt))

    def counted(self, line: int, before: int, after: int) -> None:
        """A task came from one state to another (0: not there) without a change of status to log."""
        changes = self._changes.get(line)
        if changes is None:
            changes = self._changes[line] = [0] * 7
        changes[before] -= 1
        changes[after] += 1

    def joined(self, line: int, rank: float, state: int) -> None:
        """A task became claimable, now or later."""
        self.work = True
        if state == READY:
            self._heads[line] = min(rank, self._heads.get(line, rank))

    def open_lines(self) -> list[tuple[float, int]]:
        """Lines with something claimable, smallest head first; a head may be smaller than what is left in its line."""
        heads = dict(run(self.connection, "lines_open").fetchall())
        for line, rank in self._heads.items():
            heads[line] = min(rank, heads.get(line, rank))
        return sorted((head, line) for line, head in heads.items())

    def looked_into(self, line: int) -> None:
        """A claim looked into the line, so its head is to be set right."""
        self._claimed.add(line)
        self._changes.setdefault(line, [0] * 7)

    def finish(self) -> None:
        """Write the counts, the heads and, last of all, the log."""
        for line, changes in self._changes.items():
            if line in self._claimed:
                run(self.connection, "line_claimed", *changes[LATER:], line, line)
            elif line in self._heads:
                run(self.connection, "line_joined", *changes[LATER:], self._heads[line], self._heads[line], line)
            else:
                run(self.connection, "line_count", *changes[LATER:], line)
        _, last = run_rows(self.connection, "log", self.events)
        self.events = [(seq, *row) for seq, row in enumerate(self.events, start=last - len(self.events) + 1)]
