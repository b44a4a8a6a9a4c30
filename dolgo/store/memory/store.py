"""The memory store: every task in dicts of this process, lost when it ends.

Everything happens on the loop between two awaits, so each verb is atomic as it stands and answers at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed, Clock, EventPage, IdPage, Page, Renewed, Store, Submitted
from dolgo.store.checks import check_note, check_settlement, check_task
from dolgo.store.memory.edges import Edges
from dolgo.store.memory.lines import MOST_CLOSED, Walk
from dolgo.store.memory.look import counted_ahead, details_of, held_by, in_the_way, oldest_of, page_of
from dolgo.store.memory.parts import Records
from dolgo.store.memory.rows import Row, called_off, counted, with_newest
from dolgo.store.memory.table import MOST_DUE, Table
from dolgo.store.sentences import CANCELLED_AGAIN, CANCELLED_QUEUED, EXPIRED, parent_ended, reclaimed
from dolgo.task.types import (
    FINAL,
    Change,
    Details,
    Error,
    ErrorCode,
    EventKind,
    Gate,
    HeldUp,
    Lease,
    NewTask,
    Note,
    Outcome,
    Put,
    Query,
    QueueCounts,
    Record,
    Refusal,
    Settlement,
    Status,
    Task,
)


class MemoryStore(Store):
    """Tasks, events and records of this process alone."""

    def __init__(self, clock: Clock = time.time) -> None:
        super().__init__(clock)
        self._table = Table()
        self._edges = Edges(self._table)
        self._records = Records()
        self._heard = 0  # the newest event at the last ring

    async def open(self) -> None:
        """Ready as it is."""

    async def close(self) -> None:
        """What is stored goes with the store itself."""

    # -- the life of a task

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        for task in tasks:
            check_task(task)
        for note in notes:
            check_note(note)
        now = self._clock()
        planned = self._records.plan(puts, now)
        if isinstance(planned, Record):
            return Submitted([], planned)
        if (refused := in_the_way(self._table, tasks, notes)) is not None:
            return refused
        self._records.set(planned)
        statuses = [self._submit(task, now) for task in tasks]
        for note in notes:
            self._note(note, now)
        self._finish(now)
        return Submitted(statuses)

    async def get(self, ids: Sequence[str]) -> list[Task | None]:
        rows = [self._table.rows.get(id) for id in ids]
        return [row.task if row else None for row in rows]

    async def details(self, ids: Sequence[str]) -> list[Details | None]:
        return [details_of(self._table, row) if (row := self._table.rows.get(id)) else None for id in ids]

    async def claim(self, claim: Claim, *, seen: int | None = None, wait: float = 0.0) -> Claimed:
        if seen is not None:
            await self.work.wait(seen, wait)
        seen, now = self.work.count, self._clock()
        self._expire(MOST_DUE, now)
        self._edges.follow(now)  # so that what this releases can be claimed
        self._table.let_due_in(now)
        walk = Walk(claim, self._table.groups.values(), self._table.gates, now)
        leases = self._take(claim, walk, now)
        if later := self._table.later.first():
            walk.again_at(later[0])
        self._finish(now)
        return Claimed(leases, walk.next_at, seen)

    async def renew(self, worker: str, tokens: Mapping[str, str], lease: float) -> Renewed:
        until = self._clock() + lease
        lost, asked = [], []
        for id, token in tokens.items():
            row = self._table.rows.get(id)
            if row is None or row.token != token or row.task.status is not Status.IN_PROGRESS:
                lost.append(id)
                continue
            row.until = until
            if row.task.cancel_asked:
                asked.append(id)
        held = self._table.held.get(worker, {})
        # By token: a worker may name an attempt that was taken from it and hold another of the same task unknowingly.
        return Renewed(lost, asked, [row.lease() for id, row in held.items() if tokens.get(id) != row.token])

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        for settlement in settlements:
            check_settlement(settlement)
        now = self._clock()
        took = [self._settle(settlement, now) for settlement in settlements]
        self._finish(now)
        return took

    async def note(self, notes: Sequence[Note]) -> list[bool]:
        for note in notes:
            check_note(note)
        now = self._clock()
        took = [held_by(self._table, note) and self._note(note, now) for note in notes]
        self._finish(now)
        return took

    async def notes(self, id: str, prefix: str = "") -> list[tuple[str, bytes]]:
        row = self._table.rows.get(id)
        return sorted((key, value) for key, value in row.notes.items() if key.startswith(prefix)) if row else []

    async def cancel(self, ids: Sequence[str]) -> list[Change]:
        now = self._clock()
        changes = [self._cancel(row, now) if (row := self._table.rows.get(id)) else Change(None) for id in ids]
        self._finish(now)
        return changes

    async def asked(self, worker: str) -> list[str]:
        return [id for id, row in self._table.held.get(worker, {}).items() if row.task.cancel_asked]

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        now = self._clock()
        changes = [self._retry(row, now) if (row := self._table.rows.get(id)) else Change(None) for id in ids]
        self._finish(now)
        return changes

    async def delete(self, ids: Sequence[str]) -> list[Change]:
        return [self._delete(row) if (row := self._table.rows.get(id)) else Change(None) for id in ids]

    # -- upkeep

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        now = self._clock()
        over = (row for worker, row in self._table.leases() if worker in dead or row.until <= now)
        rows = list(islice(over, limit))
        for row in rows:
            row.token = None  # nobody settled it, so a late settlement must not pass for a repeated one
            self._requeue(row, now, outcome=Outcome.LOST, error=reclaimed(row.task.attempt), suspect=True)
        self._finish(now)
        return len(rows)

    async def clamp(self, lease: float) -> int:
        latest = self._clock() + lease
        rows = [row for _, row in self._table.leases() if row.until > latest]
        for row in rows:
            row.until = latest
        return len(rows)

    async def prune(self, keep: float, limit: int) -> int:
        now, kept, count = self._clock(), self._table.kept, 0
        for _ in range(MOST_DUE):
            if (id := kept.no_longer_needed(now)) is None:
                break
            self._table.keep(id, now)
        while count < limit and (id := kept.oldest(now, keep)) is not None:
            row = self._table.rows[id]
            if row.needed_until > now:  # the clock was set back
                self._table.keep(id, now)
            else:
                self._table.remove(row)
                count += 1
        return count

    async def expire(self, limit: int) -> int:
        now = self._clock()
        count = self._expire(limit, now)
        self._finish(now)
        return count

    async def cascade(self, limit: int) -> int:
        now = self._clock()
        moved = self._edges.cascade(limit, now)
        self._finish(now)
        return moved

    async def trim(self, keep: float, most: int, limit: int, *, upto: int | None = None) -> int:
        now = self._clock()
        events = self._table.log.trim(now - keep, most, limit, upto)
        return events + self._records.trim(now, limit - events)

    # -- gates

    async def gate(self, scope: str, changes: Mapping[str, object]) -> Gate:
        gate = self._table.gates.change(scope, changes, self._clock())
        self._table.reopen_all()
        self.work.ring()
        return gate

    async def gates(self) -> list[Gate]:
        return self._table.gates.all(self._clock())

    async def held_up(self, id: str) -> HeldUp | None:
        now = self._clock()
        self._table.let_due_in(now)
        row = self._table.rows.get(id)
        if row is None or row.task.status is not Status.QUEUED or not (row.due or row.task.run_at <= now):
            return None
        gates, scopes = self._table.gates, row.group.scopes
        held_up = gates.shut(scopes, now) or gates.full(scopes, row.task.limit_key) or HeldUp("behind")
        return replace(held_up, ahead=counted_ahead(self._table, row))

    # -- looking

    async def counts(self) -> list[QueueCounts]:
        groups = self._table.groups.values()
        return [QueueCounts(group.queue, group.type, group.hash, dict(group.counts)) for group in groups]

    async def oldest(self) -> dict[str, float]:
        self._table.let_due_in(self._clock())
        return oldest_of(self._table)

    async def events(self, after: int, limit: int) -> EventPage:
        return self._table.log.page(after, limit)

    async def head(self) -> int:
        return self._table.log.head

    # -- records

    async def put(self, puts: Sequence[Put]) -> Record | None:
        planned = self._records.plan(puts, self._clock())
        if isinstance(planned, Record):
            return planned
        self._records.set(planned)
        return None

    async def records(self, prefix: str) -> list[Record]:
        return self._records.starting_with(prefix, self._clock())

    async def forget(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._records.forget(key)

    # -- steps of submit

    def _submit(self, new: NewTask, now: float) -> Status:
        if (row := self._table.rows.get(new.id)) is not None:
            return row.task.status
        pending, bad = self._edges.parents(new.depends_on, new.on_parent_failure)
        changes: dict[str, Any] = {"status": Status.WAITING} if pending else {}
        if bad is not None:
            changes = called_off(now, parent_ended(bad.id, bad.status), ErrorCode.DEPENDENCY_FAILED)
        row = self._table.add(new, now, **changes)
        row.pending = pending
        return row.task.status

    # -- steps of claim

    def _take(self, claim: Claim, walk: Walk, now: float) -> list[Lease]:
        """What the claim gets on its way."""
        table, leases, closed = self._table, list[Lease](), 0
        while len(leases) < claim.limit and (head := walk.head()):
            row, group = table.rows[head[0]], head[1]
            key = row.task.limit_key
            if closed == MOST_CLOSED or row.expired(now):
                walk.again_at(now)  # there is more of it than one claim may do
                break
            if key is not None and table.gates.full(group.scopes, key):
                table.close(group, key)
                closed += 1
            else:
                leases.append(self._claim(row, claim, now))
            walk.passed()
        return leases

    def _claim(self, row: Row, claim: Claim, now: float) -> Lease:
        row.token = secrets.token_hex(8)
        row.until = now + claim.lease
        attempt = row.task.attempt + 1
        self._table.write(row, now, status=Status.IN_PROGRESS, attempt=attempt, worker=claim.worker, started_at=now)
        return row.lease()

    def _expire(self, limit: int, now: float) -> int:
        count = 0
        while count < limit and (first := self._table.expiring.first()) and first[0] <= now:
            self._table.write(self._table.rows[first[1]], now, **called_off(now, EXPIRED, ErrorCode.EXPIRED))
            count += 1
        return count

    # -- other transitions: each is one `write`

    def _settle(self, settlement: Settlement, now: float) -> bool:
        row = self._table.rows.get(settlement.lease.id)
        if row is None or row.token != settlement.lease.token:
            return False
        said = (settlement.status, settlement.outcome)
        if row.task.status in FINAL:
            return row.settled == said  # said again in doubt
        row.settled = said
        changes = counted(settlement)
        if settlement.status is not Status.QUEUED:
            changes.update(status=settlement.status, result=settlement.result, error=settlement.error)
            self._table.write(row, now, finished_at=now, suspect=False, **changes)
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
        self._table.write(row, now, **changes)

    def _note(self, note: Note, now: float) -> bool:
        row = self._table.rows[note.id]
        row.notes[note.key] = note.value
        if note.event is not None:
            self._table.log.append(now, row.task, note.event, note.value if note.event is EventKind.PROGRESS else None)
        return True

    def _cancel(self, row: Row, now: float) -> Change:
        before, asked = row.task.status, False
        if before is Status.IN_PROGRESS:
            asked = not row.task.cancel_asked
        if before is Status.IN_PROGRESS or row.by_parent:
            row.task = replace(row.task, cancel_asked=True)
        elif before not in FINAL:
            self._table.write(row, now, **called_off(now, CANCELLED_QUEUED))
        refused = before in (Status.DONE, Status.FAILED)
        return Change(before, row.task.status, Refusal.STATUS if refused else None, asked)

    def _retry(self, row: Row, now: float) -> Change:
        task = row.task
        pending, bad = self._edges.parents(row.parents, task.on_parent_failure)
        refusal = None
        if task.status not in (Status.FAILED, Status.CANCELLED):
            refusal = Refusal.STATUS
        elif self._table.has_key(task.type, task.unique_key) is not None:
            refusal = Refusal.UNIQUE
        elif bad is not None:
            refusal = Refusal.PARENTS
        else:
            self._edges.begin_anew(row, pending, now, run_at=now)
        return Change(task.status, row.task.status, refusal)

    def _delete(self, row: Row) -> Change:
        status = row.task.status
        if status not in FINAL:
            return Change(status, status, Refusal.STATUS)
        if row.task.id in self._table.unfinished:
            return Change(status, status, Refusal.DEPENDENTS)
        self._table.remove(row)
        return Change(status)

    def _finish(self, now: float) -> None:
        """The end of every verb that writes: what follows from it is part of its commit, and then bells ring."""
        self._edges.follow(now)
        if self._table.joined:
            self._table.joined = False
            self.work.ring()
        if self._heard != self._table.log.head:
            self._heard = self._table.log.head
            self.log.ring()

    async def find(self, query: Query) -> IdPage:
        page = await self.list(query)
        return IdPage([task.id for task in page.tasks], page.after)

    # Last, because from here on `list` is no type to a checker.
    async def list(self, query: Query) -> Page:
        return page_of(self._table, query)
