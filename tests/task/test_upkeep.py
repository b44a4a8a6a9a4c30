"""What is done now and then: nobody living loses a lease, nobody dead keeps one, nothing grows for ever."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.task import upkeep as upkeep_room
from dolgo.task.announced import KEPT, Announced
from dolgo.task.fleet import Fleet, birth, this_host
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.schedules import Schedules
from dolgo.task.types import Outcome, Status, WorkerInfo
from dolgo.task.upkeep import Keeping, Upkeep
from tests.store.build import claim, done, ended, hold, read, status, submit, task
from tests.store.clock import Clock
from tests.task.kinds import ECHO, info
from tests.task.wrapped import Wrapped, refuse

pytestmark = pytest.mark.anyio

LEASE = 30.0
DAY = 86_400.0
HOST = this_host()
GONE = 2**22 + 1  # no process has this number


class Yard:
    """A store, its upkeep, and a live worker, in a time that is moved by hand: a pass of upkeep every second."""

    def __init__(self, store: Store, clock: Clock, *, lease: float = LEASE, upkeep_lease: float = LEASE) -> None:
        self.store = store
        self.clock = clock
        self.fleet = Fleet(store)
        self.monotonic = 1_000.0
        self.lease = lease
        keeping = Keeping(lease=upkeep_lease, keep=7 * DAY, event_keep=DAY, event_limit=1_000)
        announced = Announced(store)
        manager = Manager(store, rules=Rules(), types=announced, notify=Notify(store), fleet=self.fleet, clock=clock)
        schedules = Schedules(store, manager)
        self.upkeep = Upkeep(
            store, self.fleet, announced, schedules, keeping=keeping, host=HOST, monotonic=lambda: self.monotonic
        )
        self._beat_at = self.monotonic
        self.alive: dict[str, str] = {}  # tokens that a live worker renews, by id

    async def pass_by(self, seconds: float) -> None:
        """Time passes, with everything that is done in it; a worker renews and beats three times a lease."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.monotonic += 1
            if self.monotonic - self._beat_at >= self.lease / 3:
                await self.beat()
            await self.upkeep.reclaim()

    async def beat(self) -> None:
        self._beat_at = self.monotonic
        await self.store.renew("alive", self.alive, self.lease)
        await self.fleet.announce(worker("alive", lease=self.lease), every=self.lease / 3)

    async def live(self) -> str:
        """A task in the hands of a worker that is well."""
        lease = await hold(self.store, worker="alive", lease=self.lease)
        self.alive[lease.id] = lease.token
        await self.beat()
        return lease.id

    async def dead(self) -> str:
        """A task in the hands of a worker elsewhere that is never heard of again."""
        return (await hold(self.store, worker="dead", lease=self.lease)).id


def worker(id: str, **changes: Any) -> WorkerInfo:
    fields: dict[str, Any] = {
        "id": id, "host": "h", "pid": os.getpid(), "version": "1", "state": "running", "queues": None, "types": (), "broken": (),
        "slots": 5, "lease": LEASE, "started_at": 1.0, "boot": HOST, "birth": birth(os.getpid()),
    }  # fmt: skip
    return WorkerInfo(**(fields | changes))


@pytest.fixture
def yard(store: Store, clock: Clock) -> Yard:
    return Yard(store, clock)


# -- reclaim


async def test_an_attempt_whose_lease_is_over_runs_again_uncharged_and_alone(yard: Yard) -> None:
    id = await yard.dead()
    await yard.pass_by(LEASE - 2)
    assert await status(yard.store, id) is Status.IN_PROGRESS
    await yard.pass_by(5)
    found = await read(yard.store, id)
    assert (found.status, found.failures, found.losses, found.suspect) == (Status.QUEUED, 0, 0, True)
    assert [attempt.outcome for attempt in found.history] == [Outcome.LOST]


async def test_an_attempt_of_a_process_that_is_gone_runs_again_at_once(yard: Yard) -> None:
    id = await yard.dead()
    await yard.fleet.announce(worker("dead", pid=GONE), every=LEASE / 3)
    await yard.pass_by(1)
    assert await status(yard.store, id) is Status.QUEUED
    assert [seen.info.id for seen in await yard.fleet.all()] == []


async def test_a_worker_that_lives_keeps_what_it_renews(yard: Yard) -> None:
    id = await yard.live()
    await yard.pass_by(4 * LEASE)
    assert await status(yard.store, id) is Status.IN_PROGRESS


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 12.0, -12.0, 6.0, 100 * DAY])
async def test_under_a_jump_of_the_clock_the_living_keep_theirs_and_the_dead_lose_theirs_in_time(yard: Yard, jump: float) -> None:
    await yard.pass_by(2)
    living, dead = await yard.live(), await yard.dead()
    await yard.pass_by(9)
    died_at = yard.monotonic - 9
    yard.clock.jump(jump)
    while await status(yard.store, dead) is Status.IN_PROGRESS:
        await yard.pass_by(1)
        assert await status(yard.store, living) is Status.IN_PROGRESS
        assert yard.monotonic < died_at + 2 * LEASE + 5  # the quiet after the jump begins when it is seen
    await yard.pass_by(2 * LEASE)
    assert await status(yard.store, living) is Status.IN_PROGRESS


async def test_a_worker_that_dies_after_a_jump_loses_its_tasks_within_its_lease(yard: Yard) -> None:
    await yard.pass_by(2)
    yard.clock.jump(-3600)
    await yard.pass_by(2)
    dead, died_at = await yard.dead(), yard.monotonic
    while await status(yard.store, dead) is Status.IN_PROGRESS:
        await yard.pass_by(1)
    assert LEASE <= yard.monotonic - died_at <= LEASE + 5


async def test_a_clock_that_jumps_again_and_again_takes_nothing_from_the_living(yard: Yard) -> None:
    await yard.pass_by(1)
    id = await yard.live()
    for jump in (3600, -1800, 40, -40, 3600, -3600):
        yard.clock.jump(jump)
        await yard.pass_by(7)
        assert await status(yard.store, id) is Status.IN_PROGRESS


async def test_short_leases_are_safe_from_jumps_shorter_than_five_seconds(store: Store, clock: Clock) -> None:
    yard = Yard(store, clock, lease=6.0, upkeep_lease=6.0)
    await yard.pass_by(1)
    id = await yard.live()
    for jump in (4.5, -4.0, 4.9, 4.9):
        clock.jump(jump)
        await yard.pass_by(3)
        assert await status(store, id) is Status.IN_PROGRESS


async def test_after_a_jump_a_worker_of_a_longer_lease_than_ours_has_the_time_it_needs(store: Store, clock: Clock) -> None:
    yard = Yard(store, clock, lease=600.0, upkeep_lease=30.0)
    id = await yard.live()
    await yard.pass_by(2)
    clock.jump(3600)
    for _ in range(25):
        await yard.pass_by(10)
        assert await status(store, id) is Status.IN_PROGRESS


async def test_a_clock_that_was_set_back_while_nothing_ran_delays_no_reclaim(store: Store, clock: Clock) -> None:
    id = (await hold(store, worker="dead", lease=LEASE)).id
    clock.jump(-3600)
    yard = Yard(store, clock)
    await yard.pass_by(LEASE + 5)
    assert await status(store, id) is Status.QUEUED


async def test_a_service_that_starts_anew_takes_its_tasks_up_at_once(store: Store, clock: Clock) -> None:
    """The first pass has no earlier one to compare clocks with, and must not wait for a second."""
    ids = [(await hold(store, worker="dead", lease=LEASE)).id for _ in range(3)]
    await Fleet(store).announce(worker("dead", pid=GONE), every=LEASE / 3)
    await Yard(store, clock).upkeep.reclaim()
    assert [await status(store, id) for id in ids] == [Status.QUEUED] * 3


async def test_thousands_of_leases_are_reclaimed_in_bounded_writes(memory: Store, clock: Clock) -> None:
    await submit(memory, *(task() for _ in range(2_500)))
    assert len((await claim(memory, worker="dead", limit=2_500)).leases) == 2_500
    wrapped = Wrapped(memory)
    limits: list[int] = []
    reclaim = memory.reclaim

    async def watched(dead: Any, limit: int) -> int:
        limits.append(limit)
        return await reclaim(dead, limit)

    memory.reclaim = watched  # type: ignore[method-assign]
    clock.advance(LEASE + 1)
    await Yard(wrapped.store, clock).upkeep.reclaim()
    assert limits == [upkeep_room.AT_ONCE] * 3
    assert sum(line.counts.get(Status.QUEUED, 0) for line in await memory.counts()) == 2_500


# -- keeping short


async def test_final_tasks_go_when_they_were_kept_long_enough(yard: Yard) -> None:
    old = await ended(yard.store, Status.DONE)
    yard.clock.advance(6 * DAY)
    young = await ended(yard.store, Status.FAILED)
    (waiting,) = await submit(yard.store)
    yard.clock.advance(2 * DAY)
    await yard.upkeep.prune()
    assert [found is not None for found in await yard.store.get([old.id, young.id, waiting])] == [False, True, True]


async def test_more_final_tasks_than_a_write_takes_all_go(memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_room, "AT_ONCE", 10)
    await submit(memory, *(task() for _ in range(95)))
    leases = (await claim(memory, limit=95)).leases
    await memory.settle([done(lease) for lease in leases])
    clock.advance(8 * DAY)
    wrapped = Wrapped(memory)
    await Yard(wrapped.store, clock).upkeep.prune()
    assert await memory.counts() == []
    assert wrapped.calls["prune"] <= 11


async def test_one_pass_makes_so_many_writes_and_no_more(memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_room, "ROUNDS", 7)
    wrapped = Wrapped(memory)

    async def always_full(step: Any) -> int:
        return upkeep_room.AT_ONCE

    wrapped.hooks["prune"] = always_full
    await Yard(wrapped.store, clock).upkeep.prune()
    assert wrapped.calls["prune"] == 7


async def test_the_log_and_expired_records_are_kept_short(yard: Yard) -> None:
    await submit(yard.store, *(task() for _ in range(1_500)))
    await yard.fleet.announce(worker("w"), every=1.0)
    yard.clock.advance(10)
    await yard.upkeep.trim()
    assert await yard.store.trim(DAY, 1_000, 5_000) == 0
    assert await yard.store.trim(DAY, 999, 5_000) == 1
    yard.clock.advance(2 * DAY)
    await yard.upkeep.trim()
    assert await yard.store.trim(DAY, 1_000, 5_000) == 0


async def test_a_type_is_known_as_long_as_a_task_of_it_has_not_ended(yard: Yard) -> None:
    announced = Announced(yard.store)
    await announced.announce([ECHO, info("idle")])
    await submit(yard.store, task(type="echo", hash=ECHO.hash))
    for _ in range(3):
        yard.clock.advance(KEPT * 0.9)
        await yard.upkeep.types()
    assert [known.name for known in await announced.all()] == ["echo"]


# -- going on


async def test_a_duty_goes_on_whatever_one_pass_meets(
    memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped = Wrapped(memory)
    yard = Yard(wrapped.store, clock)
    passes: list[str] = []
    enough = asyncio.Event()

    async def duty() -> None:
        passes.append("pass")
        if len(passes) == 1:
            await refuse(lambda: asyncio.sleep(0))
        if len(passes) == 2:
            raise ZeroDivisionError
        if len(passes) == 5:
            enough.set()

    yard.upkeep.duties = [("work", 0.001, duty)]
    with caplog.at_level(logging.WARNING):
        yard.upkeep.start()
        await asyncio.wait_for(enough.wait(), 5)
    await yard.upkeep.stop()
    await yard.upkeep.stop()
    assert "Upkeep (work) waits for the store" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("upkeep")]


async def test_every_duty_can_be_done_by_two_at_once(store: Store, clock: Clock) -> None:
    yards = [Yard(store, clock), Yard(store, clock)]
    living, dead = await yards[0].live(), await yards[0].dead()
    await Fleet(store).announce(worker("dead", pid=GONE), every=LEASE / 3)
    await asyncio.gather(*[duty() for yard in yards for _, _, duty in yard.upkeep.duties])
    assert (await status(store, living), await status(store, dead)) == (Status.IN_PROGRESS, Status.QUEUED)
    assert len((await read(store, dead)).history) == 1
