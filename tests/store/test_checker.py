"""The checker is checked: a store that breaks a promise on purpose is caught by the machine, each time in another way."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed, EventPage, Page, Submitted
from dolgo.store.memory import MemoryStore
from dolgo.store.memory.ordered import Heap
from dolgo.store.memory.rows import Row
from dolgo.task.types import (
    FINAL,
    Change,
    HeldUp,
    Lease,
    NewTask,
    Note,
    OnParentFailure,
    Outcome,
    Put,
    Query,
    QueueCounts,
    Settlement,
    Status,
)
from tests.store.machine import StoreMachine


class AnyToken(MemoryStore):
    """Settles whatever token is shown."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        shown = []
        for one in settlements:
            row = self._table.rows.get(one.lease.id)
            held = row is not None and row.task.status is Status.IN_PROGRESS and row.token is not None
            shown.append(replace(one, lease=replace(one.lease, token=row.token)) if row and held else one)
        return await super().settle(shown)


class QueuedBeatsCancel(MemoryStore):
    """Forgets that a cancel was asked when a task is queued again."""

    def _requeue(self, row: Any, now: float, **changes: Any) -> None:
        row.task = replace(row.task, cancel_asked=False)
        super()._requeue(row, now, **changes)


class CancelBeatsDone(MemoryStore):
    """Lets a cancel undo what was done before it was heard."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        def turned(one: Settlement) -> Settlement:
            row = self._table.rows.get(one.lease.id)
            asked = row is not None and row.task.cancel_asked and one.status is Status.DONE
            return replace(one, status=Status.QUEUED, outcome=Outcome.GIVEN_BACK) if asked else one

        return await super().settle([turned(one) for one in settlements])


class LosesAnEvent(MemoryStore):
    """Does not log what is reclaimed."""

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        events, head = list(self._table.log._events), self._table.log.head
        count = await super().reclaim(dead, limit)
        self._table.log._events, self._table.log.head = events, head
        return count


class CountsTwice(MemoryStore):
    """Counts a retried task where it was and where it is."""

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        changes = await super().retry(ids)
        for id, change in zip(ids, changes, strict=True):
            if change.before is Status.FAILED and change.refusal is None:
                self._table.rows[id].group.count(Status.FAILED, 1)
        return changes


class SwallowsAnError(MemoryStore):
    """Answers a batch as if all of it had been kept."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        try:
            return await super().submit(tasks, puts, notes)
        except ValueError:
            return Submitted([Status.QUEUED] * len(tasks))


class KeepsHalfABatch(MemoryStore):
    """Keeps the tasks before the one that cannot be kept."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        try:
            return await super().submit(tasks, puts, notes)
        except ValueError:
            await super().submit([one for one in tasks if one.id != "poison"][:1])
            raise


class WritesBeforeItLooks(MemoryStore):
    """Keeps the tasks although a record stands in the way."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> Submitted:
        answer = await super().submit(tasks, puts, notes)
        if answer.existing is not None:
            await super().submit(tasks)
        return answer


class HandsOutTwice(MemoryStore):
    """Hands out a task that its worker has held for a while, reclaimed or not."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        answer = await super().claim(claim, **waiting)
        over = [row for _, row in self._table.leases() if row.until <= self._clock() and row.task.type in claim.types]
        if len(answer.leases) < claim.limit and over:
            answer.leases.append(over[0].lease())
        return answer


class TakesLiveLeases(MemoryStore):
    """Reclaims without a look at the time."""

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        for _, row in self._table.leases():
            row.until = self._clock()
        return await super().reclaim(dead, limit)


class ChargesTheLost(MemoryStore):
    """Counts a reclaimed attempt as a failure."""

    def _requeue(self, row: Any, now: float, *, outcome: Outcome | None, **changes: Any) -> None:
        if outcome is Outcome.LOST:
            changes["failures"] = row.task.failures + 1
        super()._requeue(row, now, outcome=outcome, **changes)


class ForgetsTheLead(MemoryStore):
    """Lets a task that comes back stand by its time alone."""

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        for id in ids:
            if id in self._table.rows:
                self._table.rows[id].lead = 0.0
        return await super().retry(ids)


class LosesTheGivenBack(MemoryStore):
    """Leaves a task that was given back in no line."""

    def _requeue(self, row: Any, now: float, *, outcome: Outcome | None, **changes: Any) -> None:
        super()._requeue(row, now, outcome=outcome, **changes)
        if outcome is Outcome.GIVEN_BACK:
            row.group.discard(row.task.id, row.task.limit_key)


class RunsTooEarly(MemoryStore):
    """Takes what is due within a second."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        now = self._clock()
        while (first := self._table.later.first()) and first[0] <= now + 1.0:
            self._table.later.discard(first[1])
            self._table.rows[first[1]].due = True
            self._table.stand(self._table.rows[first[1]], now)
        return await super().claim(claim, **waiting)


class ChangesWhatIsFinal(MemoryStore):
    """Writes the end again when it is told again."""

    def _settle(self, settlement: Settlement, now: float) -> bool:
        took = super()._settle(settlement, now)
        row = self._table.rows.get(settlement.lease.id)
        if took and row is not None and row.task.status in FINAL:
            row.task = replace(row.task, finished_at=now, result=row.task.result and row.task.result + b" ")
        return took


class ForgetsAPage(MemoryStore):
    """Skips the newest task of a list."""

    async def list(self, query: Query) -> Page:
        page = await super().list(query)
        return replace(page, tasks=page.tasks[1:])


class RepeatsAnEvent(MemoryStore):
    """Shows the last event again."""

    async def events(self, after: int, limit: int) -> EventPage:
        return await super().events(max(after - 1, 0), limit)


class CountsByHand(MemoryStore):
    """Leaves the cancelled out."""

    async def counts(self) -> list[QueueCounts]:
        found = await super().counts()
        return [replace(one, counts={s: n for s, n in one.counts.items() if s is not Status.CANCELLED}) for one in found]


class ForgetsTheDependents(MemoryStore):
    """Leaves those that wait for a task that failed where they are."""

    def _settle(self, settlement: Settlement, now: float) -> bool:
        took = super()._settle(settlement, now)
        if settlement.status is Status.FAILED:
            self._table.ended.clear()
        return took


class ReleasesTooEarly(MemoryStore):
    """Releases a task as soon as one of its parents is done."""

    def _settle(self, settlement: Settlement, now: float) -> bool:
        took = super()._settle(settlement, now)
        for id in self._table.dependents.get(settlement.lease.id, ()) if settlement.status is Status.DONE else ():
            row = self._table.rows[id]
            if row.task.status is Status.WAITING:
                self._table.write(row, now, status=Status.QUEUED, run_at=max(row.task.run_at, now))
        return took


class RunsWhatShouldBeCancelled(MemoryStore):
    """Takes every end of a parent for a good one."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        parents = self._edges.parents
        self._edges.parents = lambda depends_on, policy: parents(depends_on, OnParentFailure.RUN)  # type: ignore[method-assign]


class CancelsWhatShouldRun(MemoryStore):
    """Minds no policy."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        parents = self._edges.parents
        self._edges.parents = lambda depends_on, policy: parents(depends_on, OnParentFailure.CANCEL)  # type: ignore[method-assign]


class RevivesWithoutALook(MemoryStore):
    """Brings dependents back whatever their other parents would do to them."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        revive, parents = self._edges._revive, self._edges.parents

        def blind(row: Row, now: float) -> bool:
            self._edges.parents = lambda depends_on, policy: parents(depends_on, OnParentFailure.RUN)  # type: ignore[method-assign]
            try:
                return revive(row, now)
            finally:
                self._edges.parents = parents  # type: ignore[method-assign]

        self._edges._revive = blind  # type: ignore[method-assign]


class RevivesNobody(MemoryStore):
    """Retries a task without those that were cancelled because of it."""

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        self._edges._revive = lambda row, now: False  # type: ignore[method-assign]
        return await super().retry(ids)


class DeletesWhatIsNeeded(MemoryStore):
    """Deletes a parent from under those that wait."""

    async def delete(self, ids: Sequence[str]) -> list[Change]:
        kept, self._table.unfinished = self._table.unfinished, {}
        changes = await super().delete(ids)
        self._table.unfinished = kept
        return changes


class OneTooMany(MemoryStore):
    """Lets one more run than may."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        gates, shut = self._table.gates, self._table.gates.shut

        def generous(scopes: tuple[str, ...], now: float) -> HeldUp | None:
            kept = gates._gates
            gates._gates = {at: replace(one, max_running=one.max_running and one.max_running + 1) for at, one in kept.items()}
            held_up, gates._gates = shut(scopes, now), kept
            return held_up

        gates.shut = generous  # type: ignore[method-assign]


class ForgetsTheKeys(MemoryStore):
    """Counts nothing by limit key."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self._table.gates.full = lambda scopes, key: None  # type: ignore[method-assign]


class NeverReopens(MemoryStore):
    """Leaves a line closed once as many of its key ran as may."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self._table._reopen_key = lambda key: None  # type: ignore[method-assign]
        self._table.reopen_all = lambda: None  # type: ignore[method-assign]


class StartsTooFast(MemoryStore):
    """Counts no starts."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self._table.gates._next_start = lambda gate, rate, now: now  # type: ignore[method-assign]


class PausesInVain(MemoryStore):
    """Shows a pause that no claim sees."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        gates = self._table.gates
        kept, gates._gates = gates._gates, {scope: replace(one, paused=False) for scope, one in gates._gates.items()}
        try:
            return await super().claim(claim, **waiting)
        finally:
            gates._gates = kept


class ForgetsAPause(MemoryStore):
    """Tells nobody when a pause ends by itself."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        answer = await super().claim(claim, **waiting)
        ends = {gate.paused_until for gate in self._table.gates.all(self._clock())}
        return replace(answer, next_at=None) if answer.next_at in ends else answer


class TakesAheadWhatIsCounted(MemoryStore):
    """Takes no heed that its slots are not free yet."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        return await super().claim(replace(claim, ahead=False), **waiting)


class RetriesATakenKey(MemoryStore):
    """Looks at a unique key only when a task is submitted."""

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        kept, self._table.unique = self._table.unique, {}
        changes = await super().retry(ids)
        self._table.unique = kept | self._table.unique
        return changes


class ClaimsTheExpired(MemoryStore):
    """Looks at the time to start only in upkeep."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        expiring, self._table.expiring = self._table.expiring, Heap()
        kept = {id: row.task.expires_at for id, row in self._table.rows.items()}
        for row in self._table.rows.values():
            row.task = replace(row.task, expires_at=None)
        answer = await super().claim(claim, **waiting)
        for id, expires_at in kept.items():
            self._table.rows[id].task = replace(self._table.rows[id].task, expires_at=expires_at)
        self._table.expiring = expiring
        return answer


class ExpiresWhatHasStarted(MemoryStore):
    """Lets a task expire between two attempts."""

    async def expire(self, limit: int) -> int:
        for id, row in self._table.rows.items():
            if row.task.status is Status.QUEUED and row.task.expires_at is not None:
                self._table.expiring.add(id, row.task.expires_at)
        return await super().expire(limit)


class TakesAnyNote(MemoryStore):
    """Keeps notes of attempts that are over."""

    async def note(self, notes: Sequence[Note]) -> list[bool]:
        now = self._clock()
        return [note.id in self._table.rows and self._note(note, now) for note in notes]


class LosesANoteWithAnAttempt(MemoryStore):
    """Begins every attempt with an empty page."""

    def _claim(self, row: Row, claim: Claim, now: float) -> Lease:
        row.notes.clear()
        return super()._claim(row, claim, now)


class PrunesWhatIsNeeded(MemoryStore):
    """Minds nobody who still needs a task."""

    def _submit(self, new: NewTask, now: float) -> Status:
        return super()._submit(replace(new, needed=0.0), now)


class KeepsTheGeneration(MemoryStore):
    """Retries a task as if nobody had."""

    async def retry(self, ids: Sequence[str]) -> list[Change]:
        changes = await super().retry(ids)
        for id in ids:
            if id in self._table.rows:
                self._table.rows[id].task = replace(self._table.rows[id].task, generation=0)
        return changes


# Each with what the machine says of it. It may be seen from several sides, but not by accident.
BROKEN: dict[type[MemoryStore], str] = {
    AnyToken: "forged token|took done|took failed|took queued|took cancelled",
    QueuedBeatsCancel: "^task |a cancelled task|the log",
    CancelBeatsDone: "^task |took done|the log|cancelled by nobody",
    LosesAnEvent: "the log",
    CountsTwice: "the counts",
    SwallowsAnError: "was accepted",
    KeepsHalfABatch: "a refused submit|what stands in the way",
    WritesBeforeItLooks: "a refused submit",
    HandsOutTwice: "not to be claimed|a cancelled task was claimed",
    TakesLiveLeases: "a live lease|^reclaimed",
    ChargesTheLost: "^task ",
    ForgetsTheLead: "passed over|the oldest",
    LosesTheGivenBack: "passed over|the oldest|next_at|unfinished",
    RunsTooEarly: "not yet|passed over|the oldest|next_at",
    ChangesWhatIsFinal: "^task |has changed",
    ForgetsAPage: "the list",
    RepeatsAnEvent: "comes again",
    CountsByHand: "the counts",
    ForgetsTheDependents: "is waiting; its parents want it",
    ReleasesTooEarly: "was released; its parents want it",
    RunsWhatShouldBeCancelled: "its parents want it|the statuses of a submit|a retry was answered",
    CancelsWhatShouldRun: "cancelled by nobody|the statuses of a submit|a retry was answered",
    RevivesWithoutALook: "by itself",
    RevivesNobody: "was not revived",
    DeletesWhatIsNeeded: "a delete",
    OneTooMany: "not to be claimed: limit|next_at|held up",
    ForgetsTheKeys: "not to be claimed: limit|held up",
    NeverReopens: "passed over|the oldest",
    StartsTooFast: "not to be claimed: rate",
    PausesInVain: "not to be claimed: queue_paused",
    ForgetsAPause: "next_at",
    TakesAheadWhatIsCounted: "not to be claimed: ahead",
    RetriesATakenKey: "a retry was answered|two unfinished tasks|by itself",
    ClaimsTheExpired: "^task |it has expired",
    ExpiresWhatHasStarted: "cancelled by nobody|^expired",
    TakesAnyNote: "notes that took",
    LosesANoteWithAnAttempt: "the details|notes of",
    PrunesWhatIsNeeded: "pruned",
    KeepsTheGeneration: "^task ",
}


STEPS = (40, 30, 50, 60)  # of a walk: other lengths lead other ways, for what is found on few of them


@pytest.mark.timeout(240)  # some are found on few ways only
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(lambda folder, clock: broken(clock=clock))})
    said = list(search(machine, BROKEN[broken]))
    assert re.search(BROKEN[broken], said[-1] if said else "nothing"), said


def search(machine: type[StoreMachine], wanted: str) -> Iterator[str]:
    """What is said of each walk on which something was found, up to the one that is wanted: it may be seen from another side
    first. Ids and tokens differ from walk to walk, so that now and then one cannot be walked again."""
    for steps in STEPS:
        try:
            walk(machine, steps)
        except Flaky:
            continue
        except AssertionError as error:
            yield str(error)
            if re.search(wanted, str(error)):
                return


def walk(machine: type[StoreMachine], steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=400,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,  # the question is whether the rules can find it, not whether luck does
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
