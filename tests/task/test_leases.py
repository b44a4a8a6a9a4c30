"""The leases a worker holds: renewed, given back when nobody knows of them, and stopped when they may be somebody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.base import Store
from dolgo.task import leases as leases_room
from dolgo.task.leases import ANSWERED_WITHIN, Leases
from dolgo.task.types import ErrorCode, Lease, Outcome, Status
from dolgo.task.verdict import UNSTARTED, Loss
from tests.store.build import claim, read, status, submit, task
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager
from tests.task.wrapped import Step, Wrapped, at_first, lose_the_answer, refuse

pytestmark = pytest.mark.anyio

SECONDS = 30.0
DEADLINE = 5.0
WELL, STOPPED = Report(0, Kind.DONE, b"1"), Report(0, Kind.CANCELLED)


class Hand:
    """A worker's leases in a time that is moved by hand, and what it was told to stop."""

    def __init__(self, memory: Store, clock: Clock) -> None:
        self.memory = memory
        self.store = Wrapped(memory)
        self.clock = clock
        self.now = 1_000.0
        self.stopped: set[str] = set()

    async def ready(self) -> Hand:
        manager = await a_manager(self.store.store, self.clock, ECHO)
        self.leases = Leases(manager, worker="w1", seconds=SECONDS, stop=self.stopped.update, write=manager.settle)
        return self

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.clock.advance(seconds)

    async def claim(self, number: int = 1, *, taken: bool = True) -> list[Lease]:
        await submit(self.memory, *(task() for _ in range(number)))
        found = (await claim(self.memory, limit=number, lease=SECONDS)).leases
        if taken:
            self.leases.take(found)
        return found

    async def lost(self, lease: Lease, worker: str = "w2") -> Lease:
        """Its time ran out, and somebody took it."""
        await self.memory.reclaim(["w1"], 100)
        return (await claim(self.memory, worker=worker, limit=1)).leases[0]


@pytest.fixture
async def hand(memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand(memory, clock)
    monkeypatch.setattr(leases_room, "time", made)
    monkeypatch.setattr(leases_room, "BACKOFF", (0.001,) * 4)
    return await made.ready()


# -- ends


async def test_a_lease_is_held_until_its_end_is_written(hand: Hand) -> None:
    one, other = await hand.claim(2)
    await hand.leases.settle([(one, WELL)])
    assert len(hand.leases) == 1
    emptied = asyncio.create_task(hand.leases.emptied())
    await asyncio.sleep(0)
    assert not emptied.done()
    await hand.leases.settle([(other, UNSTARTED)])
    await asyncio.wait_for(emptied, DEADLINE)
    assert [await status(hand.memory, lease.id) for lease in (one, other)] == [Status.DONE, Status.QUEUED]


async def test_ends_are_written_however_often_the_store_refuses(hand: Hand) -> None:
    (lease,) = await hand.claim()
    hand.store.hooks["settle"] = at_first(3, refuse)
    await asyncio.wait_for(hand.leases.settle([(lease, WELL)]), DEADLINE)
    assert await status(hand.memory, lease.id) is Status.DONE
    assert len(hand.leases) == 0


async def test_an_end_whose_answer_was_lost_is_written_once(hand: Hand) -> None:
    (lease,) = await hand.claim()
    hand.store.hooks["settle"] = at_first(1, lose_the_answer)
    head = await hand.memory.head()
    await asyncio.wait_for(hand.leases.settle([(lease, WELL)]), DEADLINE)
    assert (await status(hand.memory, lease.id), await hand.memory.head()) == (Status.DONE, head + 1)


async def test_the_end_of_a_lease_that_was_lost_changes_nothing(hand: Hand) -> None:
    (lease,) = await hand.claim()
    await hand.lost(lease)
    await hand.leases.settle([(lease, WELL)])
    assert await status(hand.memory, lease.id) is Status.IN_PROGRESS
    assert len(hand.leases) == 0


async def test_a_fault_that_does_not_pass_lets_the_lease_run_out(hand: Hand) -> None:
    (lease,) = await hand.claim()

    async def broken(step: Step) -> Any:
        raise ZeroDivisionError

    hand.store.hooks["settle"] = broken
    await asyncio.wait_for(hand.leases.settle([(lease, WELL)]), DEADLINE)
    assert len(hand.leases) == 0
    await hand.leases.beat()
    hand.pass_by(SECONDS + 1)
    assert await hand.memory.reclaim([], 10) == 1


async def test_a_handler_that_was_stopped_though_nobody_asked_runs_again(hand: Hand) -> None:
    """An outage as long as a lease must not cancel what runs."""
    (lease,) = await hand.claim()
    hand.pass_by(SECONDS * 0.95)
    hand.leases.stop_doubtful()
    assert hand.stopped == {lease.token}
    await hand.leases.settle([(lease, STOPPED)])
    found = await read(hand.memory, lease.id)
    assert (found.status, found.failures, found.losses, found.suspect) == (Status.QUEUED, 0, 0, False)
    assert [(one.number, one.outcome) for one in found.history] == [(1, Outcome.GIVEN_BACK)]


async def test_what_a_handler_makes_of_being_stopped_in_doubt_is_no_failure(hand: Hand) -> None:
    (lease,) = await hand.claim()
    hand.pass_by(SECONDS * 0.95)
    hand.leases.stop_doubtful()
    await hand.leases.settle([(lease, Report(0, Kind.ERROR, error=Fault(ErrorCode.HANDLER_ERROR, "cannot clean up")))])
    found = await read(hand.memory, lease.id)
    assert (found.status, found.failures, [one.outcome for one in found.history]) == (Status.QUEUED, 0, [Outcome.GIVEN_BACK])


async def test_an_error_of_its_own_is_a_failure_though_the_handler_was_stopped_in_doubt(hand: Hand) -> None:
    (lease,) = await hand.claim()
    hand.pass_by(SECONDS * 0.95)
    hand.leases.stop_doubtful()
    await hand.leases.settle([(lease, Report(0, Kind.ERROR, error=Fault(ErrorCode.RESULT_TOO_LARGE, "large")))])
    assert await status(hand.memory, lease.id) is Status.FAILED


async def test_a_handler_that_was_stopped_because_somebody_asked_is_cancelled(hand: Hand) -> None:
    (lease,) = await hand.claim()
    await hand.memory.cancel([lease.id])
    await hand.leases.hear_cancels()
    assert hand.stopped == {lease.token}
    await hand.leases.settle([(lease, STOPPED)])
    found = await read(hand.memory, lease.id)
    assert (found.status, found.error and found.error.message) == (Status.CANCELLED, "Cancelled while it ran.")


async def test_a_child_that_dies_with_a_task_that_is_to_be_cancelled_ends_it(hand: Hand) -> None:
    (lease,) = await hand.claim()
    await hand.memory.cancel([lease.id])
    await hand.leases.settle([(lease, Loss("was killed by SIGKILL", alone=True))])
    assert await status(hand.memory, lease.id) is Status.CANCELLED


# -- cancels


async def test_a_cancel_is_passed_on_once(hand: Hand) -> None:
    (lease,) = await hand.claim()
    await hand.memory.cancel([lease.id])
    await hand.leases.hear_cancels()
    hand.stopped.clear()
    await hand.leases.hear_cancels()
    await hand.leases.renew()
    assert not hand.stopped


async def test_a_renewal_tells_of_cancels_as_well(hand: Hand) -> None:
    (lease,) = await hand.claim()
    await hand.memory.cancel([lease.id])
    await hand.leases.beat()
    assert hand.stopped == {lease.token}
    await hand.leases.settle([(lease, STOPPED)])
    assert await status(hand.memory, lease.id) is Status.CANCELLED


# -- renewal


async def test_a_renewed_lease_is_not_reclaimed_and_not_doubted(hand: Hand) -> None:
    (lease,) = await hand.claim()
    for _ in range(6):
        hand.pass_by(SECONDS / 3)
        await hand.leases.beat()
        hand.leases.stop_doubtful()
        assert await hand.memory.reclaim([], 10) == 0
    assert not hand.stopped
    assert await status(hand.memory, lease.id) is Status.IN_PROGRESS


async def test_a_lease_that_could_not_be_renewed_is_doubted_before_it_is_over(hand: Hand) -> None:
    (lease,) = await hand.claim()
    hand.store.hooks["renew"] = refuse
    with pytest.raises(StoreUnavailable):
        await hand.leases.beat()
    hand.pass_by(SECONDS * 0.85)
    hand.leases.stop_doubtful()
    assert not hand.stopped
    hand.pass_by(SECONDS * 0.1)
    hand.leases.stop_doubtful()
    assert hand.stopped == {lease.token}


async def test_a_renewal_that_is_answered_late_counts_from_when_it_was_sent(hand: Hand) -> None:
    (lease,) = await hand.claim()

    async def late(step: Step) -> Any:
        answer = await step()
        hand.pass_by(SECONDS * 0.95)
        return answer

    hand.store.hooks["renew"] = late
    await hand.leases.beat()
    hand.leases.stop_doubtful()
    assert hand.stopped == {lease.token}


async def test_the_handler_of_a_lost_lease_is_stopped(hand: Hand) -> None:
    one, other = await hand.claim(2)
    await hand.memory.settle([])
    await hand.lost(one)
    await hand.leases.beat()
    assert hand.stopped == {one.token, other.token}


async def test_a_task_that_was_lost_and_came_back_is_stopped_under_its_old_lease_alone(hand: Hand) -> None:
    (old,) = await hand.claim()
    new = await hand.lost(old, worker="w1")
    hand.leases.take([new])
    assert hand.stopped == {old.token}
    await hand.leases.settle([(old, STOPPED)])
    assert len(hand.leases) == 1
    await hand.leases.settle([(new, WELL)])
    assert await status(hand.memory, new.id) is Status.DONE


async def test_a_renewal_under_way_does_not_stop_what_came_back_meanwhile(hand: Hand) -> None:
    (old,) = await hand.claim()
    taken: list[Lease] = []

    async def given_back_and_claimed_meanwhile(step: Step) -> Any:
        await hand.leases.settle([(old, UNSTARTED)])
        taken.extend((await claim(hand.memory, limit=1)).leases)
        hand.leases.take(taken)
        return await step()

    hand.store.hooks["renew"] = given_back_and_claimed_meanwhile
    await hand.leases.beat()
    (new,) = taken
    assert new.id == old.id
    assert new.token not in hand.stopped
    assert await status(hand.memory, new.id) is Status.IN_PROGRESS
    await hand.leases.settle([(new, WELL)])
    assert await status(hand.memory, new.id) is Status.DONE


async def test_an_idle_worker_renews_nothing(hand: Hand) -> None:
    hand.store.calls.clear()
    await hand.leases.beat()
    assert not hand.store.calls


# -- what is held unknowingly


async def test_a_claim_whose_answer_is_under_way_is_not_given_back(hand: Hand) -> None:
    """A beat may be answered before the claim that was committed before it."""
    await hand.claim()
    (under_way,) = await hand.claim(taken=False)
    await hand.leases.beat()
    assert await status(hand.memory, under_way.id) is Status.IN_PROGRESS
    hand.leases.take([under_way])
    hand.pass_by(ANSWERED_WITHIN + 1)
    await hand.leases.beat()
    assert await status(hand.memory, under_way.id) is Status.IN_PROGRESS
    await hand.leases.settle([(under_way, WELL)])
    assert await status(hand.memory, under_way.id) is Status.DONE


async def test_a_claim_whose_answer_never_comes_is_given_back_uncounted(hand: Hand) -> None:
    (held,) = await hand.claim()
    (lost,) = await hand.claim(taken=False)
    await hand.leases.beat()
    hand.pass_by(ANSWERED_WITHIN)
    await hand.leases.beat()
    found = await read(hand.memory, lost.id)
    assert (found.status, found.attempt, found.history, found.suspect) == (Status.QUEUED, 0, (), False)
    assert await status(hand.memory, held.id) is Status.IN_PROGRESS


async def test_a_stray_is_looked_after_even_if_nothing_else_is_held_any_more(hand: Hand) -> None:
    (held,) = await hand.claim()
    (lost,) = await hand.claim(taken=False)
    await hand.leases.beat()
    await hand.leases.settle([(held, WELL)])
    hand.pass_by(ANSWERED_WITHIN)
    await hand.leases.beat()
    assert await status(hand.memory, lost.id) is Status.QUEUED
    await hand.leases.beat()
    hand.store.calls.clear()
    await hand.leases.beat()
    assert not hand.store.calls


async def test_reconciling_gives_back_at_once(hand: Hand) -> None:
    (lost,) = await hand.claim(taken=False)
    await hand.leases.reconcile()
    assert (await read(hand.memory, lost.id)).attempt == 0
    assert await status(hand.memory, lost.id) is Status.QUEUED


async def test_a_task_held_twice_keeps_the_attempt_that_is_known(hand: Hand) -> None:
    (old,) = await hand.claim()
    new = await hand.lost(old, worker="w1")  # and the answer is lost
    await hand.leases.beat()
    assert hand.stopped == {old.token}
    hand.pass_by(ANSWERED_WITHIN)
    await hand.leases.beat()
    found = await read(hand.memory, new.id)
    assert (found.status, found.attempt) == (Status.QUEUED, 1)
