"""The SQLite store: one durable file, one writer thread a process, reads that never wait for it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.base import Claim, Claimed, Clock, EventPage, IdPage, Page, Renewed, Store, Submitted
from dolgo.store.batch import Batcher
from dolgo.store.relational.tail import Tail
from dolgo.store.sqlite import pages, reads
from dolgo.store.sqlite.database import connect, prepare
from dolgo.store.sqlite.lines import Lines
from dolgo.store.sqlite.parked import Parked
from dolgo.store.sqlite.sql import Row
from dolgo.store.sqlite.threads import Checkpointer, Reader
from dolgo.store.sqlite.writer import Writer
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

log = logging.getLogger("dolgo.store")

AT_HAND = 8  # tasks read on the loop itself: some 10 µs each, where the way to a thread and back takes 100 µs
LOOK = 0.02  # seconds between two looks for other processes' commits; a look takes some microseconds
LOOK_RARELY = 10 * LOOK  # where somebody tells of them, and nobody waits for an event


class SqliteStore(Store):
    """Keeps tasks in one file. Several processes of one machine may open it at once."""

    def __init__(self, path: str, *, clock: Clock = time.time) -> None:
        super().__init__(clock)
        self._path = path
        self._opened = False
        self._look_every = LOOK

    # -- life

    async def open(self) -> None:
        prepare(self._path)
        self._lines = Lines()
        self._batcher = Batcher()
        self._writer = Writer(self._path, clock=self._clock, batcher=self._batcher, lines=Lines(), committed=self._committed)
        self._points = Reader(self._path, "dolgo-reader")
        self._scans = Reader(self._path, "dolgo-scanner")
        self._checkpointer = Checkpointer(self._path, self._writer.checkpoint_soon)
        self._watched = connect(self._path)
        self._seen = self._data_version()
        self._tail = Tail(self._newest())
        self._gating = reads.gating(self._watched)
        self._parked = Parked(self.work, self._add_claim)
        self._watch = asyncio.get_running_loop().call_later(self._look_every, self._look)
        self._opened = True

    async def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        self._watch.cancel()
        self.work.close()
        self._batcher.close()
        await asyncio.to_thread(self._close_threads)
        self._watched.close()

    def _close_threads(self) -> None:
        self._writer.join()
        for thread in (self._points, self._scans, self._checkpointer):
            thread.close()

    # -- news of commits

    def _committed(self, first_seq: int, events: Sequence[Row], work: bool) -> None:
        """A commit of this process. On the loop, after its callers were answered."""
        if events:
            self._tail.add(first_seq, events)
            self.log.ring()
            self._checkpointer.ask()
        if work:
            self.ring_work()

    def ring_work(self) -> None:
        self.work.ring()
        self._parked.go()

    def be_told(self, *, pause: float, log: bool) -> None:
        super().be_told(pause=pause, log=log)
        self._look_every = LOOK if log else LOOK_RARELY

    def _look(self) -> None:
        """Notice commits of other processes: SQLite changes `data_version`, and then the log and the gates tell."""
        try:
            version = self._data_version()
            if version != self._seen:
                self._seen = version
                gating, news = reads.gating(self._watched), self._tail.moved_on(self._newest())
                if news:
                    self.log.ring()
                if news or gating != self._gating:
                    self._gating = gating
                    self.work.hear(self.ring_work)
        except sqlite3.Error as error:
            log.warning("Cannot look for other processes' commits: %s", error, extra=SELDOM)
        self._watch = asyncio.get_running_loop().call_later(self._look_every, self._look)

    def _data_version(self) -> int:
        version: int = self._watched.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _newest(self) -> int:
        newest: int = reads.head(self._watched)
        return newest

    # -- verbs that write

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        future = self._batcher.add("submit", (tasks, puts, notes), weight=len(tasks))
        if not future.done():
            self._parked.go(rings=1)  # in the same commit, which will ring once for what it brings
        try:
            answer: Submitted = await future
        except BaseException:
            self.ring_work()  # it may not have been made: those that went with it count on a ring
            raise
        return answer

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        if seen is not None and seen == self.work.count:
            return await self._parked.claim(claim, wait)
        seen = self.work.count
        return replace(await self._add_claim(claim), seen=seen)

    def _add_claim(self, claim: Claim) -> asyncio.Future[Claimed]:
        return self._batcher.add("claim", claim, weight=claim.limit)

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        answer: Renewed = await self._batcher.add("renew", (worker, dict(tokens), lease), urgent=True)
        return answer

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        answer: Sequence[bool] = await self._batcher.add("settle", settlements, weight=len(settlements), urgent=True)
        return answer

    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        answer: Sequence[bool] = await self._batcher.add("note", notes, weight=len(notes), urgent=True)
        return answer

    async def cancel(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._batcher.add("cancel", ids, weight=len(ids))
        return answer

    async def retry(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._batcher.add("retry", ids, weight=len(ids))
        return answer

    async def delete(self, ids: Sequence[str]) -> Sequence[Change]:
        answer: Sequence[Change] = await self._batcher.add("delete", ids, weight=len(ids))
        return answer

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        answer: int = await self._batcher.add("reclaim", (list(dead), limit), weight=limit)
        return answer

    async def clamp(self, lease: float) -> int:
        answer: int = await self._batcher.add("clamp", lease)
        return answer

    async def prune(self, keep: float, limit: int) -> int:
        answer: int = await self._batcher.add("prune", (keep, limit), weight=limit)
        return answer

    async def expire(self, limit: int) -> int:
        answer: int = await self._batcher.add("expire", limit, weight=limit)
        return answer

    async def cascade(self, limit: int) -> int:
        answer: int = await self._batcher.add("cascade", limit, weight=limit)
        return answer

    async def trim(self, keep: float, most: int, limit: int, *, upto: int | None = None) -> int:
        answer: int = await self._batcher.add("trim", (keep, most, limit, upto), weight=limit)
        return answer

    async def gate(self, scope: str, changes: Mapping[str, object]) -> Gate:
        answer: Gate = await self._batcher.add("gate", (scope, changes))
        return answer

    async def put(self, puts: Sequence[Put]) -> Record | None:
        answer: Record | None = await self._batcher.add("put", puts, weight=len(puts))
        return answer

    async def forget(self, keys: Sequence[str]) -> None:
        await self._batcher.add("forget", keys, weight=len(keys))

    # -- verbs that read

    async def get(self, ids: Sequence[str]) -> Sequence[Task | None]:
        if len(ids) <= AT_HAND:
            return self._read(ids)
        answer: Sequence[Task | None] = await self._points.do(lambda connection: reads.get(connection, ids))
        return answer

    def _read(self, ids: Sequence[str]) -> Sequence[Task | None]:
        try:
            return reads.get(self._watched, ids)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The store cannot be read: {error}.") from error

    async def asked(self, worker: str) -> Sequence[str]:
        answer: Sequence[str] = await self._points.do(lambda connection: reads.asked(connection, worker))
        return answer

    async def records(self, prefix: str) -> Sequence[Record]:
        now = self._clock()
        answer: Sequence[Record] = await self._points.do(lambda connection: reads.records(connection, prefix, now))
        return answer

    async def list(self, query: Query) -> Page:
        answer: Page = await self._scans.do(lambda connection: pages.page(connection, query))
        return answer

    async def find(self, query: Query) -> IdPage:
        answer: IdPage = await self._scans.do(lambda connection: pages.ids(connection, query))
        return answer

    async def details(self, ids: Sequence[str]) -> Sequence[Details | None]:
        answer: Sequence[Details | None] = await self._points.do(lambda connection: reads.details(connection, ids))
        return answer

    async def notes(self, id: str, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        answer: Sequence[tuple[str, bytes]] = await self._points.do(lambda connection: reads.notes(connection, id, prefix))
        return answer

    async def gates(self) -> Sequence[Gate]:
        now = self._clock()
        answer: Sequence[Gate] = await self._points.do(lambda connection: reads.gates(connection, now))
        return answer

    async def held_up(self, id: str) -> HeldUp | None:
        now = self._clock()
        answer: HeldUp | None = await self._scans.do(lambda connection: reads.held_up(connection, id, now))
        return answer

    async def counts(self) -> Sequence[QueueCounts]:
        answer: Sequence[QueueCounts] = await self._scans.do(reads.counts)
        return answer

    async def oldest(self) -> dict[str, float]:
        now = self._clock()
        answer: dict[str, float] = await self._scans.do(lambda connection: reads.oldest(connection, now))
        return answer

    async def head(self) -> int:
        return self._tail.head

    async def events(self, after: int, limit: int) -> EventPage:
        if not self._tail.reaches(after):
            answer: EventPage = await self._scans.do(lambda connection: reads.events(connection, self._lines, after, limit))
            return answer
        rows = self._tail.after(after, limit)
        if any(row[3] not in self._lines.by_number for row in rows):
            await self._points.do(self._lines.read)
        return reads.event_page(rows, self._lines, after)
