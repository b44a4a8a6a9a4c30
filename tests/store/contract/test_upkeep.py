"""What goes when its time is over: tasks, events, records."""

import asyncio

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Put, Query, Status
from tests.store.build import claim, done, ended, hold, read, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


# -- prune


async def test_prune_takes_what_ended_long_ago(store: Store, clock: Clock) -> None:
    old = [await ended(store, end) for end in (Status.DONE, Status.FAILED, Status.CANCELLED)]
    clock.advance(50)
    young = await ended(store, Status.DONE)
    clock.advance(51)
    assert await store.prune(100.0, 10) == 3
    assert await store.get([lease.id for lease in old]) == [None] * 3
    assert (await read(store, young.id)).status == Status.DONE
    assert await store.prune(100.0, 10) == 0


async def test_prune_leaves_what_has_not_ended(store: Store, clock: Clock) -> None:
    held = await hold(store)
    (queued,) = await submit(store)
    clock.advance(1_000_000)
    assert await store.prune(0.0, 10) == 0
    assert None not in await store.get([held.id, queued])


async def test_prune_goes_by_the_end_not_by_the_beginning(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    clock.advance(1_000)
    await store.settle([done(lease)])
    assert await store.prune(100.0, 10) == 0


async def test_prune_takes_the_oldest_first_up_to_its_limit(store: Store, clock: Clock) -> None:
    leases = [await hold(store) for _ in range(5)]
    for lease in reversed(leases):
        clock.advance(1)
        await store.settle([done(lease)])
    clock.advance(1_000)
    assert await store.prune(100.0, 2) == 2
    left = (await store.list(Query(order="finished_at"))).tasks
    assert [found.id for found in left] == [lease.id for lease in leases[2::-1]]
    assert [await store.prune(100.0, 2) for _ in range(3)] == [2, 1, 0]


async def test_a_retried_task_is_not_pruned_by_its_earlier_end(store: Store, clock: Clock) -> None:
    lease = await ended(store, Status.FAILED)
    clock.advance(1_000)
    await store.retry([lease.id])
    assert await store.prune(100.0, 10) == 0
    (second,) = (await claim(store)).leases
    await store.settle([done(second)])
    assert await store.prune(100.0, 10) == 0
    clock.advance(101)
    assert await store.prune(100.0, 10) == 1


async def test_pruning_leaves_counts_and_log_right(store: Store, clock: Clock) -> None:
    await ended(store, Status.DONE)
    await submit(store)
    head = await store.head()
    clock.advance(10)
    await store.prune(1.0, 10)
    assert [line.counts[Status.QUEUED] for line in await store.counts()] == [1]
    assert sum(sum(line.counts.values()) for line in await store.counts()) == 1
    assert await store.head() == head


# -- trim


async def test_trim_drops_events_older_than_asked(store: Store, clock: Clock) -> None:
    await submit(store, *(task() for _ in range(3)))
    clock.advance(100)
    await submit(store, *(task() for _ in range(2)))
    seqs = [event.seq for event in (await store.events(0, 10)).events]
    assert await store.trim(50.0, 1_000, 1_000) == 3
    page = await store.events(seqs[2], 10)
    assert ([event.seq for event in page.events], page.reset) == (seqs[3:], False)
    assert await store.trim(50.0, 1_000, 1_000) == 0


async def test_trim_drops_events_beyond_the_newest(store: Store) -> None:
    await submit(store, *(task() for _ in range(10)))
    seqs = [event.seq for event in (await store.events(0, 10)).events]
    assert await store.trim(1_000.0, 4, 1_000) == 6
    assert [event.seq for event in (await store.events(seqs[5], 10)).events] == seqs[6:]


async def test_trim_stops_at_its_limit_and_goes_on(store: Store) -> None:
    await submit(store, *(task() for _ in range(10)))
    dropped = [await store.trim(1_000.0, 3, 3) for _ in range(4)]
    assert dropped == [3, 3, 1, 0]


async def test_trim_leaves_what_somebody_has_still_to_read(store: Store, clock: Clock) -> None:
    await submit(store, *(task() for _ in range(10)))
    seqs = [event.seq for event in (await store.events(0, 10)).events]
    clock.advance(100)
    assert await store.trim(50.0, 1, 1_000, upto=seqs[3]) == 4
    assert await store.trim(50.0, 1, 1_000, upto=seqs[3]) == 0
    assert [event.seq for event in (await store.events(seqs[3], 10)).events] == seqs[4:]


async def test_a_reader_that_is_behind_the_log_misses_nothing_or_is_told(store: Store) -> None:
    await submit(store, *(task() for _ in range(10)))
    seqs = [event.seq for event in (await store.events(0, 10)).events]
    await store.trim(1_000.0, 4, 1_000)
    for seen in (0, 3, 5, 6, 8):
        page = await store.events(seqs[seen - 1] if seen else 0, 100)
        if page.reset:
            assert seen < 6
            assert all(event.seq in seqs[6:] for event in page.events)
        else:
            assert [event.seq for event in page.events] == seqs[seen:]
        rest = await store.events(page.next, 100)
        assert (rest.events, rest.reset) == ([], False)


async def test_the_log_goes_on_counting_when_all_of_it_was_dropped(store: Store, clock: Clock) -> None:
    await submit(store, *(task() for _ in range(3)))
    head = await store.head()
    clock.advance(100)
    await store.trim(1.0, 0, 1_000)
    assert await store.head() == head
    page = await store.events(head, 10)
    assert (page.events, page.reset, page.next) == ([], False, head)
    await submit(store)
    page = await store.events(head, 10)
    assert ([event.seq > head for event in page.events], page.reset) == ([True], False)


async def test_trim_changes_no_task(store: Store, clock: Clock) -> None:
    lease = await ended(store, Status.DONE)
    before = await read(store, lease.id)
    clock.advance(100)
    await store.trim(1.0, 0, 1_000)
    assert await read(store, lease.id) == before


async def test_trim_drops_records_that_have_expired(store: Store, clock: Clock) -> None:
    await store.put([Put("short", b"", None, 10.0), Put("long", b"", None, 1_000.0), Put("ever", b"", None)])
    clock.advance(11)
    assert await store.trim(1_000.0, 1_000, 1_000) == 1
    assert [record.key for record in await store.records("")] == ["ever", "long"]


async def test_trim_leaves_a_record_that_was_written_anew(store: Store, clock: Clock) -> None:
    await store.put([Put("k", b"1", None, 10.0)])
    clock.advance(5)
    await store.put([Put("k", b"2", None, 100.0)])
    clock.advance(6)
    assert await store.trim(1_000.0, 1_000, 1_000) == 0
    assert [record.value for record in await store.records("k")] == [b"2"]


async def test_two_at_once_do_no_harm(store: Store, clock: Clock) -> None:
    for _ in range(12):
        await ended(store, Status.DONE)
    clock.advance(100)
    assert sum(await asyncio.gather(*(store.prune(1.0, 5) for _ in range(6)))) == 12
    await asyncio.gather(*(store.trim(1.0, 0, 10) for _ in range(6)))
    assert (await store.list(Query())).tasks == []
