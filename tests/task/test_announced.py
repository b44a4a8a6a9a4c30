"""Which task types the web knows, and which announcement of a name it goes by."""

from __future__ import annotations

import asyncio

import pytest

from dolgo.errors import StoreUnavailable, UnknownType
from dolgo.store.base import Store
from dolgo.task.announced import FRESH, KEPT, PREFIX, Announced
from dolgo.task.types import TypeInfo
from tests.store.clock import Clock
from tests.task.kinds import info
from tests.task.wrapped import Step, Wrapped, refuse

pytestmark = pytest.mark.anyio

OLD, NEW = info("echo", value=int), info("echo", value=str)


class Time:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def announce(store: Store, *types: TypeInfo) -> None:
    """As a worker elsewhere does it."""
    await Announced(store).announce(types)


async def test_what_is_announced_is_found_with_what_it_takes(store: Store) -> None:
    announced = Announced(store)
    await announced.announce([OLD, info("other", "Another.")])
    assert await announced.find("echo") == OLD
    assert (await announced.find("other")).description == "Another."
    assert [found.name for found in await announced.all()] == ["echo", "other"]
    announced.shape(OLD).check(b'{"value":1}')
    assert announced.shape(OLD) is announced.shape(OLD)


async def test_of_two_of_one_name_the_one_first_seen_last_counts_however_often_the_other_is_told_again(
    store: Store, clock: Clock
) -> None:
    announced = Announced(store)
    await announce(store, OLD)
    clock.advance(1)
    await announce(store, NEW)
    clock.advance(1)
    await announce(store, OLD)
    assert await announced.find("echo") == NEW


async def test_a_description_that_was_bettered_is_shown(store: Store) -> None:
    announced = Announced(store)
    await announced.announce([info("echo", "Bad.", value=int)])
    await announce(store, info("echo", "Better.", value=int))
    assert [found.description for found in await announced.all()] == ["Better."]


async def test_an_unknown_type_is_told_with_a_near_miss_or_with_what_there_is(store: Store) -> None:
    announced = Announced(store)
    with pytest.raises(UnknownType, match="No worker has announced any task type yet"):
        await announced.find("echo")
    await announce(store, OLD)
    with pytest.raises(UnknownType, match="Did you mean 'echo'"):
        await announced.find("ecco", since=announced.monotonic())
    with pytest.raises(UnknownType, match="Known types: echo"):
        await announced.find("something_else", since=announced.monotonic())


async def test_a_type_announced_a_moment_ago_is_known(store: Store) -> None:
    time = Time()
    announced = Announced(store, time)
    with pytest.raises(UnknownType):
        await announced.find("echo", since=time.now)
    await announce(store, OLD)
    time.now += 0.001
    assert await announced.find("echo", since=time.now) == OLD


async def test_the_store_is_not_asked_again_for_what_was_read_lately(memory: Store) -> None:
    time = Time()
    wrapped = Wrapped(memory)
    announced = Announced(wrapped.store, time)
    await announced.announce([OLD])
    wrapped.calls.clear()
    for _ in range(100):
        await announced.find("echo", since=time.now)
    assert not wrapped.calls
    time.now += FRESH / 2
    for _ in range(100):  # a batch of an unknown type costs one look
        with pytest.raises(UnknownType):
            await announced.find("nothing", since=100.0 + FRESH / 2)
    assert wrapped.calls["records"] == 1
    time.now += FRESH * 1.01
    await announced.find("echo")
    await announced.find("echo")
    assert wrapped.calls["records"] == 2


async def test_many_at_once_wait_for_the_first_look_and_not_for_later_ones(memory: Store) -> None:
    """The second to ask must not be refused because the first has only begun to read."""
    time = Time()
    wrapped = Wrapped(memory)
    await announce(memory, OLD)
    announced = Announced(wrapped.store, time)
    go = asyncio.Event()

    async def slowly(step: Step) -> object:
        answer = await step()
        await go.wait()
        return answer

    wrapped.hooks["records"] = slowly
    early = [asyncio.create_task(announced.find("echo")) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*early) == [OLD] * 5
    go.clear()
    time.now += FRESH * 2
    looking = asyncio.create_task(announced.find("echo"))
    await asyncio.sleep(0)
    assert await announced.find("echo") == OLD  # as it was known
    go.set()
    assert await looking == OLD


async def test_a_store_that_cannot_be_read_makes_no_type_unknown(memory: Store) -> None:
    time = Time()
    wrapped = Wrapped(memory)
    announced = Announced(wrapped.store, time)
    await announce(memory, OLD)
    wrapped.hooks["records"] = refuse
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await announced.find("echo")
    del wrapped.hooks["records"]
    assert await announced.find("echo") == OLD


async def test_a_look_that_answers_late_does_not_undo_a_later_one(memory: Store) -> None:
    time = Time()
    wrapped = Wrapped(memory)
    announced = Announced(wrapped.store, time)
    go = asyncio.Event()

    async def late(step: Step) -> object:
        answer = await step()
        await go.wait()
        return answer

    wrapped.hooks["records"] = late
    first = asyncio.create_task(announced.read())
    await asyncio.sleep(0)
    del wrapped.hooks["records"]
    await announce(memory, OLD)
    time.now += 0.5
    await announced.read()
    go.set()
    await first
    assert await announced.find("echo") == OLD


async def test_an_announcement_goes_a_day_after_its_last_worker_unless_it_is_kept(store: Store, clock: Clock) -> None:
    announced = Announced(store)
    other = info("other")
    await announced.announce([OLD, other])
    clock.advance(KEPT - 1)
    await announced.keep({("echo", OLD.hash), ("gone", "h")})
    clock.advance(2)
    assert [found.name for found in await announced.all()] == ["echo"]
    clock.advance(KEPT)
    assert await announced.all() == []


async def test_keeping_does_not_bring_an_old_description_back(memory: Store) -> None:
    wrapped = Wrapped(memory)
    old, new = info("echo", "Old.", value=int), info("echo", "New.", value=int)
    await announce(memory, old)

    async def then_somebody_writes(step: Step) -> object:
        answer = await step()
        del wrapped.hooks["records"]
        await announce(memory, new)
        return answer

    wrapped.hooks["records"] = then_somebody_writes
    announced = Announced(wrapped.store)
    await announced.keep({("echo", old.hash)})
    assert [found.description for found in await announced.all()] == ["New."]
    assert len(await memory.records(PREFIX)) == 1


async def test_it_tells_whether_announcements_are_still_there(store: Store, clock: Clock) -> None:
    """They go when a clock is set forward, or with the data of the store: then a worker announces its types again."""
    announced = Announced(store)
    await announced.announce([OLD, info("other")])
    assert await announced.has([OLD, info("other")])
    assert not await announced.has([NEW])
    clock.jump(KEPT + 1.0)
    assert not await announced.has([OLD])
    await announced.announce([OLD])
    assert await announced.has([OLD])
