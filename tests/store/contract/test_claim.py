"""Who gets what: smallest rank first, nobody twice, nothing before its time."""

import asyncio
import random

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Lease, Status
from tests.store.build import AGEING, again, back, claim, done, hold, read, submit, task, wants
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


def ids(leases: list[Lease]) -> list[str]:
    return [lease.id for lease in leases]


async def drain(store: Store, **changes: object) -> list[str]:
    """Ids in the order in which one claim after another hands them out."""
    found = []
    while leases := (await claim(store, **changes)).leases:
        found += ids(leases)
    return found


async def test_a_claim_holds_all_that_a_child_needs(store: Store, clock: Clock) -> None:
    new = task(payload=b"[1]", max_attempts=3, tags=("x", "y"), hash="h2", queue="q")
    await store.submit([new])
    clock.advance(1)
    (lease,) = (await claim(store)).leases
    assert lease.token
    assert lease == Lease(
        id=new.id,
        token=lease.token,
        type="echo",
        hash="h2",
        queue="q",
        payload=b"[1]",
        attempt=1,
        failures=0,
        losses=0,
        max_attempts=3,
        suspect=False,
        tags=("x", "y"),
        run_at=clock.now - 1,
    )


async def test_a_claimed_task_is_in_progress_with_its_worker_and_start(store: Store, clock: Clock) -> None:
    (id,) = await submit(store)
    clock.advance(3)
    await claim(store, worker="w7")
    found = await read(store, id)
    assert (found.status, found.attempt, found.worker) == (Status.IN_PROGRESS, 1, "w7")
    assert (found.started_at, found.finished_at) == (clock.now, None)


async def test_a_claim_that_finds_nothing_changes_nothing(store: Store) -> None:
    await submit(store, type="other")
    head = await store.head()
    answer = await claim(store)
    assert (answer.leases, answer.next_at) == ([], None)
    assert await store.head() == head


async def test_a_claim_takes_no_more_than_its_limit(store: Store) -> None:
    await submit(store, *(task() for _ in range(5)))
    assert [len((await claim(store, limit=2)).leases) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_claim_for_nothing_takes_nothing_and_tells_what_comes_next(store: Store, clock: Clock) -> None:
    await submit(store, task(), task(delay=20.0))
    answer = await claim(store, limit=0)
    assert (answer.leases, answer.next_at) == ([], clock.now + 20)


# -- order


async def test_equal_ranks_go_by_id(store: Store) -> None:
    news = [task() for _ in range(30)]
    for new in random.Random(1).sample(news, k=30):
        await store.submit([new])
    assert await drain(store, limit=7) == [new.id for new in news]


async def test_older_tasks_come_first(store: Store, clock: Clock) -> None:
    names = ["z", "y", "x", "w"]
    for name in names:
        await submit(store, id=name)
        clock.advance(1)
    assert await drain(store) == names


@pytest.mark.parametrize(("age", "first"), [(599.0, "a-high"), (600.0, "b-low"), (601.0, "b-low")])
async def test_a_level_of_priority_counts_for_ten_minutes_of_age(store: Store, clock: Clock, age: float, first: str) -> None:
    low, high = ("b-low", "a-high") if age != 600.0 else ("b-low", "c-high")  # equal ranks: the id decides
    await submit(store, id=low, priority=5)
    clock.advance(age)
    await submit(store, id=high, priority=6)
    assert (await drain(store))[0] == first


async def test_nothing_waits_behind_high_priority_for_ever(store: Store, clock: Clock) -> None:
    await submit(store, id="patient", priority=0)
    for _ in range(10):
        await submit(store, priority=9)
        clock.advance(AGEING)
    late = await submit(store, priority=9)
    order = await drain(store)
    assert order.index("patient") < order.index(late[0])


async def test_order_holds_across_queues_types_and_announcements(store: Store, clock: Clock) -> None:
    dice, wanted = random.Random(7), []
    for _ in range(120):
        new = task(queue=dice.choice("abcd"), type=dice.choice("xyz"), hash=dice.choice("12"), priority=dice.randrange(10))
        await store.submit([new])
        wanted.append((clock.now - new.lead, new.id))
        clock.advance(dice.choice([0, 1, 700]))
    assert await drain(store, types=frozenset("xyz"), limit=9) == [id for _, id in sorted(wanted)]


async def test_leases_of_one_claim_come_smallest_rank_first(store: Store) -> None:
    for priority in (3, 9, 0, 5):
        await submit(store, id=f"p{priority}", priority=priority, queue=f"q{priority}")
    assert ids((await claim(store)).leases) == ["p9", "p5", "p3", "p0"]


# -- one holder


async def test_many_claimers_at_once_share_the_tasks_without_overlap(store: Store) -> None:
    news = await submit(store, *(task() for _ in range(200)))
    claims = await asyncio.gather(*(claim(store, worker=f"w{n}", limit=7) for n in range(40)))
    taken = [id for answer in claims for id in ids(answer.leases)]
    assert sorted(taken) == sorted(news)
    assert len({lease.token for answer in claims for lease in answer.leases}) == 200


async def test_one_task_has_one_winner_among_many(store: Store) -> None:
    for _ in range(10):
        (id,) = await submit(store)
        claims = await asyncio.gather(*(claim(store, worker=f"w{n}") for n in range(20)))
        (winner,) = [n for n, answer in enumerate(claims) if answer.leases]
        found = await read(store, id)
        assert (found.worker, found.attempt) == (f"w{winner}", 1)


async def test_submits_and_claims_at_once_lose_nothing(store: Store) -> None:
    news = [task() for _ in range(150)]

    async def one_worker(name: str) -> list[str]:
        taken = []
        for _ in range(15):
            taken += ids((await claim(store, worker=name, limit=3)).leases)
        return taken

    workers = asyncio.gather(*(one_worker(f"w{n}") for n in range(5)))
    await asyncio.gather(*(store.submit([new]) for new in news))
    taken = [id for each in await workers for id in each] + await drain(store)
    assert sorted(taken) == [new.id for new in news]


async def test_each_attempt_has_a_token_of_its_own(store: Store, clock: Clock) -> None:
    lease, tokens = await hold(store), set()
    for _ in range(5):
        tokens.add(lease.token)
        await store.settle([again(lease, 10)])
        clock.advance(10)
        (lease,) = (await claim(store)).leases
    assert len(tokens | {lease.token}) == 6
    assert lease.attempt == 6
    assert lease.failures == 5


# -- lines


async def test_a_claim_takes_only_its_types(store: Store) -> None:
    await submit(store, task(id="1", type="a"), task(id="2", type="b"), task(id="3", type="c"))
    assert ids((await claim(store, types=frozenset("ac"))).leases) == ["1", "3"]
    assert (await claim(store, types=frozenset())).leases == []


async def test_a_claim_takes_only_its_queues(store: Store) -> None:
    await submit(store, task(id="1", queue="a"), task(id="2", queue="b"), task(id="3", queue="c"))
    assert (await claim(store, queues=frozenset())).leases == []
    assert ids((await claim(store, queues=frozenset("bz"))).leases) == ["2"]
    assert ids((await claim(store, queues=None)).leases) == ["1", "3"]


async def test_a_claim_leaves_the_announcements_it_avoids(store: Store) -> None:
    await submit(store, task(id="1", hash="old"), task(id="2", hash="new"), task(id="3", type="other", hash="old"))
    types, avoid = frozenset({"echo", "other"}), frozenset({("echo", "old")})
    assert ids((await claim(store, types=types, avoid=avoid)).leases) == ["2", "3"]
    assert ids((await claim(store, types=types)).leases) == ["1"]


async def test_what_a_worker_cannot_run_never_stands_in_its_way(store: Store) -> None:
    await store.submit([task(priority=9, type="other") for _ in range(600)])
    await store.submit([task(priority=9, queue="other") for _ in range(600)])
    await store.submit([task(priority=9, hash="other") for _ in range(600)])
    mine = await submit(store, task(priority=0), task(priority=0))
    fits = {"queues": frozenset({"default"}), "avoid": frozenset({("echo", "other")})}
    assert await drain(store, **fits) == mine


# -- time


async def test_nothing_is_claimed_before_its_time(store: Store, clock: Clock) -> None:
    await submit(store, task(id="delayed", delay=10.0), task(id="at", run_at=clock.now + 20))
    assert (await claim(store)).leases == []
    clock.advance(9.5)
    assert (await claim(store)).leases == []
    clock.advance(0.5)
    assert ids((await claim(store)).leases) == ["delayed"]
    clock.advance(10)
    assert ids((await claim(store)).leases) == ["at"]


async def test_a_time_that_has_passed_is_now(store: Store, clock: Clock) -> None:
    await submit(store, run_at=clock.now - 1000)
    assert len((await claim(store)).leases) == 1


async def test_next_at_names_the_time_of_what_comes_next(store: Store, clock: Clock) -> None:
    assert (await claim(store)).next_at is None
    await submit(store, task(delay=50.0), task(delay=20.0), task())
    assert (await claim(store)).next_at == clock.now + 20
    clock.advance(20)
    answer = await claim(store)
    assert (len(answer.leases), answer.next_at) == (1, clock.now + 30)
    clock.advance(30)
    assert (await claim(store)).next_at is None


async def test_next_at_forgets_what_was_cancelled(store: Store) -> None:
    (id,) = await submit(store, delay=50.0)
    await store.cancel([id])
    assert (await claim(store)).next_at is None


async def test_next_at_knows_of_another_attempt(store: Store, clock: Clock) -> None:
    await store.settle([again(await hold(store), 25)])
    assert (await claim(store)).next_at == clock.now + 25


async def test_thousands_due_at_once_are_all_claimed_without_waiting(store: Store, clock: Clock) -> None:
    news = await submit(store, *(task(delay=10.0) for _ in range(1_300)))
    clock.advance(10)
    taken: list[str] = []
    for _ in range(20):
        answer = await claim(store, limit=400)
        taken += ids(answer.leases)
        if answer.next_at is None and not answer.leases:
            break
        assert len(answer.leases) == 400 or answer.next_at is None or answer.next_at <= clock.now
    assert sorted(taken) == sorted(news)


async def test_what_becomes_due_for_others_does_not_hide_what_is_due_for_me(store: Store, clock: Clock) -> None:
    await submit(store, *(task(delay=5.0, queue="other") for _ in range(1_300)))
    (mine,) = await submit(store, delay=10.0)
    clock.advance(10)
    for _ in range(10):
        answer = await claim(store, queues=frozenset({"default"}))
        if answer.leases:
            break
        assert answer.next_at is not None
        assert answer.next_at <= clock.now  # so the worker asks again at once
    assert ids(answer.leases) == [mine]


async def test_a_delayed_task_stands_by_the_rank_of_its_time(store: Store, clock: Clock) -> None:
    await submit(store, task(id="delayed", delay=100.0), task(id="delayed-high", delay=100.0, priority=1))
    clock.advance(50)
    await submit(store, id="later-submitted")
    clock.advance(60)
    await submit(store, id="last")
    assert await drain(store) == ["delayed-high", "later-submitted", "delayed", "last"]


async def test_a_clock_set_back_lets_nothing_run_before_its_time(store: Store, clock: Clock) -> None:
    (id,) = await submit(store, delay=10.0)
    time = clock.now + 10
    clock.advance(9)
    clock.jump(-3600)
    answer = await claim(store)
    assert (answer.leases, answer.next_at) == ([], time)
    clock.advance(3609)
    assert ids((await claim(store)).leases) == [id]


async def test_a_clock_set_back_does_not_hold_up_what_was_due(store: Store, clock: Clock) -> None:
    submitted = await submit(store, *(task() for _ in range(4)))
    given, unstarted, over = (await claim(store, limit=3)).leases
    clock.jump(-3600)
    await store.settle([back(given, started=True), back(unstarted, started=False)])
    assert await store.reclaim({"w1"}, 10) == 1
    assert over.id in submitted
    assert await drain(store) == submitted


async def test_a_clock_set_back_hides_nothing_submitted_since(store: Store, clock: Clock) -> None:
    before = await submit(store, *(task() for _ in range(20)))
    clock.jump(-3600)
    (since,) = await submit(store)
    assert await drain(store) == [since, *before]


async def test_a_settled_task_is_never_claimed_again(store: Store, clock: Clock) -> None:
    await store.settle([done(await hold(store))])
    clock.advance(100_000)
    assert (await store.claim(wants())).leases == []
