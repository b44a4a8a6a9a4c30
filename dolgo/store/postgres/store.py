"""The PostgreSQL store: tasks in a schema of one database, for any number of processes on any number of machines.

What gathers while a transaction is under way is written by the next one. How durable a commit is follows from the server's
settings: with `synchronous_commit = on`, its default, and `fsync = on` it is on disk before it is answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed, Clock, EventPage, IdPage, Page, Renewed, Store, Submitted
from dolgo.store.checks import check_gate, check_note, check_settlement, check_task
from dolgo.store.postgres import pages, reads
from dolgo.store.postgres.bell import Listener, Ringing
from dolgo.store.postgres.gathered import Gathered
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.opening import open_server
from dolgo.store.postgres.server import Server
from dolgo.store.postgres.url import parse
from dolgo.store.postgres.writer import News, Writer
from dolgo.store.relational.tail import Tail
from dolgo.task.types import (
    Change,
    Details,
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


class PostgresStore(Store):
    """Keeps tasks in a PostgreSQL. `clock` is for tests: without one, the server's own time counts."""

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        super().__init__(*(() if clock is None else (clock,)))
        self._given = clock
        self._server = Server(parse(url), clock)
        self._tail = Tail()
        self._lines = Lines()  # of those that read the log
        self._gets = Gathered(partial(reads.get, self._server.reader))
        self._ringing = Ringing(self._server)
        self._bell = Listener(self._server, self._ringing, self._heard)
        self._writer = Writer(self._server, lines=Lines(), clock=clock, committed=self._committed, notify=self._ringing.due)

    # -- life

    async def open(self) -> None:
        await open_server(self._server, self._bell)

    async def close(self) -> None:
        await self._writer.close()
        await self._gets.close()
        await self._bell.close()
        await self._ringing.close()
        await self._server.close()

    async def now(self) -> float:
        return await self._server.now()

    # -- news of commits

    def _committed(self, news: News) -> None:
        """A commit of this process. After its callers were answered."""
        if news.events or news.work:
            self._ringing.committed(news.last, news.work, told=news.told, pressing=news.pressing)
        if news.events:
            self._tail.add(news.first_seq, news.events)
            self.log.ring()
        if news.work:
            self.work.ring()

    def _heard(self, newest: int, work: bool | None) -> None:
        """Of a commit of another process, or of what the log has come to."""
        if newest < self._tail.head and work is None:
            self._tail.forget()
            self.log.ring()
        news = self._tail.moved_on(newest)
        if news:
            self.log.ring()
        if work or (work is None and news):
            self.work.hear()

    # -- verbs that write

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        for task in tasks:
            check_task(task)
        for note in notes:
            check_note(note)
        size = sum(len(task.payload) for task in tasks)
        answer: Submitted = await self._writer.add("submit", (tasks, puts, notes), weight=max(1, len(tasks)), size=size)
        return answer

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        if seen is not None:
            await self.work.wait(seen, wait)
        seen = self.work.count
        answer: Claimed = await self._writer.add("claim", claim, weight=claim.limit)
        return replace(answer, seen=seen)

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        answer: Renewed = await self._writer.add("renew", (worker, dict(tokens), lease), urgent=True)
        return answer

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        for settlement in settlements:
            check_settlement(settlement)
        size = sum(len(settlement.result or b"") for settlement in settlements)
        answer: Sequence[bool] = await self._writer.add("settle", settlements, weight=len(settlements), urgent=True, size=size)
        return answer

    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        for note in notes:
            check_note(note)
        size = sum(len(note.value) for note in notes)
        answer: Sequence[bool] = await self._writer.add("note", notes, weight=len(notes), urgent=True, size=size)
        return answer

    async def cancel(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._writer.add("cancel", ids, weight=len(ids))
        return answer

    async def retry(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._writer.add("retry", ids, weight=len(ids))
        return answer

    async def delete(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._writer.add("delete", ids, weight=len(ids))
        return answer

    # These three have the store to themselves where there is anything to do, which is seldom: so it is looked up first.

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        if not await self._any("any_over", self._given_time(), list(dead)):
            return 0
        answer: int = await self._writer.add("reclaim", (list(dead), limit), weight=limit)
        return answer

    async def clamp(self, lease: float) -> int:
        answer: int = await self._writer.add("clamp", lease)
        return answer

    async def prune(self, keep: float, limit: int) -> int:
        answer: int = await self._writer.add("prune", (keep, limit), weight=limit)
        return answer

    async def expire(self, limit: int) -> int:
        if not await self._any("any_expired", self._given_time()):
            return 0
        answer: int = await self._writer.add("expire", limit, weight=limit)
        return answer

    async def cascade(self, limit: int) -> int:
        if not await self._any("any_cascade"):
            return 0
        answer: int = await self._writer.add("cascade", limit, weight=limit)
        return answer

    async def _any(self, name: str, *values: object) -> bool:
        ((found,),) = await self._server.reader.run(name, *values)
        return bool(found)

    def _given_time(self) -> float | None:
        return None if self._given is None else self._given()

    async def trim(self, keep: float, most: int, limit: int, *, upto: int | None = None) -> int:
        answer: int = await self._writer.add("trim", (keep, most, limit, upto), weight=limit)
        return answer

    async def gate(self, scope: str, changes: Mapping[str, object]) -> Gate:
        check_gate(Gate(scope=scope, **changes))  # type: ignore[arg-type]
        answer: Gate = await self._writer.add("gate", (scope, changes))
        return answer

    async def put(self, puts: Sequence[Put]) -> Record | None:
        answer: Record | None = await self._writer.add("put", puts, weight=len(puts))
        return answer

    async def forget(self, keys: Sequence[str]) -> None:
        await self._writer.add("forget", keys, weight=len(keys))

    # -- verbs that read

    async def get(self, ids: Sequence[str]) -> Sequence[Task | None]:
        return await self._gets.get(ids)

    async def asked(self, worker: str) -> Sequence[str]:
        return await reads.asked(self._server.reader, worker)

    async def records(self, prefix: str) -> Sequence[Record]:
        return await reads.records(self._server.reader, prefix, await self.now())

    async def details(self, ids: Sequence[str]) -> Sequence[Details | None]:
        return await reads.details(self._server.reader, ids)

    async def notes(self, id: str, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        return await reads.notes(self._server.reader, id, prefix)

    async def gates(self) -> Sequence[Gate]:
        return await reads.gates(self._server.reader, await self.now())

    async def held_up(self, id: str) -> HeldUp | None:
        return await reads.held_up(self._server.reader, id, await self.now())

    async def counts(self) -> Sequence[QueueCounts]:
        return await reads.counts(self._server.reader)

    async def oldest(self) -> dict[str, float]:
        return await reads.oldest(self._server.reader, await self.now())

    async def head(self) -> int:
        return await reads.head(self._server.reader)

    async def events(self, after: int, limit: int) -> EventPage:
        rows = self._tail.after(after, limit)
        if rows and all(row[3] in self._lines.by_number for row in rows):
            return reads.event_page(rows, self._lines, after)
        return await reads.events(self._server.reader, self._lines, after, limit)

    async def find(self, query: Query) -> IdPage:
        return await pages.ids(self._server.reader, query)

    # Last, because from here on `list` is no type to a checker.
    async def list(self, query: Query) -> Page:
        return await pages.page(self._server.reader, query)
