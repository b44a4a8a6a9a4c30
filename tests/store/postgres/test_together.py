"""What is promised for all processes together holds when several of them ask at once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from dolgo.store.postgres import PostgresStore
from dolgo.task.types import Lease, Put, Record, Status
from tests.store.build import claim, done, ended, submit, task

pytestmark = pytest.mark.anyio

STORES = 3
TASKS = 60
Made = Callable[[], Awaitable[PostgresStore]]


@pytest.fixture
async def stores(opened: Made) -> list[PostgresStore]:
    return [await opened() for _ in range(STORES)]


class Running:
    """The leases that are held for certain, and the most there ever were of one limit key ("": of all)."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def begun(self, lease: Lease) -> None:
        for key in {"", lease.limit_key or ""}:
            self.now[key] += 1
            self.most[key] = max(self.most[key], self.now[key])

    def ending(self, lease: Lease) -> None:
        for key in {"", lease.limit_key or ""}:
            self.now[key] -= 1


async def work(store: PostgresStore, name: str, running: Running, left: set[str]) -> None:
    """Claims and ends until nothing is left."""
    while left:
        leases = (await claim(store, worker=name, limit=4)).leases
        for lease in leases:
            running.begun(lease)
        await asyncio.sleep(0)
        for lease in leases:
            running.ending(lease)
        assert await store.settle([done(lease) for lease in leases]) == [True] * len(leases)
        left -= {lease.id for lease in leases}


async def work_all(stores: list[PostgresStore], left: set[str]) -> Running:
    running = Running()
    async with asyncio.timeout(50):
        await asyncio.gather(*(work(store, f"w{n}", running, left) for n, store in enumerate(stores)))
    return running


async def test_a_limit_is_never_passed(stores: list[PostgresStore]) -> None:
    await stores[0].gate("queue/default", {"max_running": 3})
    left = set(await submit(stores[0], *(task() for _ in range(TASKS))))
    running = await work_all(stores, left)
    assert 1 <= running.most[""] <= 3


async def test_a_limit_of_each_key_is_never_passed(stores: list[PostgresStore]) -> None:
    await stores[0].gate("type/echo", {"max_running_per_key": 2})
    left = set(await submit(stores[0], *(task(limit_key="abc"[n % 3]) for n in range(TASKS))))
    running = await work_all(stores, left)
    assert all(1 <= running.most[key] <= 2 for key in "abc")


async def test_a_rate_is_never_passed(stores: list[PostgresStore]) -> None:
    await stores[0].gate("queue/default", {"rate": 20.0})  # at once 2 at most
    ids = await submit(stores[0], *(task() for _ in range(TASKS)))
    await work_all(stores, set(ids))
    starts = sorted(one.started_at or 0.0 for one in await stores[0].get(ids) if one is not None)
    assert len(starts) == TASKS
    for n, first in enumerate(starts):
        for more, start in enumerate(starts[n:], start=1):
            assert more <= 20.0 * (start - first) + 2 + 1e-6


async def test_what_a_new_gate_holds_back_is_not_claimed_once_it_is_answered(stores: list[PostgresStore]) -> None:
    await submit(stores[0], *(task() for _ in range(400)))
    paused = asyncio.Event()
    late: list[Lease] = []

    async def go_on_claiming(store: PostgresStore) -> None:
        for _ in range(10):
            after = paused.is_set()
            leases = (await claim(store, limit=1)).leases
            late.extend(leases if after else [])

    async def pause() -> None:
        await stores[-1].gate("queue/default", {"paused": True})
        paused.set()

    await asyncio.gather(*map(go_on_claiming, stores), pause())
    assert paused.is_set()
    assert late == []


async def test_of_all_who_write_a_record_first_one_does(stores: list[PostgresStore]) -> None:
    for key in "abcdef":
        answers = await asyncio.gather(*(store.put([Put(key, b"%d" % n, 0)]) for n, store in enumerate(stores)))
        (record,) = await stores[0].records(key)
        assert answers.count(None) == 1
        assert record.value == b"%d" % answers.index(None)
        assert all(isinstance(answer, Record) and answer.value == record.value for answer in answers if answer is not None)


async def test_of_all_who_submit_a_unique_key_first_one_does(stores: list[PostgresStore]) -> None:
    for key in "abcdef":
        news = [task(unique_key=key) for _ in stores]
        answers = await asyncio.gather(*(store.submit([new]) for store, new in zip(stores, news, strict=True)))
        (winner,) = [new.id for new, answer in zip(news, answers, strict=True) if answer.statuses]
        assert all(answer.unique == {new.id: winner} for new, answer in zip(news, answers, strict=True) if new.id != winner)


async def test_the_same_tasks_submitted_by_all_are_there_once(stores: list[PostgresStore]) -> None:
    news = [task() for _ in range(TASKS)]
    answers = await asyncio.gather(*(store.submit(news) for store in stores))
    assert [answer.statuses for answer in answers] == [[Status.QUEUED] * TASKS] * STORES
    (counts,) = await stores[0].counts()
    assert sum(counts.counts.values()) == TASKS
    assert await stores[0].head() == TASKS


async def test_what_all_prune_and_trim_goes_once(stores: list[PostgresStore]) -> None:
    for _ in range(30):
        await ended(stores[0], Status.DONE)
    head = await stores[0].head()
    pruned = trimmed = 0
    async with asyncio.timeout(50):
        while pruned < 30 or trimmed < head - 1:
            pruned += sum(await asyncio.gather(*(store.prune(-1.0, 4) for store in stores)))
            trimmed += sum(await asyncio.gather(*(store.trim(-1.0, 0, 11) for store in stores)))
    assert (pruned, trimmed) == (30, head - 1)
    assert await stores[0].counts() == []
    assert [event.seq for event in (await stores[1].events(0, 100)).events] == [head]


async def test_who_reads_the_log_while_all_write_to_it_misses_nothing(stores: list[PostgresStore]) -> None:
    async def write(store: PostgresStore) -> None:
        for _ in range(20):
            await submit(store, task(), task())

    async def follow(store: PostgresStore) -> list[int]:
        seen: list[int] = []
        while len(seen) < STORES * 40:
            page = await store.events(seen[-1] if seen else 0, 7)
            assert not page.reset
            seen += [event.seq for event in page.events]
        return seen

    async with asyncio.timeout(50):
        *_, seen, other = await asyncio.gather(*map(write, stores), follow(stores[0]), follow(stores[-1]))
    assert seen == other == list(range(1, STORES * 40 + 1))
