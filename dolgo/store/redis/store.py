"""The Redis store: tasks on one server, for any number of processes on any number of machines.

Each verb is one function that runs inside Redis, so it is atomic; `lua/` has them, and `pack.py` how they are asked. How durable
a commit is follows from the server's settings: with `appendfsync always` it is on disk before it is answered.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dolgo.errors import StoreUnavailable
from dolgo.store.base import PROBE, Claim, Claimed, Clock, EventPage, IdPage, Page, Renewed, Store, Submitted
from dolgo.store.checks import check_gate, check_note, check_settlement, check_task
from dolgo.store.redis import pack, pages
from dolgo.store.redis.batches import MOST_BYTES, Batches
from dolgo.store.redis.bell import Listener
from dolgo.store.redis.opening import open_server
from dolgo.store.redis.server import Server
from dolgo.store.redis.tail import Line, Tail, events_of
from dolgo.store.redis.url import parse
from dolgo.task.types import (
    Change,
    Details,
    Event,
    Gate,
    HeldUp,
    NewTask,
    Note,
    Put,
    Query,
    QueueCounts,
    Record,
    Settlement,
    Task,
)

Call = tuple[Sequence[NewTask], Sequence[Put], Sequence[Note]]  # of a submit
# What may make tasks claimable when this process does it, and must not wait for what is heard of other processes.
RINGING = frozenset({"submit", "settle", "cancel", "retry", "delete", "reclaim", "expire", "cascade"})


class RedisStore(Store):
    """Keeps tasks in a Redis. `clock` is for tests: without one, the server's own time counts."""

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(*(() if clock is None else (clock,)))
        self._given = clock
        self._server = Server(parse(url))
        self._tail = Tail()
        self._committed = 0  # the newest event that this process knows to have written
        self._lines: dict[int, Line] = {}
        self._submits = Batches(self._submit, bounded=True)
        self._settles = Batches(self._settle)
        self._notings = Batches(self._note)
        self._gets = Batches(self._get)
        self._bell = Listener(self._server, rung=self._rung, gap=self._gap)

    # -- life

    async def open(self) -> None:
        await open_server(self._server, self._bell)

    async def close(self) -> None:
        for batches in (self._submits, self._settles, self._notings, self._gets):
            await batches.close()
        await self._bell.close()
        self.work.close()
        await self._server.close()

    async def now(self) -> float:
        if self._given is not None:
            return self._given()
        seconds, microseconds = await self._server.command("TIME", again=True)
        return int(seconds) + int(microseconds) / 1e6

    async def ready(self) -> None:
        await self.submit([], [PROBE])  # of all verbs this one alone is refused where memory is short

    # -- news of commits

    def _rung(self, first: int, last: int, work: bool, entries: Sequence[tuple[int, bytes]]) -> None:
        if last:
            if first <= self._tail.head:
                self._lines.clear()  # the data was wiped, and lines have other numbers now
            self._tail.add(first, last, entries)
            self.log.ring()
        if work:
            self.work.hear()

    def _gap(self) -> None:
        self._forget_history()
        self.log.ring()
        self.work.ring()

    def _wrote(self, last: int) -> None:
        """This process wrote the event of that number, of which the bell may tell later."""
        if last <= self._committed:
            self._forget_history()
        self._committed = last

    def _forget_history(self) -> None:
        """What was heard and written may be none of this history: data was wiped, or a replica that lacks it took over."""
        self._tail.forget()
        self._committed = 0
        self._lines.clear()

    # -- asking

    async def _ask(self, verb: str, *asked: Any, again: bool = False) -> tuple[Any, list[bytes]]:
        """The head of the answer, and the bytes beside it."""
        now = 0 if self._given is None else self._given()
        head, *blobs = await self._server.run(verb, pack.encode((now, *asked)), again=again)
        if blobs and isinstance(blobs[-1], int):
            self._wrote(blobs.pop())
            if self.work.pause and verb in RINGING:
                self.work.ring()
        return pack.decode(head), blobs

    async def _count(self, verb: str, *asked: Any) -> int:
        count, more = 0, True
        *others, limit = asked
        while more and count < limit:  # large tasks are seen to in more than one call
            (some, *rest), _ = await self._ask(verb, *others, limit - count)
            count += int(some)
            more = rest == [True]
        return count

    # -- the life of a task

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        for task in tasks:
            check_task(task)
        for note in notes:
            check_note(note)
        return await self._submits.add(
            (tasks, puts, notes), weight=max(1, len(tasks)), size=sum(len(task.payload) for task in tasks)
        )

    async def _submit(self, calls: Sequence[Call]) -> list[Submitted]:
        lines: dict[tuple[str, str, str], int] = {}
        asked = [(pack.new_tasks(tasks, lines), pack.puts_of(puts), pack.notes_of(notes)) for tasks, puts, notes in calls]
        plain = not any(puts or notes for _, puts, notes in calls)
        answers, blobs = await self._ask("submit", list(lines), asked, again=plain)
        beside = iter(blobs)
        return [pack.to_submitted(answer, beside) for answer in answers]

    async def get(self, ids: Sequence[str]) -> Sequence[Task | None]:
        return await self._gets.add(ids, weight=len(ids)) if ids else []

    async def _get(self, calls: Sequence[Sequence[str]]) -> list[list[Task | None]]:
        ids = [id for call in calls for id in call]
        found: list[Task | None] = []
        while len(found) < len(ids):  # large ones come in more than one answer
            left = ids[len(found) :]
            rows, blobs = await self._ask("get", left, again=True)
            found += pack.to_tasks(left[: len(rows)], rows, iter(blobs))
        tasks = iter(found)
        return [[next(tasks) for _ in call] for call in calls]

    async def details(self, ids: Sequence[str]) -> Sequence[Details | None]:
        rows, blobs = await self._ask("details", ids, again=True)
        beside = iter(blobs)
        return [pages.to_details(row, beside) if row is not False else None for row in rows]

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        if seen is not None:
            await self.work.wait(seen, wait)
        seen = self.work.count
        (next_at, rows), bodies = await self._ask(
            "claim", claim.worker, claim.limit, claim.lease, claim.types, claim.queues,
            pack.flat(claim.avoid), int(claim.ahead), secrets.token_hex(8 * claim.limit),
        )  # fmt: skip
        return Claimed(pack.to_leases(rows, bodies), None if next_at is False else float(next_at), seen)

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        answer, bodies = await self._ask("renew", worker, lease, pack.flat(tokens.items()), again=True)
        return pack.to_renewed(answer, bodies)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        for settlement in settlements:
            check_settlement(settlement)
        took: list[bool] = []
        for part in pack.parts_of(settlements, MOST_BYTES):
            size = sum(map(pack.size_of, part))
            took += await self._settles.add(part, weight=len(part), size=size)
        return took

    async def _settle(self, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
        answers, _ = await self._ask("settle", [pack.settlements_of(call) for call in calls], again=True)
        return [[took == 1 for took in answer] for answer in answers]

    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        for note in notes:
            check_note(note)
        return await self._notings.add(notes, weight=max(1, len(notes)))

    async def _note(self, calls: Sequence[Sequence[Note]]) -> list[list[bool]]:
        answers, _ = await self._ask("note", [pack.notes_of(call) for call in calls], again=True)
        return [[took == 1 for took in answer] for answer in answers]

    async def notes(self, id: str, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        keys, values = await self._ask("notes", id, prefix, again=True)
        return list(zip(keys, values, strict=True))

    async def cancel(self, ids: Sequence[str]) -> Sequence[Change]:
        return await self._change("cancel", ids)

    async def asked(self, worker: str) -> Sequence[str]:
        ids: Sequence[str]
        ids, _ = await self._ask("asked", worker, again=True)
        return ids

    async def retry(self, ids: Sequence[str]) -> Sequence[Change]:
        return await self._change("retry", ids)

    async def delete(self, ids: Sequence[str]) -> Sequence[Change]:
        return await self._change("delete", ids)

    async def _change(self, verb: str, ids: Sequence[str]) -> list[Change]:
        changes: list[Change] = []
        while len(changes) < len(ids):  # large tasks are seen to in more than one call
            rows, _ = await self._ask(verb, ids[len(changes) :])
            changes += map(pack.to_change, rows)
        return changes

    # -- upkeep

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        return await self._count("reclaim", list(dead), limit)

    async def clamp(self, lease: float) -> int:
        (count,), _ = await self._ask("clamp", lease)
        return int(count)

    async def prune(self, keep: float, limit: int) -> int:
        return await self._count("prune", keep, limit)

    async def expire(self, limit: int) -> int:
        return await self._count("expire", limit)

    async def cascade(self, limit: int) -> int:
        return await self._count("cascade", limit)

    async def trim(self, keep: float, most: int, limit: int, *, upto: int | None = None) -> int:
        return await self._count("trim", keep, most, upto, limit)

    # -- gates

    async def gate(self, scope: str, changes: Mapping[str, object]) -> Gate:
        check_gate(Gate(scope=scope, **changes))  # type: ignore[arg-type]
        row, _ = await self._ask("gate", scope, pack.gate_changes(changes))
        return pack.to_gate(row)

    async def gates(self) -> Sequence[Gate]:
        rows, _ = await self._ask("gates", again=True)
        return [pack.to_gate(row) for row in rows]

    async def held_up(self, id: str) -> HeldUp | None:
        row, _ = await self._ask("held_up", id, again=True)
        return pack.to_held_up(row)

    # -- looking

    async def counts(self) -> Sequence[QueueCounts]:
        rows, _ = await self._ask("counts", again=True)
        return [pages.to_counts(row) for row in rows]

    async def oldest(self) -> dict[str, float]:
        flat, _ = await self._ask("oldest", again=True)
        return dict(zip(flat[::2], map(float, flat[1::2]), strict=True))

    async def events(self, after: int, limit: int) -> EventPage:
        known = self._tail.after(after)
        if known is not None and after < self._tail.head and self._committed <= self._tail.head:
            events = await self._read(list(known), after, limit)
            return EventPage(events, events[-1].seq)
        (trimmed, head, _), chunks = await self._ask("events", after, limit, again=True)
        if head < max(after, self._committed):
            self._forget_history()
        reset = not trimmed <= after <= head
        events = await self._read(chunks, trimmed if reset else after, limit) if after <= head else []
        return EventPage(events, events[-1].seq if events else head if reset else after, reset)

    async def _read(self, chunks: Sequence[bytes], after: int, limit: int) -> list[Event]:
        """The events of entries; a line that is heard of for the first time is looked up."""
        while True:
            try:
                return events_of(chunks, self._lines, after, limit)
            except KeyError as unknown:
                line = unknown.args[0]
                stored = await self._server.command("HGET", self._server.address.prefix + "lines", line, again=True)
                if stored is None:
                    self._forget_history()
                    raise StoreUnavailable(f"The data of the store {self._server.address.shown} was wiped.") from None
                queue, type, _ = pack.decode(stored)
                self._lines[line] = (queue, type)

    async def head(self) -> int:
        (head,), _ = await self._ask("head", again=True)
        return int(head)

    # -- records

    async def put(self, puts: Sequence[Put]) -> Record | None:
        answer, blobs = await self._ask("put", pack.puts_of(puts))
        return pack.to_record(answer[1:], blobs[0]) if answer[0] == 1 else None

    async def records(self, prefix: str) -> Sequence[Record]:
        rows, values = await self._ask("records", prefix, again=True)
        return [pack.to_record(row, value) for row, value in zip(rows, values, strict=True)]

    async def forget(self, keys: Sequence[str]) -> None:
        await self._ask("forget", keys, again=True)

    async def find(self, query: Query) -> IdPage:
        return await pages.ids(self._ask, query)

    # Last, because from here on `list` is no type to a checker.
    async def list(self, query: Query) -> Page:
        return await pages.page(self._ask, query)
