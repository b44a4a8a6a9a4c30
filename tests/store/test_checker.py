"""The checker is checked: a store that breaks a promise on purpose is caught by the machine, each time in another way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed, EventPage, Page, Submitted
from dolgo.store.memory import MemoryStore
from dolgo.task.types import FINAL, NewTask, Outcome, Put, Query, QueueCounts, Settlement, Status
from tests.store.machine import StoreMachine


class AnyToken(MemoryStore):
    """Settles whatever token is shown."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        shown = []
        for one in settlements:
            row = self._rows.get(one.lease.id)
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
            row = self._rows.get(one.lease.id)
            asked = row is not None and row.task.cancel_asked and one.status is Status.DONE
            return replace(one, status=Status.QUEUED, outcome=Outcome.GIVEN_BACK) if asked else one

        return await super().settle([turned(one) for one in settlements])


class LosesAnEvent(MemoryStore):
    """Does not log what is reclaimed."""

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        events, head = list(self._events._events), self._events.head
        count = await super().reclaim(dead, limit)
        self._events._events, self._events.head = events, head
        return count


class CountsTwice(MemoryStore):
    """Counts a retried task where it was and where it is."""

    async def retry(self, ids: Sequence[str]) -> list[Status | None]:
        before = await super().retry(ids)
        for id, status in zip(ids, before, strict=True):
            if status is Status.FAILED:
                self._rows[id].line.count(status, 1)
        return before


class SwallowsAnError(MemoryStore):
    """Answers a batch as if all of it had been kept."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = ()) -> Submitted:
        try:
            return await super().submit(tasks, puts)
        except ValueError:
            return Submitted([Status.QUEUED] * len(tasks))


class KeepsHalfABatch(MemoryStore):
    """Keeps the tasks before the one that cannot be kept."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = ()) -> Submitted:
        try:
            return await super().submit(tasks, puts)
        except ValueError:
            await super().submit([one for one in tasks if one.id != "poison"][:1])
            raise


class WritesBeforeItLooks(MemoryStore):
    """Keeps the tasks although a record stands in the way."""

    async def submit(self, tasks: Sequence[NewTask], puts: Sequence[Put] = ()) -> Submitted:
        answer = await super().submit(tasks, puts)
        if answer.existing is not None:
            await super().submit(tasks)
        return answer


class HandsOutTwice(MemoryStore):
    """Hands out a task that its worker has held for a while, reclaimed or not."""

    async def claim(self, claim: Claim, **waiting: Any) -> Claimed:
        answer = await super().claim(claim, **waiting)
        over = [row for _, row in self._leases() if row.until <= self._clock() and row.line.type in claim.types]
        if len(answer.leases) < claim.limit and over:
            answer.leases.append(over[0].lease())
        return answer


class TakesLiveLeases(MemoryStore):
    """Reclaims without a look at the time."""

    async def reclaim(self, dead: Collection[str], limit: int) -> int:
        for _, row in self._leases():
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

    async def retry(self, ids: Sequence[str]) -> list[Status | None]:
        for id in ids:
            if id in self._rows:
                self._rows[id].lead = 0.0
        return await super().retry(ids)


class LosesTheGivenBack(MemoryStore):
    """Leaves a task that was given back in no line."""

    def _requeue(self, row: Any, now: float, *, outcome: Outcome | None, **changes: Any) -> None:
        super()._requeue(row, now, outcome=outcome, **changes)
        if outcome is Outcome.GIVEN_BACK:
            row.line.claimable.discard(row.task.id)


class RunsTooEarly(MemoryStore):
    """Takes what is due within a second."""

    def _let_due_in(self, now: float) -> None:
        super()._let_due_in(now + 1.0)
        while (first := self._later.first()) and first[0] <= now + 1.0:
            self._later.discard(first[1])
            self._rows[first[1]].due = True
            self._stand(self._rows[first[1]], now)


class ChangesWhatIsFinal(MemoryStore):
    """Writes the end again when it is told again."""

    def _settle(self, settlement: Settlement, now: float) -> bool:
        took = super()._settle(settlement, now)
        row = self._rows.get(settlement.lease.id)
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


# Each with what the machine says of it. It may be seen from several sides, but not by accident.
BROKEN: dict[type[MemoryStore], str] = {
    AnyToken: "forged token|took done|took failed|took queued|took cancelled",
    QueuedBeatsCancel: "^task |a cancelled task",
    CancelBeatsDone: "^task |took done",
    LosesAnEvent: "the log",
    CountsTwice: "the counts",
    SwallowsAnError: "was accepted",
    KeepsHalfABatch: "a refused submit",
    WritesBeforeItLooks: "a refused submit",
    HandsOutTwice: "not to be claimed",
    TakesLiveLeases: "a live lease|^reclaimed",
    ChargesTheLost: "^task ",
    ForgetsTheLead: "passed over|the oldest",
    LosesTheGivenBack: "passed over|the oldest",
    RunsTooEarly: "not yet|the oldest",
    ChangesWhatIsFinal: "^task |has changed",
    ForgetsAPage: "the list",
    RepeatsAnEvent: "comes again",
    CountsByHand: "the counts",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(lambda folder, clock: broken(clock=clock))})
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=400,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,  # the question is whether the rules can find it, not whether luck does
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
