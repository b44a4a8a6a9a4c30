"""Claims that wait for work: they get it when it comes, and nobody else does."""

import asyncio

import pytest

from dolgo.store.base import Store
from tests.store.build import claim, done, hold, submit, task, wants
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

DEADLINE = 5.0  # seconds until a claim that must be answered is given up on
SHORT = 0.05  # seconds; for waits that are to run out


async def test_a_claim_that_waits_gets_the_task_that_comes(store: Store) -> None:
    empty = await claim(store)
    waiting = asyncio.create_task(store.claim(wants(), seen=empty.seen, wait=60.0))
    await asyncio.sleep(0)
    (id,) = await submit(store)
    answer = await asyncio.wait_for(waiting, DEADLINE)
    assert [lease.id for lease in answer.leases] == [id]
    assert await store.settle([done(answer.leases[0])]) == [True]


async def test_a_claim_that_waits_in_vain_is_answered_when_its_time_is_over(store: Store) -> None:
    empty = await claim(store)
    answer = await asyncio.wait_for(store.claim(wants(), seen=empty.seen, wait=SHORT), DEADLINE)
    assert (answer.leases, answer.next_at) == ([], None)


async def test_a_claim_does_not_wait_for_what_came_since_it_last_saw(store: Store) -> None:
    empty = await claim(store)
    (id,) = await submit(store)
    answer = await asyncio.wait_for(store.claim(wants(), seen=empty.seen, wait=60.0), DEADLINE)
    assert [lease.id for lease in answer.leases] == [id]


async def test_a_waiting_claim_is_woken_by_work_it_cannot_do_and_learns_what_comes_next(store: Store, clock: Clock) -> None:
    empty = await claim(store)
    waiting = asyncio.create_task(store.claim(wants(), seen=empty.seen, wait=60.0))
    await asyncio.sleep(0)
    await submit(store, delay=30.0)
    answer = await asyncio.wait_for(waiting, DEADLINE)
    assert (answer.leases, answer.next_at) == ([], clock.now + 30)


async def test_claims_that_wait_share_what_comes_without_overlap(store: Store) -> None:
    empty = await claim(store)
    waiting = [asyncio.create_task(store.claim(wants(worker=f"w{n}", limit=2), seen=empty.seen, wait=1.0)) for n in range(6)]
    await asyncio.sleep(0)
    ids = await submit(store, *(task() for _ in range(9)))
    answers = await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE)
    taken = [lease.id for answer in answers for lease in answer.leases] + [lease.id for lease in (await claim(store)).leases]
    assert sorted(taken) == sorted(ids)


async def test_a_worker_that_only_waits_gets_every_task(store: Store) -> None:
    taken: list[str] = []

    async def work(name: str) -> None:
        seen = None
        while True:
            answer = await store.claim(wants(worker=name, limit=3), seen=seen, wait=60.0)
            taken.extend(lease.id for lease in answer.leases)
            await store.settle([done(lease) for lease in answer.leases])
            seen = None if answer.leases else answer.seen

    workers = [asyncio.create_task(work(f"w{n}")) for n in range(3)]
    ids: list[str] = []
    async with asyncio.timeout(30):
        for count in (1, 4, 1, 20, 2, 1, 30):
            ids += await submit(store, *(task() for _ in range(count)))
            while len(taken) < len(ids):
                await asyncio.sleep(0.001)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(taken) == sorted(ids)


async def test_a_waiting_claim_that_is_given_up_loses_no_task(store: Store) -> None:
    for round_ in range(10):
        seen = (await claim(store)).seen
        waiting = asyncio.create_task(store.claim(wants(), seen=seen, wait=60.0))
        await asyncio.sleep(0)
        submitted = asyncio.create_task(submit(store))
        for _ in range(round_ % 4):
            await asyncio.sleep(0)
        waiting.cancel()
        (id,) = await submitted
        await asyncio.gather(waiting, return_exceptions=True)
        queued = (await claim(store, worker="w2")).leases
        unheard = (await store.renew("w1", {}, 30.0)).unnamed
        assert [lease.id for lease in (*queued, *unheard)] == [id]
        assert await store.settle([done(lease) for lease in (*queued, *unheard)]) == [True]


async def test_closing_while_a_claim_waits_leaves_it_answered(store: Store) -> None:
    await hold(store)
    seen = (await claim(store)).seen
    waiting = asyncio.create_task(store.claim(wants(), seen=seen, wait=SHORT))
    await asyncio.sleep(0)
    await store.close()
    await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), DEADLINE)
