"""Streams of events over every store: whole, in order, and bounded."""

from __future__ import annotations

import pytest

from dolgo.store.base import Store
from dolgo.task import follow as follow_room
from dolgo.task.epoch import Epoch
from dolgo.task.feed import HELD, Wanted
from dolgo.task.follow import Follow, Place, Stream, beginning
from dolgo.task.notify import Notify
from dolgo.task.types import EventKind, Note, Status
from tests.store.build import claim, done, hold, read, submit, task
from tests.store.clock import Clock
from tests.store.kinds import KINDS, a_folder

pytestmark = pytest.mark.anyio

DEADLINE = 10.0  # seconds


async def until(stream: Stream, seq: int) -> list[int]:
    """The numbers of what a stream has, as far as one."""
    seqs: list[int] = []
    while stream.place.seq < seq:
        batch = await stream.take()
        assert not batch.reset
        seqs += [passed.event.seq for passed in batch.events]
        if not stream.ready:
            await stream.wait(0.05)
    return seqs


def followed(store: Store) -> tuple[Notify, Follow]:
    notify = Notify(store)
    return notify, Follow(store, notify)


async def test_more_than_is_held_is_read_from_the_store_without_a_gap(store: Store) -> None:
    notify, follow = followed(store)
    stream = await follow.open(Wanted(), None)
    total = HELD + 500
    await submit(store, *(task() for _ in range(total)))
    assert await until(stream, total) == list(range(1, total + 1))
    stream.close()
    notify.close()


async def test_a_stream_from_a_place_joins_what_comes_without_a_seam(store: Store) -> None:
    notify, follow = followed(store)
    await submit(store, *(task() for _ in range(10)))
    stream = await follow.open(Wanted(), Place(4, await notify.epoch.get()))
    await submit(store, *(task() for _ in range(5)))
    assert await until(stream, 15) == list(range(5, 16))
    stream.close()
    notify.close()


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_what_is_trimmed_is_a_reset_and_the_beginning_is_what_there_is(kind: str, clock: Clock) -> None:
    with a_folder() as folder:
        store = KINDS[kind](folder, clock)
        await store.open()
        await submit(store, *(task() for _ in range(20)))
        await store.trim(1e9, 5, 100)
        if kind != "memory":  # one that remembers what it has written itself has lost nothing yet
            await store.close()
            store = KINDS[kind](folder, clock)
            await store.open()
        await _trimmed(store)
        await store.close()


async def _trimmed(store: Store) -> None:
    notify, follow = followed(store)
    stream = await follow.open(Wanted(), Place(3))
    batch = await stream.take()
    assert (batch.reset, batch.place.seq) == (True, 20)
    stream.close()
    page = await follow.page(Wanted(), Place(0), 100, 0.0)
    assert [passed.event.seq for passed in page.events] == list(range(16, 21))
    assert not page.reset
    notify.close()


async def test_the_epoch_is_kept_with_the_data_and_made_once(store: Store) -> None:
    first, second = Epoch(store), Epoch(store)
    assert await first.get() == await second.get()
    old = await first.get()
    await first.renew()
    await second.renew()  # it knew the old one: the other was faster
    assert old != await first.get() == await second.get()


async def test_a_slow_reader_loses_notes_and_no_status(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_room, "MOST_BEHIND", HELD + 100)
    notify, follow = followed(memory)
    stream = await follow.open(Wanted(), None)
    await stream.take()
    lease = await hold(memory)
    for number in range(HELD + 200):
        await memory.note([Note(lease.id, lease.token, "progress", b"%d" % number, EventKind.PROGRESS)])
    await memory.settle([done(lease)])
    head = await memory.head()
    other = await follow.open(Wanted(), Place(head))
    while notify.position < head:
        await other.wait(0.05)
    batch = await stream.take()
    assert batch.lagged
    kinds = [passed.event.kind for passed in batch.events]
    while stream.place.seq < head:
        kinds += [passed.event.kind for passed in (await stream.take()).events]
    assert kinds.count(EventKind.STATUS) == 3
    assert kinds.count(EventKind.PROGRESS) < HELD
    assert not (await stream.take()).lagged
    notify.close()


async def test_types_of_our_own_are_told_of_to_those_who_name_them(memory: Store) -> None:
    notify, follow = followed(memory)
    (id,) = await submit(memory, type="dolgo.callback")
    everything = await follow.page(Wanted(), Place(0), 10, 0.0)
    assert not everything.events
    for wanted in (Wanted(type="dolgo.callback"), Wanted(id)):
        page = await follow.page(wanted, Place(0), 10, 0.0)
        assert [passed.event.id for passed in page.events] == [id]
    notify.close()


async def test_nothing_follows_the_log_once_the_last_stream_is_closed(memory: Store) -> None:
    notify, follow = followed(memory)
    stream = await follow.open(Wanted(), None)
    stream.close()
    assert not notify.feed
    notify.close()


async def test_what_led_to_how_a_task_stands_is_not_told_after_it(store: Store) -> None:
    notify, follow = followed(store)
    new = task()
    stream = await follow.open(Wanted(new.id), None)
    await submit(store, new)
    (lease,) = (await claim(store)).leases
    told = await beginning(follow, stream, lambda: read(store, new.id))
    assert [passed.event.status for passed in told] == [Status.IN_PROGRESS]
    await store.settle([done(lease)])
    while not (batch := await stream.take()).events:
        await stream.wait(DEADLINE)
    assert [passed.event.status for passed in batch.events] == [Status.DONE]
    stream.close()
    notify.close()
