"""The memory store: every task in dicts of this process, lost when it ends.

Everything happens on the loop between two awaits, so each verb is atomic as it stands and answers at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Any

from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed, Clock, EventPage, Page, Renewed, Store, Submitted
from dolgo.store.checks import check_settlement, check_task
from dolgo.store.ordered import Heap, Keys
from dolgo.store.parts import LAST, EventLog, Line, Records, Row
from dolgo.store.sentences import cancelled_held, cancelled_queued
from dolgo.task.types import (
    FINAL,
    Attempt,
    Error,
    Lease,
    NewTask,
    Outcome,
    Put,
    Query,
    QueueCounts,
    Record,
    Settlement,
    Status,
    Task,
)

MOST_DUE = 500  # tasks a claim moves into their lines: one that finds a million due must not stop the loop
MOST_LOOKS = 10_000  # tasks a page looks at: one whose filter matches nothing must not stop the loop

TimeKey = tuple[float, str]  # a time of a task and its id


class MemoryStore(Store):
    """Tasks, events and records of this process alone."""

    def __init__(self, clock: Clock = time.time) -> None:
        super().__init__(clock)
        self._rows: dict[str, Row] = {}
        self._lines: dict[tuple[str, str, str], Line] = {}  # by queue, type, hash
        self._later = Heap()  # ids of queued tasks that are not yet due, by run_at
        self._held: dict[str, dict[str, Row]] = {}  # tasks in progress by worker and id
        self._created: Keys[TimeKey] = Keys()
        self._finished: Keys[TimeKey] = Keys()
        self._events = EventLog()
        self._records = Records()
        self._heard = 0  # the newest event at the last ring
        self._joined = False  # whether a task has become queued since the last ring

    async def open(self) -> None:
        """Ready as it is."""

    async def close(self) -> None:
        """What is stored goes with the store itself."""

    # -- the life of a task

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = ()) -> Submitted:
        for task in tasks:
            check_task(task)
        now = self._clock()
        if (existing := self._records.write(puts, now)) is not None:
            return Submitted([], existing)
        statuses = [self._submit(task, now) for task in tasks]
        self._ring()
        return Submitted(statuses)

    async def get(self, ids: Sequence[str]) -> list[Task | None]:
        rows = [self._rows.get(id) for id in ids]
        return [row.task if row else None for row in rows]

    async def claim(self, claim: Claim) -> Claimed:
        now = self._clock()
        self._let_due_in(now)
        heads = [(head, line) for line in self._fitting(claim) if (head := self._first(line, now))]
        heapify(heads)  # two heads differ by their ids, so lines are never compared
        leases: list[Lease] = []
        while heads and len(leases) < claim.limit:
            (_, id), line = heads[0]
            leases.append(self._claim(self._rows[id], claim, now))
            if head := self._first(line, now):
                heapreplace(heads, (head, line))
            else:
                heappop(heads)
        self._ring()
        later = self._later.first()
        return Claimed(leases, later[0] if later else None)

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        until = self._clock() + lease
        lost, asked = [], []
        for id, token in tokens.items():
            row = self._rows.get(id)
            if row is None or row.token != token or row.task.status is not Status.IN_PROGRESS:
                lost.append(id)
                continue
            row.until = until
            if row.task.cancel_asked:
                asked.append(id)
        held = self._held.get(worker, {})
        # By token: a worker may name an attempt that was taken from it and hold another of the same task unknowingly.
        return Renewed(lost, asked, [_lease(row) for id, row in held.items() if tokens.get(id) != row.token])

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        for settlement in settlements:
            check_settlement(settlement)
        now = self._clock()
        took = [self._settle(settlement, now) for settlement in settlements]
        self._ring()
        return took

    async def cancel(self, ids: Sequence[str]) -> list[Status | None]:
        now = self._clock()
        before = [self._cancel(row, now) if (row := self._rows.get(id)) else None for id in ids]
        self._ring()
        return before

    async def asked(self, worker: str) -> list[str]:
        return [id for id, row in self._held.get(worker, {}).items() if row.task.cancel_asked]

    async def retry(self, ids: Sequence[str]) -> list[Status | None]:
        now = self._clock()
        before = [self._retry(row, now) if (row := self._rows.get(id)) else None for id in ids]
        self._ring()
        return before

    async def delete(self, ids: Sequence[str]) -> list[Status | None]:
        return [self._delete(row) if (row := self._rows.get(id)) else None for id in ids]

    # -- upkeep

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        now = self._clock()
        over = (row for worker, row in self._leases() if worker in dead or row.until <= now)
        rows = list(islice(over, max(limit, 0)))
        for row in rows:
            row.token = None  # nobody settled it, so a late settlement must not pass for a repeated one
            self._requeue(row, now, outcome=Outcome.LOST, suspect=True)
        self._ring()
        return len(rows)

    async def clamp(self, lease: float) -> int:
        latest = self._clock() + lease
        rows = [row for _, row in self._leases() if row.until > latest]
        for row in rows:
            row.until = latest
        return len(rows)

    async def prune(self, keep: float, limit: int) -> int:
        keys = self._finished.stretch(max(limit, 0), high=(self._clock() - keep, ""))
        ids = [id for key in keys if key in self._finished for id in key[1:]]
        return len(await self.delete(ids))

    async def trim(self, keep: float, most: int, limit: int) -> int:
        now = self._clock()
        events = self._events.trim(now - keep, most, limit)
        return events + self._records.trim(now, limit - events)

    # -- looking

    async def counts(self) -> list[QueueCounts]:
        return [QueueCounts(line.queue, line.type, line.hash, dict(line.counts)) for line in self._lines.values()]

    async def oldest(self) -> dict[str, float]:
        now = self._clock()
        self._let_due_in(now)
        heads: dict[str, tuple[float, str]] = {}
        for line in self._lines.values():
            if (head := self._first(line, now)) and (line.queue not in heads or head < heads[line.queue]):
                heads[line.queue] = head
        return {queue: self._rows[id].task.run_at for queue, (_, id) in heads.items()}

    async def events(self, after: int, limit: int) -> EventPage:
        return self._events.page(after, limit)

    async def head(self) -> int:
        return self._events.head

    # -- records

    async def put(self, puts: Sequence[Put]) -> Record | None:
        return self._records.write(puts, self._clock())

    async def records(self, prefix: str) -> list[Record]:
        return self._records.starting_with(prefix, self._clock())

    async def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._records.forget(key)

    # -- transitions: each is one `_write`

    def _submit(self, new: NewTask, now: float) -> Status:
        if row := self._rows.get(new.id):
            return row.task.status
        task = Task(
            id=new.id,
            type=new.type,
            hash=new.hash,
            queue=new.queue,
            status=Status.QUEUED,
            payload=new.payload,
            priority=new.priority,
            run_at=now + new.delay if new.run_at is None else new.run_at,
            attempt=0,
            max_attempts=new.max_attempts,
            failures=0,
            losses=0,
            suspect=False,
            cancel_asked=False,
            tags=new.tags,
            created_at=now,
            started_at=None,
            finished_at=None,
            worker=None,
            result=None,
            error=None,
            history=(),
        )
        key = (new.queue, new.type, new.hash)
        line = self._lines.get(key) or self._lines.setdefault(key, Line(*key))
        row = self._rows[new.id] = Row(task, new.lead, line)
        self._created.add((now, new.id))
        self._enter(row, now)
        return task.status

    def _claim(self, row: Row, claim: Claim, now: float) -> Lease:
        row.token = secrets.token_hex(8)
        row.until = now + claim.lease
        attempt = row.task.attempt + 1
        self._write(row, now, status=Status.IN_PROGRESS, attempt=attempt, worker=claim.worker, started_at=now)
        return _lease(row)

    def _settle(self, settlement: Settlement, now: float) -> bool:
        row = self._rows.get(settlement.lease.id)
        if row is None or row.token != settlement.lease.token:
            return False
        said = (settlement.status, settlement.outcome)
        if row.task.status in FINAL:
            return row.settled == said  # said again in doubt
        row.settled = said
        counts = {"failures": settlement.failures, "losses": settlement.losses}
        if settlement.status is not Status.QUEUED:
            end = {"result": settlement.result, "error": settlement.error}
            self._write(row, now, status=settlement.status, finished_at=now, suspect=False, **end, **counts)
            return True
        if settlement.delay:
            counts["run_at"] = now + settlement.delay
        changes = {**counts, "suspect": settlement.suspect}
        if settlement.started:
            self._requeue(row, now, outcome=settlement.outcome, error=settlement.error, **changes)
        else:
            self._requeue(row, now, outcome=None, **changes)
        return True
