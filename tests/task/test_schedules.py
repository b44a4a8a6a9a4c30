"""Schedules: each tick makes one task, whoever looks, however often it starts anew, whatever the clock does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from dolgo.errors import InvalidPayload, InvalidRequest, NotFound, QueueFull, StoreUnavailable, UnknownType
from dolgo.store.base import Store
from dolgo.task.manager import Manager, Submission
from dolgo.task.schedules import LATE, Schedule, Schedules
from dolgo.task.types import Put, Query, Status
from tests.store.build import claim, done, read
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager, info
from tests.task.wrapped import Step, Wrapped, at_first, lose_the_answer, refuse

pytestmark = pytest.mark.anyio

GOOD = Submission("echo", b'{"value":1}', tags=("nightly",))


def every(seconds: float = 60.0, **changes: Any) -> Schedule:
    return Schedule(**({"every": seconds, "submission": GOOD} | changes))


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO)


@pytest.fixture
def schedules(store: Store, manager: Manager) -> Schedules:
    return Schedules(store, manager)


async def made(store: Store) -> list[str]:
    """Ids of all tasks, oldest first."""
    return [task.id for task in (await store.list(Query(order="created_at", limit=1_000))).tasks]


async def test_a_tick_makes_the_task_with_its_options_once(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every())
    await schedules.fire()
    assert await made(store) == []
    clock.advance(60)
    await schedules.fire()
    await schedules.fire()
    (id,) = await made(store)
    task = await read(store, id)
    assert (task.type, task.payload, task.tags, task.status) == ("echo", b'{"value":1}', ("nightly",), Status.QUEUED)
    planned = await schedules.get("report")
    assert planned.last is not None
    assert (planned.last.id, planned.last.at, planned.error) == (id, clock.now, None)
    assert planned.next == [clock.now + 60 * n for n in range(1, 6)]


async def test_of_several_servers_only_one_makes_the_task_of_a_tick(store: Store, clock: Clock, manager: Manager) -> None:
    servers = [Schedules(store, await a_manager(store, clock, ECHO)) for _ in range(4)]
    await servers[0].put("report", every(10.0))
    for tick in range(1, 11):
        clock.advance(10)
        await asyncio.gather(*(server.fire() for server in servers for _ in range(2)))
        assert len(await made(store)) == tick


async def test_an_answer_that_got_lost_doubles_nothing(store: Store, clock: Clock) -> None:
    wrapped = Wrapped(store)
    manager = await a_manager(wrapped.store, clock, ECHO)
    schedules = Schedules(wrapped.store, manager)
    await schedules.put("report", every())
    clock.advance(60)
    wrapped.hooks["submit"] = at_first(1, lose_the_answer)
    with pytest.raises(StoreUnavailable):
        await schedules.fire()
    await schedules.fire()
    assert len(await made(store)) == 1
    clock.advance(60)
    wrapped.hooks["submit"] = at_first(1, refuse)
    with pytest.raises(StoreUnavailable):
        await schedules.fire()
    assert len(await made(store)) == 1
    await schedules.fire()
    assert len(await made(store)) == 2


async def test_ticks_that_came_between_two_looks_each_make_a_task(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every(1.0))
    clock.advance(7.5)
    await schedules.fire()
    assert len(await made(store)) == 7
    clock.advance(0.5)
    await schedules.fire()
    assert len(await made(store)) == 8


@pytest.mark.parametrize(("missed", "tasks"), [("skip", 0), ("once", 1)])
async def test_ticks_that_were_missed_are_skipped_or_made_up_for_once(
    store: Store, clock: Clock, schedules: Schedules, missed: str, tasks: int
) -> None:
    await schedules.put("report", every(60.0, missed=missed))
    clock.advance(60 * 100 + LATE + 1)
    for _ in range(3):
        await schedules.fire()
    assert len(await made(store)) == tasks
    clock.advance(29)
    await schedules.fire()
    assert len(await made(store)) == tasks + 1


async def test_a_tick_that_is_a_little_late_is_not_missed(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every(3_600.0))
    clock.advance(3_600 + LATE)
    await schedules.fire()
    assert len(await made(store)) == 1


async def test_with_overlap_skip_there_is_one_at_a_time(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every(overlap="skip"))
    clock.advance(60)
    await schedules.fire()
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 1
    (lease,) = (await claim(store)).leases
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 1
    await store.settle([done(lease)])
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 2


async def test_a_clock_that_is_set_back_or_forward_makes_no_tick_come_twice(
    store: Store, clock: Clock, schedules: Schedules
) -> None:
    await schedules.put("report", every())
    clock.advance(60)
    await schedules.fire()
    clock.jump(-1_000)
    for _ in range(5):
        await schedules.fire()
    assert len(await made(store)) == 1
    clock.jump(1_000)
    await schedules.fire()
    assert len(await made(store)) == 1
    clock.jump(10_000)
    await schedules.fire()
    await schedules.fire()
    assert len(await made(store)) <= 2


async def test_ticks_that_a_clock_jumped_over_come_once_it_is_set_right(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every())
    await schedules.fire()
    clock.jump(86_400.0)
    await schedules.fire()
    clock.jump(-86_400.0)
    await schedules.fire()
    before = len(await made(store))
    for _ in range(3):
        clock.advance(60.0)
        await schedules.fire()
    assert len(await made(store)) == before + 3


async def test_a_paused_one_makes_nothing_and_goes_on_from_when_it_is_resumed(
    store: Store, clock: Clock, schedules: Schedules
) -> None:
    await schedules.put("report", every(paused=True))
    assert (await schedules.get("report")).next == []
    clock.advance(600)
    await schedules.fire()
    assert await made(store) == []
    await schedules.put("report", every(missed="once"))
    await schedules.fire()
    assert await made(store) == []
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 1


async def test_to_put_the_same_again_moves_no_tick(store: Store, clock: Clock, schedules: Schedules) -> None:
    first, new = await schedules.put("report", every())
    assert new
    clock.advance(45)
    second, new = await schedules.put("report", every(missed="once"))
    assert not new
    assert second.next[0] == first.next[0]


async def test_to_put_the_same_again_when_a_tick_is_due_keeps_that_tick(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every())
    clock.advance(60.5)
    await schedules.put("report", every())
    await schedules.fire()
    assert len(await made(store)) == 1


async def test_a_pause_leaves_what_somebody_else_changes_meanwhile(clock: Clock, store: Store, manager: Manager) -> None:
    wrapped = Wrapped(store)
    one, other = Schedules(wrapped.store, manager), Schedules(store, manager)
    await other.put("report", every())

    async def overtaken(call: Any) -> Any:
        await other.put("report", every(120.0))
        return await call()

    wrapped.hooks["put"] = at_first(1, overtaken)
    planned = await one.pause("report")
    assert (planned.schedule.every, planned.schedule.paused, planned.next) == (120.0, True, [])
    clock.advance(600)
    await one.fire()
    assert await made(store) == []
    assert (await one.resume("report")).next[0] == clock.now + 120
    clock.advance(120.5)
    await one.resume("report")  # it does not rest: the tick that is due stays due
    await one.fire()
    assert len(await made(store)) == 1


async def test_run_now_makes_one_at_once_and_moves_no_tick(store: Store, clock: Clock, schedules: Schedules) -> None:
    planned, _ = await schedules.put("report", every(paused=True))
    ((id, status),) = (await schedules.run("report")).tasks
    assert status is Status.QUEUED
    assert await made(store) == [id]
    after = await schedules.get("report")
    assert after.last is not None
    assert (after.last.id, after.next) == (id, planned.next)


async def test_what_is_wrong_is_refused_when_it_is_put(schedules: Schedules) -> None:
    with pytest.raises(UnknownType):
        await schedules.put("report", every(submission=Submission("nonsense")))
    with pytest.raises(InvalidPayload) as caught:
        await schedules.put("report", every(submission=Submission("echo", b'{"value":"x"}')))
    assert [problem.pointer for problem in caught.value.problems] == ["/payload/value"]
    wrong = {
        "": Schedule(submission=GOOD),
        "/cron": Schedule(submission=GOOD, cron="61 * * * *"),
        "/every": every(0.0),
        "/timezone": Schedule(submission=GOOD, cron="* * * * *", timezone="Mars/Base"),
    }
    for pointer, schedule in wrong.items():
        with pytest.raises(InvalidRequest) as refused:
            await schedules.put("report", schedule)
        assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert await schedules.all() == []


async def test_a_task_that_is_refused_later_is_told_and_the_next_tick_is_tried(
    store: Store, clock: Clock, schedules: Schedules
) -> None:
    await schedules.put("report", every())
    await store.forget([f"type/echo/{ECHO.hash}"])
    clock.advance(60)
    fresh = Schedules(store, await a_manager(store, clock, info("other", value=int)))
    await fresh.fire()
    planned = await fresh.get("report")
    assert planned.error is not None
    assert "echo" in planned.error
    assert await made(store) == []
    clock.advance(60)
    await Schedules(store, await a_manager(store, clock, ECHO)).fire()
    assert len(await made(store)) == 1
    assert (await fresh.get("report")).error is None


async def test_a_schedule_is_listed_replaced_and_deleted(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("b", every())
    await schedules.put("a", Schedule(cron="0 3 * * *", timezone="Europe/Berlin", submission=GOOD))
    await schedules.put("ab", every())
    assert [planned.name for planned in await schedules.all()] == ["a", "ab", "b"]
    await schedules.put("b", every(120.0))
    assert (await schedules.get("b")).schedule.every == 120.0
    await schedules.delete("a")
    assert [planned.name for planned in await schedules.all()] == ["ab", "b"]
    for call in (schedules.get, schedules.delete, schedules.run, schedules.pause, schedules.resume):
        with pytest.raises(NotFound):
            await call("a")
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 1


async def test_a_unique_task_that_still_runs_stands_for_the_tick(store: Store, clock: Clock, schedules: Schedules) -> None:
    await schedules.put("report", every(submission=replace(GOOD, unique_key="one")))
    clock.advance(60)
    await schedules.fire()
    (id,) = await made(store)
    clock.advance(60)
    await schedules.fire()
    assert await made(store) == [id]
    planned = await schedules.get("report")
    assert planned.last is not None
    assert planned.last.id == id


async def test_a_schedule_that_cannot_fire_keeps_no_other_from_it(
    store: Store, clock: Clock, schedules: Schedules, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        await schedules.put(name, Schedule(cron="* * * * *", timezone="Europe/Berlin", submission=GOOD))
    (first, _) = await store.records("schedule/")
    kept = first.value.replace(b"Europe/Berlin", b"Mars/Base")  # written where that zone was known
    assert await store.put([Put(first.key, kept, first.version)]) is None
    clock.advance(60)
    await schedules.fire()
    assert len(await made(store)) == 1
    assert "'a' cannot fire" in caplog.text


async def test_a_tick_waits_for_a_store_that_has_too_much_to_do(store: Store, clock: Clock) -> None:
    async def full(step: Step) -> Any:
        raise QueueFull

    wrapped = Wrapped(store)
    schedules = Schedules(wrapped.store, await a_manager(wrapped.store, clock, ECHO))
    await schedules.put("report", every())
    clock.advance(60)
    wrapped.hooks["submit"] = at_first(1, full)
    with pytest.raises(QueueFull):
        await schedules.fire()
    await schedules.fire()
    assert len(await made(store)) == 1


async def test_schedules_that_are_due_together_are_seen_to_together(store: Store, clock: Clock) -> None:
    under_way, all_there = 0, asyncio.Event()

    async def together(step: Step) -> Any:
        nonlocal under_way
        under_way += 1
        if under_way == 5:
            all_there.set()
        await all_there.wait()
        return await step()

    wrapped = Wrapped(store)
    schedules = Schedules(wrapped.store, await a_manager(wrapped.store, clock, ECHO))
    for n in range(5):
        await schedules.put(f"s{n}", every())
    clock.advance(60)
    wrapped.hooks["submit"] = together
    await asyncio.wait_for(schedules.fire(), 5.0)
    assert len(await made(store)) == 5
