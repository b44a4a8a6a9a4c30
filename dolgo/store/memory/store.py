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
from dolgo.store.memory.ordered import Heap, Keys
from dolgo.store.memory.parts import LAST, EventLog, Records
from dolgo.store.memory.rows import Line, Row, called_off, matches, submitted, with_newest
from dolgo.store.sentences import CANCELLED_AGAIN, CANCELLED_QUEUED
from dolgo.task.types import (
    FINAL,
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
    last_outcome,
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

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        if seen is not None:
            await self.work.wait(seen, wait)
        seen, now = self.work.count, self._clock()
        self._let_due_in(now)
        heads = [(head, line) for line in self._fitting(claim) if (head := line.claimable.first())]
        heapify(heads)  # two heads differ by their ids, so lines are never compared
        leases: list[Lease] = []
        while heads and len(leases) < claim.limit:
            (_, id), line = heads[0]
            leases.append(self._claim(self._rows[id], claim, now))
            if head := line.claimable.first():
                heapreplace(heads, (head, line))
            else:
                heappop(heads)
        self._ring()
        later = self._later.first()
        return Claimed(leases, later[0] if later else None, seen)

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
        return Renewed(lost, asked, [row.lease() for id, row in held.items() if tokens.get(id) != row.token])

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
        rows = list(islice(over, limit))
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
        oldest = self._finished.smallest(limit, high=(self._clock() - keep, ""))
        return len(await self.delete([id for _, id in oldest]))

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
            if (head := line.claimable.first()) and (line.queue not in heads or head < heads[line.queue]):
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
        key = (new.queue, new.type, new.hash)
        line = self._lines.get(key) or self._lines.setdefault(key, Line(*key))
        row = self._rows[new.id] = Row(submitted(new, now), new.lead, line)
        self._created.add((now, new.id))
        self._enter(row, now)
        return row.task.status

    def _claim(self, row: Row, claim: Claim, now: float) -> Lease:
        row.token = secrets.token_hex(8)
        row.until = now + claim.lease
        attempt = row.task.attempt + 1
        self._write(row, now, status=Status.IN_PROGRESS, attempt=attempt, worker=claim.worker, started_at=now)
        return row.lease()

    def _settle(self, settlement: Settlement, now: float) -> bool:
        row = self._rows.get(settlement.lease.id)
        if row is None or row.token != settlement.lease.token:
            return False
        said = (settlement.status, settlement.outcome)
        if row.task.status in FINAL:
            return row.settled == said  # said again in doubt
        row.settled = said
        changes: dict[str, Any] = {"failures": settlement.failures, "losses": settlement.losses}
        if settlement.status is not Status.QUEUED:
            changes.update(status=settlement.status, result=settlement.result, error=settlement.error)
            self._write(row, now, finished_at=now, suspect=False, **changes)
            return True
        if settlement.delay:
            changes["run_at"], row.due = now + settlement.delay, False
        outcome = settlement.outcome if settlement.started else None
        self._requeue(row, now, outcome=outcome, error=settlement.error, suspect=settlement.suspect, **changes)
        return True

    def _requeue(self, row: Row, now: float, *, outcome: Outcome | None, error: Error | None = None, **changes: Any) -> None:
        """Held → queued, or cancelled if that was asked. `outcome` None: nothing started and the attempt's number is returned."""
        task = row.task
        if outcome is None:
            changes.update(attempt=task.attempt - 1, worker=None, started_at=None)
        if task.cancel_asked:
            changes.update(called_off(now, CANCELLED_AGAIN, attempt=0 if outcome is None else task.attempt))
        else:
            row.token = None
            history = task.history if outcome is None else with_newest(task, outcome, now, error)
            changes.update(status=Status.QUEUED, worker=None, started_at=None, history=history)
        self._write(row, now, **changes)

    def _cancel(self, row: Row, now: float) -> Status:
        before = row.task.status
        if before is Status.IN_PROGRESS:
            row.task = replace(row.task, cancel_asked=True)
        elif before not in FINAL:
            self._write(row, now, **called_off(now, CANCELLED_QUEUED, attempt=0))
        return before

    def _retry(self, row: Row, now: float) -> Status:
        task = row.task
        if task.status not in (Status.FAILED, Status.CANCELLED):
            return task.status
        history = task.history
        if task.started_at is not None:  # the newest attempt is on the record and not yet in its history
            history = with_newest(task, last_outcome(task.status, task.error), task.finished_at, task.error)
        fresh = {"failures": 0, "losses": 0, "suspect": False, "cancel_asked": False, "result": None, "error": None}
        unheld = {"worker": None, "started_at": None, "finished_at": None, "history": history, "run_at": now}
        row.token = row.settled = None
        self._write(row, now, status=Status.QUEUED, **fresh, **unheld)
        return task.status

    def _delete(self, row: Row) -> Status:
        task = row.task
        if task.status in FINAL:
            self._leave(row)
            del self._rows[task.id]
            self._created.discard((task.created_at, task.id))
            if not row.line.counts:
                del self._lines[row.line.queue, row.line.type, row.line.hash]
        return task.status

    def _write(self, row: Row, now: float, **changes: Any) -> None:
        """The one way to another status: counts, places and the log follow."""
        self._leave(row)
        row.task = replace(row.task, **changes)
        self._enter(row, now)

    # -- places: where a task stands besides its row

    def _leave(self, row: Row) -> None:
        task = row.task
        row.line.count(task.status, -1)
        if task.status is Status.QUEUED:
            row.line.claimable.discard(task.id)
            self._later.discard(task.id)
        elif task.worker is not None and task.status is Status.IN_PROGRESS:
            del self._held[task.worker][task.id]
            if not self._held[task.worker]:
                del self._held[task.worker]
        elif task.finished_at is not None:
            self._finished.discard((task.finished_at, task.id))

    def _enter(self, row: Row, now: float) -> None:
        task = row.task
        row.line.count(task.status, 1)
        self._events.append(now, task)
        if task.status is Status.QUEUED:
            self._stand(row, now)
            self._joined = True
        elif task.worker is not None and task.status is Status.IN_PROGRESS:
            self._held.setdefault(task.worker, {})[task.id] = row
        elif task.finished_at is not None:
            self._finished.add((task.finished_at, task.id))

    def _stand(self, row: Row, now: float) -> None:
        task = row.task
        row.due = row.due or task.run_at <= now
        if row.due:
            row.line.claimable.add(task.id, task.run_at - row.lead)
        else:
            self._later.add(task.id, task.run_at)

    def _let_due_in(self, now: float) -> None:
        for _ in range(MOST_DUE):
            first = self._later.first()
            if first is None or first[0] > now:
                break
            self._later.discard(first[1])
            self._stand(self._rows[first[1]], now)

    def _fitting(self, claim: Claim) -> Iterator[Line]:
        for line in self._lines.values():
            queue_fits = claim.queues is None or line.queue in claim.queues
            if queue_fits and line.type in claim.types and (line.type, line.hash) not in claim.avoid:
                yield line

    def _leases(self) -> Iterator[tuple[str, Row]]:
        for worker, rows in self._held.items():
            for row in rows.values():
                yield worker, row

    def _ring(self) -> None:
        if self._joined:
            self._joined = False
            self.work.ring()
        if self._heard != self._events.head:
            self._heard = self._events.head
            self.log.ring()

    # Last, because from here on `list` is no type to a checker.
    async def list(self, query: Query) -> Page:
        index = self._finished if query.order.endswith("finished_at") else self._created
        backwards = query.order.startswith("-")
        low, high = _bounds(query, backwards)
        keys = index.stretch(MOST_LOOKS, low=low, high=high, backwards=backwards)
        tasks = []
        for key in keys:
            if key in index and matches(task := self._rows[key[1]].task, query):
                tasks.append(task)
                if len(tasks) == query.limit:
                    return Page(tasks, key)
        return Page(tasks, keys[-1] if len(keys) == MOST_LOOKS else None)


def _bounds(query: Query, backwards: bool) -> tuple[TimeKey | None, TimeKey | None]:
    """From the smallest key of the page on, and before which key: what the cursor and the times of creation allow."""
    low: TimeKey | None = None
    high: TimeKey | None = None
    if not query.order.endswith("finished_at"):
        low = None if query.created_after is None else (query.created_after, LAST)
        high = None if query.created_before is None else (query.created_before, "")
    if query.after is not None and backwards:
        high = min(query.after, high or query.after)
    elif query.after is not None:
        after = (query.after[0], query.after[1] + "\0")  # the smallest key behind it: no id holds NUL
        low = max(after, low or after)
    return low, high
