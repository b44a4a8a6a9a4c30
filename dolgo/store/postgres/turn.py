"""One transaction: its locks, its time, what it adds to the log, and how it changes the lines.

Transactions of all processes on one schema go side by side, with three advisory locks between them, taken in this order:

- DATA is shared by those that touch only tasks of their own: new ones, leases they hold, what they claim. Whoever changes tasks
  that others may change too (by hand, reclaimed, expired, submitted with parents) has it alone, and then nobody else writes.
- RECORDS is held by one who writes records.
- ORDER is taken late, by `in_order`, and held to the end of the transaction: claims, the dependents of what ended, limit keys and
  unique keys are seen to one transaction after the other. That costs little, because commits take turns in any case: the numbers
  of events come from one row, so that no reader sees a later event before an earlier one.

Nobody who holds ORDER waits for a row of one who wants it: a lease is renewed, noted under and settled by its own process alone,
and rows of many are locked in the order of their numbers. If two should meet all the same, PostgreSQL finds the deadlock, and one
of them is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dolgo.store.base import CASCADED
from dolgo.store.postgres.gates import Gates
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.rows import EventRow
from dolgo.store.postgres.sql import Connection, Record, row, rows
from dolgo.store.relational.rows import DONE, IN_PROGRESS, READY, WAITING, LineKey

ALONE = frozenset({"cancel", "retry", "delete", "gate", "reclaim", "expire", "clamp", "cascade"})  # verbs that have DATA alone
_DATA = "SELECT pg_advisory_xact_lock{}(hashtext('dolgo ' || current_schema()), 1)"
_RECORDS = "SELECT pg_advisory_xact_lock(hashtext('dolgo ' || current_schema()), 2)"
MOST_AT_ONCE = 4 * 2**20  # bytes one statement takes, about: more of them the server puts into files in between
Row = tuple[Any, ...]
LOWEST, HIGHEST = float("-inf"), float("inf")
_pack = msgspec.msgpack.Encoder().encode


def columns(table: Sequence[Row]) -> list[list[Any]]:
    """What a statement takes for these rows: a list of each column."""
    return [list(column) for column in zip(*table, strict=True)]


def _parts(table: Sequence[Row], size: Callable[[Row], int]) -> Iterator[Sequence[Row]]:
    start = weight = 0
    for place, more in enumerate(map(size, table)):
        weight += more
        if weight > MOST_AT_ONCE and place > start:
            yield table[start:place]
            start, weight = place, more
    if table:
        yield table[start:]


class Extras(NamedTuple):
    """What there is besides plain tasks that may be claimed: where all is False, most rules cost nothing."""

    now: float
    next_due: float | None
    next_expiry: float | None
    gates: bool
    keyed: bool
    edges: bool
    open_lines: list[int]
    joins: list[int]  # of each of these, how often something had joined it


def opening(calls: Mapping[str, Sequence[Any]]) -> str:
    """What begins a transaction for these calls, by verb: with the locks they need."""
    submits = calls.get("submit", ())
    alone = not ALONE.isdisjoint(calls) or any(task.depends_on for tasks, _, _ in submits for task in tasks)
    locks = [_DATA.format("" if alone else "_shared")]
    if "put" in calls or "forget" in calls or any(puts for _, puts, _ in submits):
        locks.append(_RECORDS)
    return "; ".join(["BEGIN", *locks])


async def look(connection: Connection) -> Extras:
    found = await row(connection, "extras")
    assert found is not None
    return Extras._make(found)


class Turn:
    """What the verbs of one commit gather, written once at its end: few statements, because each is a way to the server."""

    def __init__(self, connection: Connection, lines: Lines, extras: Extras, now: float | None) -> None:
        self.connection = connection
        self.lines = lines
        self.extras = extras
        self.now = extras.now if now is None else now
        self._given = now is not None  # the time is what a test says it is
        self.events: list[EventRow] = []  # time, id, line, state, attempt; after `finish` with those of notes before
        self.first_seq = 0  # of the first of them, after `finish`
        self.note_events: list[EventRow] = []  # time, id, line, state, attempt, kind, data
        self.work = False  # something may have become claimable
        self.ended: list[str] = []  # tasks that came to an end, whose dependents are to be seen to
        self.restarted: list[str] = []  # tasks that were retried or revived, likewise
        self.budget = CASCADED  # dependents this commit may still see to
        self._ordered = False
        self._changes: dict[int, list[int]] = {}  # line → change of each count, by state
        self._heads: dict[int, float] = {}  # line → smallest rank that joined it
        self._claimed: dict[int, float] = {}  # line → rank up to which all was claimed
        self._seen = dict(zip(extras.open_lines, extras.joins, strict=True))
        self._keyed: dict[tuple[int, str], int] = {}  # line and limit key that changed → change of those that run
        self._gates: Gates | None = None

    async def run(self, name: str, *values: Any) -> list[Record]:
        """The rows of one named statement."""
        return await rows(self.connection, name, *values)

    async def run_rows(self, name: str, table: Sequence[Row], size: Callable[[Row], int], *values: Any) -> list[Record]:
        """The rows of a named statement that takes the columns of a table, and what else it takes.

        It is run for a part after the other where a table is large, so that no call takes long. `size`: bytes of a row."""
        found: list[Record] = []
        for part in _parts(table, size):
            found += await self.run(name, *columns(part), *values)
        return found

    async def in_order(self) -> None:
        """Take turns with other transactions from here on: what the next statements see is what those before left.

        They may have gone on while this one waited, so the time is taken anew: nothing starts before what it waited for ended."""
        if self._ordered:
            return
        self._ordered = True
        ((now,),) = await self.run("in_order")
        if not self._given:
            self.now = max(self.now, now)

    async def line(self, key: LineKey) -> int:
        """The number of a line, made if it is new."""
        await self.lines.numbers(self.connection, {key})
        return self.lines.by_key[key]

    async def key(self, number: int) -> LineKey:
        """Queue, type and hash of a line."""
        return await self.lines.key(self.connection, number)

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

    def joined(self, line: int, key: str, rank: float = LOWEST) -> None:
        """A task became claimable, now or later; with a rank not smaller than this."""
        self.work = True
        if key:
            self._keyed.setdefault((line, key), 0)
        elif rank < self._heads.get(line, HIGHEST):
            self._heads[line] = rank
            self._changes.setdefault(line, [0] * 8)

    def claimed_to(self, line: int, rank: float) -> None:
        """Nothing claimable without a limit key is left in the line before this rank."""
        self._claimed[line] = max(rank, self._claimed.get(line, rank))

    # -- what there is

    async def look_again(self) -> None:
        """Something was written that `extras` or the gates tell of."""
        self.extras = await look(self.connection)

    def open_lines(self) -> set[int]:
        """Lines that may have something claimable."""
        return {*self.extras.open_lines, *(line for line, changes in self._changes.items() if changes[READY] > 0)}

    def lowest(self) -> float:
        """The smallest rank that became claimable in this turn: heads of lines are not lowered before its end."""
        return min(self._heads.values(), default=HIGHEST)

    async def gates(self) -> Gates:
        """What the gates let through, counted down by the claims of this turn."""
        if self._gates is None:
            found = await self.run("lines_running") if self.extras.gates else []
            running: dict[int, int] = {row[0]: row[1] for row in found}
            for line, changes in self._changes.items():
                running[line] = running.get(line, 0) + changes[IN_PROGRESS]
            for line in running:
                await self.key(line)
            names = self.lines.by_number
            self._gates = await Gates.read(self.run, lambda line: names[line][:2], self.now, running.items())
        return self._gates

    # -- writing

    async def write_keyed(self) -> None:
        """Set the lines with a limit key right. Once before the claims, which look at them, and once at the end."""
        if not self._keyed:
            return
        await self.in_order()
        places = sorted(self._keyed)
        changes = [self._keyed[place] for place in places]
        await self.run("keyed_changed", [line for line, _ in places], [key for _, key in places], changes)
        await self.run("keyed_gone")
        freed = [key for (_, key), change in self._keyed.items() if change < 0]
        if freed:
            await self.run("keyed_reopen", freed)
            self.work = True
        self._keyed.clear()
        await self.look_again()

    async def finish(self) -> None:
        """Write the counts and, last of all, the log: notes before ends, because whoever follows a task stops at its end."""
        await self.write_keyed()
        if self._gates is not None:
            await self._gates.write()
        if self.extras.gates and any(changes[IN_PROGRESS] < 0 for changes in self._changes.values()):
            self.work = True  # there may be room under a limit
        self.events = [(self.now, *event[1:]) for event in (*self.note_events, *self.events)]  # all of the commit's own time
        if not self.events and not self._changes:
            return
        numbers = sorted(self._changes)
        changes = [change for line in numbers for change in self._changes[line][WAITING:]]
        packed = _pack([event[1:] for event in self.events])
        heads = [[known.get(line) for line in numbers] for known in (self._heads, self._claimed, self._seen)]
        found = await self.run("finish", numbers, changes, *heads, len(self.events), self.now, packed)
        self.first_seq = (found[0][0] or 0) - len(self.events) + 1
