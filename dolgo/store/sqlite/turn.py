"""One transaction: its time, what it adds to the log, and how it changes the lines."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dolgo.store.base import CASCADED
from dolgo.store.relational.rows import DONE, IN_PROGRESS, READY, WAITING, LineKey
from dolgo.store.sqlite.gates import Gates
from dolgo.store.sqlite.lines import Lines
from dolgo.store.sqlite.sql import Connection, Row, run, run_rows


class Extras(NamedTuple):
    """What there is besides plain tasks that may be claimed: where all is False, most rules cost nothing."""

    next_due: float | None
    next_expiry: float | None
    gates: int
    keyed: int
    edges: int


class Turn:
    """What the verbs of one commit gather, written once at its end: few statements, because each may wait for the interpreter."""

    def __init__(self, connection: Connection, lines: Lines, now: float) -> None:
        self.connection = connection
        self.now = now
        self.lines = lines
        self.events: list[Row] = []  # time, id, line, state, attempt; after `finish` with those of notes before
        self.first_seq = 0  # of the first of them, after `finish`
        self.note_events: list[Row] = []  # time, id, line, state, attempt, kind, data
        self.work = False  # something may have become claimable
        self.ended: list[str] = []  # tasks that came to an end, whose dependents are to be seen to
        self.restarted: list[str] = []  # tasks that were retried or revived, likewise
        self.budget = CASCADED  # dependents this commit may still see to
        self._changes: dict[int, list[int]] = {}  # line → change of each count, by state
        self._heads: dict[int, float] = {}  # line → smallest rank that joined it
        self._claimed: set[int] = set()  # lines something was taken from
        self._keyed: dict[tuple[int, str], int] = {}  # line and limit key that changed → change of those that run
        self._extras: Extras | None = None
        self._gates: Gates | None = None

    def line(self, key: LineKey) -> int:
        """The number of a line, made if it is new."""
        number = self.lines.by_key.get(key)
        if number is None:
            row = run(self.connection, "line_number", *key).fetchone()  # not all of them: a batch may bring thousands
            number = row[0] if row else run(self.connection, "line_add", *key).lastrowid
            assert number is not None
            self.lines.by_key[key] = number
            self.lines.by_number[number] = key
        return number

    def key(self, number: int) -> LineKey:
        """Queue, type and hash of a line."""
        return self.lines.key(self.connection, number)

    # -- what happened

    def moved(self, id: str, line: int, key: str, before: int, after: int, attempt: int) -> None:
        """A task came from one state to another (0: it was new): count it, log it, and see to its dependents if it has ended."""
        self.counted(line, before, after)
        self.events.append((self.now, id, line, after, attempt))
        if after >= DONE:
            self.ended.append(id)
        if key:
            change = (after == IN_PROGRESS) - (before == IN_PROGRESS)
            self._keyed[line, key] = self._keyed.get((line, key), 0) + change

    def counted(self, line: int, before: int, after: int) -> None:
        """A task came from one state to another (0: not there) without a change of status to log."""
        changes = self._changes.get(line)
        if changes is None:
            changes = self._changes[line] = [0] * 8
        changes[before] -= 1
        changes[after] += 1

    def joined(self, line: int, key: str, rank: float, state: int) -> None:
        """A task became claimable, now or later."""
        self.work = True
        if key:
            self._keyed.setdefault((line, key), 0)
        elif state == READY:
            self._heads[line] = min(rank, self._heads.get(line, rank))

    # -- what there is

    def extras(self) -> Extras:
        """As of the first time this is asked, or of the last `changed`."""
        if self._extras is None:
            self._extras = Extras._make(run(self.connection, "extras").fetchone())
        return self._extras

    def changed(self) -> None:
        """Something was written that `extras` or the gates tell of."""
        self._extras = None

    def open_lines(self) -> list[tuple[float, int]]:
        """Lines with something claimable, smallest head first; a head may be smaller than what is left in its line."""
        heads = dict(run(self.connection, "lines_open").fetchall())
        for line, rank in self._heads.items():
            heads[line] = min(rank, heads.get(line, rank))
        return sorted((head, line) for line, head in heads.items())

    def looked_into(self, line: int) -> None:
        """A claim looked into the line, so its head is to be set right."""
        self._claimed.add(line)
        self._changes.setdefault(line, [0] * 8)

    def gates(self) -> Gates:
        """What the gates let through, counted down by the claims of this turn."""
        if self._gates is None:
            running = dict(run(self.connection, "lines_running").fetchall()) if self.extras().gates else {}
            for line, changes in self._changes.items():
                running[line] = running.get(line, 0) + changes[IN_PROGRESS]
            self._gates = Gates(self.connection, lambda line: self.key(line)[:2], self.now, running.items())
        return self._gates

    # -- writing

    def write_keyed(self) -> None:
        """Set the lines with a limit key right. Once before the claims, which look at them, and once at the end."""
        if not self._keyed:
            return
        rows = [(line, key, change) for (line, key), change in self._keyed.items()]
        run_rows(self.connection, "keyed_changed", rows)
        run(self.connection, "keyed_gone")
        freed = list({key for _, key, change in rows if change < 0})
        if freed:
            run(self.connection, "keyed_reopen", msgspec.json.encode(freed).decode())
            self.work = True
        self._keyed.clear()
        self.changed()

    def finish(self) -> None:
        """Write the counts, the heads and, last of all, the log."""
        self.write_keyed()
        if self._gates is not None:
            self._gates.write()
        for line, changes in self._changes.items():
            if line in self._claimed:
                run(self.connection, "line_claimed", *changes[WAITING:], line, line)
            elif line in self._heads:
                run(self.connection, "line_joined", *changes[WAITING:], self._heads[line], self._heads[line], line)
            else:
                run(self.connection, "line_count", *changes[WAITING:], line)
            if changes[IN_PROGRESS] < 0 and self.extras().gates:
                self.work = True  # there may be room under a limit
        self._log()

    def _log(self) -> None:
        """Notes before ends: whoever follows a task stops at its end."""
        _, noted = run_rows(self.connection, "log_notes", self.note_events)
        _, last = run_rows(self.connection, "log", self.events)
        self.events = self.note_events + self.events
        self.first_seq = (last or noted) - len(self.events) + 1
