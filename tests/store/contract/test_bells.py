"""Bells: nobody sleeps through what they wait for, and nobody is woken for nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dolgo.store.base import Bell, Store
from dolgo.task.types import Lease, Status
from tests.store.build import again, back, claim, done, ended, failed, hold, status, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

DEADLINE = 5.0  # seconds until a bell that must ring is given up on
QUIET = 0.15  # seconds in which a bell that must not ring would have


async def rings(bell: Bell, act: Awaitable[object]) -> bool:
    """Whether the bell rings during or after this."""
    seen = bell.count
    await act
    return await bell.wait(seen, DEADLINE)


async def test_work_rings_when_a_task_comes(store: Store) -> None:
    assert await rings(store.work, submit(store))


async def test_work_rings_for_a_delayed_task_so_that_sleepers_learn_its_time(store: Store) -> None:
    assert await rings(store.work, submit(store, delay=10.0))


MORE_WORK: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "another attempt": lambda store, lease: store.settle([again(lease, 0)]),
    "another attempt later": lambda store, lease: store.settle([again(lease, 60)]),
    "given back": lambda store, lease: store.settle([back(lease, started=False)]),
    "reclaimed": lambda store, lease: store.reclaim({"w1"}, 10),
}


@pytest.mark.parametrize("act", MORE_WORK.values(), ids=MORE_WORK)
async def test_work_rings_when_a_task_comes_back(store: Store, act: Callable[[Store, Lease], Awaitable[object]]) -> None:
    lease = await hold(store)
    assert await rings(store.work, act(store, lease))


async def test_work_rings_when_a_task_is_retried(store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    assert await rings(store.work, store.retry([lease.id]))


async def test_log_rings_at_every_transition_once_it_can_be_read(store: Store) -> None:
    async def heard(act: Awaitable[object]) -> int:
        head = await store.head()
        assert await rings(store.log, act)
        return len((await store.events(head, 100)).events)

    first, second = task(), task()
    assert await heard(store.submit([first, second])) == 2
    assert await heard(claim(store, limit=1)) == 1
    (lease,) = (await store.renew("w1", {}, 30.0)).unnamed
    assert await heard(store.settle([failed(lease)])) == 1
    assert await heard(store.retry([lease.id])) == 1
    assert await heard(store.cancel([second.id])) == 1


async def test_a_ring_between_two_looks_is_not_lost(store: Store) -> None:
    for _ in range(20):
        seen = store.work.count
        assert (await claim(store)).leases == []
        (id,) = await submit(store)
        assert await store.work.wait(seen, DEADLINE)
        await store.cancel([id])


async def test_a_worker_that_sleeps_by_the_bell_gets_every_task(store: Store) -> None:
    taken: list[str] = []

    async def work(name: str) -> None:
        while len(taken) < 60:
            seen = store.work.count
            leases = (await claim(store, worker=name, limit=2)).leases
            taken.extend(lease.id for lease in leases)
            await store.settle([done(lease) for lease in leases])
            if not leases and len(taken) < 60:
                await store.work.wait(seen, None)

    async with asyncio.timeout(30):
        workers = [asyncio.create_task(work(f"w{n}")) for n in range(3)]
        ids = []
        for count in (1, 5, 1, 20, 3, 30):
            ids += await submit(store, *(task() for _ in range(count)))
            await asyncio.sleep(0)
        await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(taken) == sorted(ids)


async def test_one_who_waits_for_an_end_reads_it_when_the_bell_rings(store: Store) -> None:
    lease = await hold(store)

    async def until_done() -> None:
        while True:
            seen = store.log.count
            if await status(store, lease.id) == Status.DONE:
                return
            await store.log.wait(seen, None)

    waiter = asyncio.create_task(until_done())
    await asyncio.sleep(0)
    await store.settle([done(lease)])
    await asyncio.wait_for(waiter, DEADLINE)


async def test_looking_rings_no_bell(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await asyncio.sleep(QUIET)  # until bells of what happened before have rung
    work, log = store.work.count, store.log.count
    await claim(store)
    await store.renew("w1", {lease.id: lease.token}, 30.0)
    await store.get([lease.id])
    await store.counts()
    await store.events(0, 10)
    await store.asked("w1")
    await store.reclaim((), 10)
    await store.clamp(30.0)
    await store.prune(10.0, 10)
    assert not await store.log.wait(log, QUIET)
    assert not await store.work.wait(work, 0.0)


async def test_closing_twice_is_harmless(store: Store) -> None:
    await submit(store)
    await store.close()
    await store.close()
