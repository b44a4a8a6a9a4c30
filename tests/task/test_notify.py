"""Who hears that a task changed: everybody who watches it, of every event, and at no cost while nobody does."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.store.base import Store
from dolgo.task import notify as notify_room
from dolgo.task.notify import Notify, Watch
from dolgo.task.types import Status
from tests.store.build import claim, done, submit, task
from tests.task.wrapped import Step, Wrapped, at_first, refuse

pytestmark = pytest.mark.anyio

DEADLINE = 5.0  # seconds for news that must come
SOON = 0.02  # seconds in which nothing must come


async def news(watch: Watch, *, times: int = 1) -> list[Status]:
    """The statuses of so many events."""
    told: list[Status] = []
    async with asyncio.timeout(DEADLINE):
        while len(told) < times:
            events = await watch.news(DEADLINE)
            assert events is not None
            told += [event.status for event in events]
    return told


def followers() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "notify"]


async def test_every_event_after_the_watch_was_set_reaches_it(store: Store) -> None:
    notify = Notify(store)
    new = task()
    watch = await notify.watch(new.id)
    await submit(store, new, task())
    leases = (await claim(store)).leases
    await store.settle([done(lease) for lease in leases])
    assert await news(watch, times=3) == [Status.QUEUED, Status.IN_PROGRESS, Status.DONE]
    notify.close()


async def test_what_was_before_the_watch_is_not_told(store: Store) -> None:
    notify = Notify(store)
    (id,) = await submit(store)
    watch = await notify.watch(id)
    assert await watch.news(SOON) == []
    notify.close()


async def test_ended_returns_with_the_final_event_and_not_before(store: Store) -> None:
    notify = Notify(store)
    (id,) = await submit(store)
    watch = await notify.watch(id)
    ended = asyncio.create_task(watch.ended(DEADLINE))
    (lease,) = (await claim(store)).leases
    await asyncio.wait({ended}, timeout=SOON)
    assert not ended.done()
    await store.settle([done(lease)])
    await asyncio.wait_for(ended, DEADLINE)
    notify.close()


async def test_ended_gives_up_when_its_time_is_over(store: Store) -> None:
    notify = Notify(store)
    (id,) = await submit(store)
    watch = await notify.watch(id)
    await asyncio.wait_for(watch.ended(SOON), DEADLINE)
    notify.close()


async def test_several_watch_one_task_and_one_who_leaves_takes_nothing_from_the_others(store: Store) -> None:
    notify = Notify(store)
    new = task()
    one, other = await notify.watch(new.id), await notify.watch(new.id)
    notify.unwatch(new.id, one)
    notify.unwatch(new.id, one)
    await submit(store, new)
    assert await news(other) == [Status.QUEUED]
    assert await one.news(0) == []
    notify.close()


async def test_nothing_is_missed_when_two_begin_to_watch_at_once(memory: Store) -> None:
    """The second one's look at the end of the log must not make the first one's follower skip what came in between."""
    wrapped = Wrapped(memory)
    turns: list[asyncio.Event] = []

    async def slowly(step: Step) -> object:
        answer = await step()
        turns.append(asyncio.Event())
        await turns[-1].wait()
        return answer

    wrapped.hooks["head"] = slowly
    wrapped.hooks["events"] = at_first(1, slowly)
    notify = Notify(wrapped.store)
    one, other = task(), task()
    first = asyncio.create_task(notify.watch(one.id))
    await asyncio.sleep(0)
    watch = asyncio.create_task(notify.watch(other.id))
    await asyncio.sleep(0)
    turns[0].set()
    seen = await first
    await memory.submit([one])
    turns[1].set()
    await watch
    await asyncio.sleep(0)
    for turn in turns:
        turn.set()
    assert await news(seen) == [Status.QUEUED]
    notify.close()


async def test_nothing_is_missed_while_watches_come_and_go(store: Store) -> None:
    notify = Notify(store)

    async def follow_one() -> list[Status]:
        new = task()
        watch = await notify.watch(new.id)
        try:
            await store.submit([new])
            return await news(watch)
        finally:
            notify.unwatch(new.id, watch)

    for size in (1, 7, 1, 20, 3):
        assert await asyncio.gather(*[follow_one() for _ in range(size)]) == [[Status.QUEUED]] * size
    notify.close()


async def test_whoever_watches_is_told_to_look_when_the_log_does_not_reach_back(memory: Store) -> None:
    notify = Notify(memory)
    new = task()
    watch = await notify.watch(new.id)
    await submit(memory, new, *(task() for _ in range(10)))
    await memory.trim(0.0, 1, 100)
    assert await watch.news(DEADLINE) is None
    notify.close()


async def test_a_log_that_cannot_be_read_for_a_while_loses_nothing(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_room, "PAUSE", 0.001)
    wrapped = Wrapped(memory)
    wrapped.hooks["events"] = at_first(3, refuse)
    notify = Notify(wrapped.store)
    new = task()
    watch = await notify.watch(new.id)
    await memory.submit([new])
    assert await news(watch) == [Status.QUEUED]
    notify.close()


async def test_a_fault_in_reading_the_log_leaves_nobody_waiting(
    memory: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notify_room, "PAUSE", 0.001)
    wrapped = Wrapped(memory)

    async def broken(step: Step) -> object:
        raise ZeroDivisionError

    wrapped.hooks["events"] = at_first(1, broken)
    notify = Notify(wrapped.store)
    new = task()
    with caplog.at_level(logging.ERROR):
        watch = await notify.watch(new.id)
        assert await watch.news(DEADLINE) is None
    await memory.submit([new])
    assert await news(watch) == [Status.QUEUED]
    assert "ZeroDivisionError" in caplog.text
    notify.close()


async def test_a_watch_that_cannot_be_set_leaves_nothing_behind(memory: Store) -> None:
    wrapped = Wrapped(memory)
    wrapped.hooks["head"] = refuse
    notify = Notify(wrapped.store)
    with pytest.raises(StoreUnavailable):
        await notify.watch("a")
    assert not followers()
    del wrapped.hooks["head"]
    watch = await notify.watch("b")
    notify.unwatch("b", watch)
    await submit(memory)
    await settled()
    assert not followers()


async def settled() -> None:
    """Let everything that is ready to run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_without_a_watch_the_store_is_not_read(memory: Store) -> None:
    wrapped = Wrapped(memory)
    notify = Notify(wrapped.store)
    await submit(memory)
    await settled()
    assert not wrapped.calls
    watch = await notify.watch("a")
    await settled()
    notify.unwatch("a", watch)
    await submit(memory)
    await settled()
    wrapped.calls.clear()
    for _ in range(5):
        await submit(memory)
        await settled()
    assert not wrapped.calls
    assert not followers()


async def test_a_quiet_log_is_not_read_again_and_again(memory: Store) -> None:
    wrapped = Wrapped(memory)
    notify = Notify(wrapped.store)
    watch = await notify.watch("a")
    assert await watch.news(SOON) == []
    assert wrapped.calls["events"] <= 1
    notify.close()


async def test_closing_wakes_all_who_wait_and_all_who_come_later(store: Store) -> None:
    notify = Notify(store)
    watches = [await notify.watch(str(number)) for number in range(5)]
    waits = [asyncio.create_task(watch.ended(60)) for watch in watches]
    await asyncio.sleep(0)
    notify.close()
    await asyncio.wait_for(asyncio.gather(*waits), DEADLINE)
    late = await notify.watch("late")
    assert await late.news(60) is None
    await settled()
    assert not followers()
    notify.close()
