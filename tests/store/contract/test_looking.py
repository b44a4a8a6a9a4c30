"""The log, the counts and the oldest: what is told of tasks is what they are."""

import asyncio
import random
from collections import Counter

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Event, Query, Status
from tests.store.build import again, back, claim, done, failed, hold, read, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


async def all_events(store: Store, limit: int = 1_000) -> list[Event]:
    found: list[Event] = []
    while (page := await store.events(found[-1].seq if found else 0, limit)).events:
        assert not page.reset
        assert page.next == page.events[-1].seq
        found += page.events
    return found


# -- events


async def test_every_transition_is_one_event(store: Store, clock: Clock) -> None:
    lease = await hold(store, queue="q")
    started = clock.now
    clock.advance(1)
    await store.settle([again(lease, 5)])
    clock.advance(5)
    (lease,) = (await claim(store, lease=10.0)).leases
    await store.renew("w1", {lease.id: lease.token}, 10.0)
    clock.advance(11)
    await store.reclaim((), 10)
    (lease,) = (await claim(store)).leases
    await store.settle([failed(lease)])
    await store.retry([lease.id])
    await store.cancel([lease.id])
    await store.delete([lease.id])
    events = await all_events(store)
    assert [(event.status, event.attempt) for event in events] == [
        (Status.QUEUED, 0),
        (Status.IN_PROGRESS, 1),
        (Status.QUEUED, 1),
        (Status.IN_PROGRESS, 2),
        (Status.QUEUED, 2),
        (Status.IN_PROGRESS, 3),
        (Status.FAILED, 3),
        (Status.QUEUED, 3),
        (Status.CANCELLED, 3),
    ]
    assert {(event.id, event.type, event.queue) for event in events} == {(lease.id, "echo", "q")}
    assert [event.time - started for event in events] == [0, 0, 1, 6, 17, 17, 17, 17, 17]
    assert [event.seq for event in events] == sorted({event.seq for event in events})


async def test_a_task_given_back_unstarted_shows_its_number_returned(store: Store) -> None:
    await store.settle([back(await hold(store), started=False)])
    assert [(event.status, event.attempt) for event in await all_events(store)] == [
        (Status.QUEUED, 0),
        (Status.IN_PROGRESS, 1),
        (Status.QUEUED, 0),
    ]


async def test_the_log_is_read_in_pages_without_gap_or_repetition(store: Store) -> None:
    ids = await submit(store, *(task() for _ in range(25)))
    for limit in (1, 7, 25, 100):
        assert [event.id for event in await all_events(store, limit)] == ids


async def test_at_the_end_of_the_log_there_is_nothing_and_next_stays(store: Store) -> None:
    page = await store.events(0, 10)
    assert (page.events, page.next, page.reset) == ([], 0, False)
    await submit(store)
    head = await store.head()
    page = await store.events(head, 10)
    assert (page.events, page.next, page.reset) == ([], head, False)


async def test_the_head_is_the_newest_event(store: Store) -> None:
    assert await store.head() == 0
    await submit(store, *(task() for _ in range(3)))
    await claim(store)
    assert await store.head() == (await all_events(store))[-1].seq


async def test_a_reader_that_is_ahead_of_the_log_is_told(store: Store) -> None:
    await submit(store)
    page = await store.events(await store.head() + 5, 10)
    assert page.reset
    assert page.next <= await store.head()


async def test_a_reader_that_follows_sees_every_event_once_and_in_order(store: Store) -> None:
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 400:
            page = await store.events(seen[-1] if seen else 0, 17)
            seen.extend(event.seq for event in page.events)
            await asyncio.sleep(0)

    async def write(name: str) -> None:
        for _ in range(10):
            await submit(store, *(task(type=name) for _ in range(5)))
            await claim(store, types=frozenset({name}))

    async with asyncio.timeout(30):
        await asyncio.gather(follow(), *(write(f"t{n}") for n in range(4)))
    assert seen == [event.seq for event in await all_events(store)]


async def test_what_is_refused_leaves_no_event(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await store.settle([done(lease)])
    head = await store.head()
    await store.settle([failed(lease)])
    await store.cancel([lease.id, "nobody"])
    await store.retry([lease.id])
    await store.delete(["nobody"])
    await store.reclaim({"w1"}, 10)
    await claim(store)
    assert await store.head() == head


# -- the log is the history, and counts are true


async def one_step(store: Store, dice: random.Random, leases: list, ids: list[str], clock: Clock) -> None:
    """Something that may happen to a store, told of by nothing but the dice."""
    some = dice.sample(ids, min(len(ids), 3))
    match dice.randrange(11):
        case 0 | 1 | 2:
            kinds = {
                "queue": dice.choice("ab"),
                "type": dice.choice("xy"),
                "hash": dice.choice("12"),
                "delay": dice.choice([0.0, 0.0, 9.0]),
            }
            ids += await submit(store, *(task(**kinds) for _ in range(dice.randrange(1, 4))))
        case 3 | 4 | 5:
            leases += (await claim(store, limit=dice.randrange(1, 5), types=frozenset("xy"))).leases
        case 6 | 7:
            ways = (done, failed, again, lambda lease: back(lease, started=True), lambda lease: back(lease, started=False))
            await store.settle([dice.choice(ways)(lease) for lease in dice.sample(leases, min(len(leases), 3))])
        case 8:
            await store.cancel(some)
        case 9:
            await store.retry(some)
        case _:
            clock.advance(dice.choice([1, 10, 31]))
            await store.reclaim((), dice.randrange(1, 10))
            await store.prune(60.0, 1)


async def recount(store: Store) -> Counter[tuple[str, str, str, Status]]:
    page = await store.list(Query(limit=1_000))
    return Counter((one.queue, one.type, one.hash, one.status) for one in page.tasks)


@pytest.mark.parametrize("seed", range(4))
async def test_counts_equal_a_recount_and_the_log_folds_to_the_statuses(store: Store, clock: Clock, seed: int) -> None:
    dice, leases, ids = random.Random(seed), [], []
    for _ in range(150):
        await one_step(store, dice, leases, ids, clock)
    counted = Counter(
        {
            (line.queue, line.type, line.hash, status): count
            for line in await store.counts()
            for status, count in line.counts.items()
            if count
        }
    )
    assert counted == await recount(store)
    folded = {event.id: (event.status, event.attempt) for event in await all_events(store)}
    found = [one for one in await store.get(ids) if one]
    assert {one.id: (one.status, one.attempt) for one in found} == {one.id: folded[one.id] for one in found}
    assert len(found) > 20


async def test_counts_tell_lines_apart(store: Store) -> None:
    await submit(store, task(queue="a"), task(queue="a"), task(queue="a", hash="h2"), task(queue="b", type="t"))
    await claim(store, limit=1, queues=frozenset({"a"}))
    counted = {(line.queue, line.type, line.hash): {s: n for s, n in line.counts.items() if n} for line in await store.counts()}
    assert counted == {
        ("a", "echo", "h1"): {Status.QUEUED: 1, Status.IN_PROGRESS: 1},
        ("a", "echo", "h2"): {Status.QUEUED: 1},
        ("b", "t", "h1"): {Status.QUEUED: 1},
    }


async def test_a_delayed_task_counts_as_queued(store: Store, clock: Clock) -> None:
    await submit(store, delay=10.0)
    for _ in range(2):
        assert [line.counts[Status.QUEUED] for line in await store.counts()] == [1]
        clock.advance(20)
        await claim(store, types=frozenset())


# -- oldest


async def test_oldest_tells_the_longest_wait_of_each_queue(store: Store, clock: Clock) -> None:
    assert await store.oldest() == {}
    begin = clock.now
    for queue, type in (("a", "x"), ("b", "y"), ("a", "y"), ("b", "x")):
        await submit(store, queue=queue, type=type)
        clock.advance(1)
    assert await store.oldest() == {"a": begin, "b": begin + 1}
    await claim(store, types=frozenset("x"), limit=1)
    assert await store.oldest() == {"a": begin + 2, "b": begin + 1}


async def test_oldest_leaves_out_what_cannot_be_claimed_yet(store: Store, clock: Clock) -> None:
    await hold(store, queue="held")
    (later,) = await submit(store, queue="later", delay=10.0)
    assert await store.oldest() == {}
    clock.advance(10)
    assert await store.oldest() == {"later": (await read(store, later)).run_at}
    await store.cancel([later])
    assert await store.oldest() == {}
