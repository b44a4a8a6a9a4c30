"""What gates let through is counted over all processes, however many claim at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dolgo.store.postgres import PostgresStore
from tests.store.build import claim, done, submit, task

pytestmark = pytest.mark.anyio

STORES = 4
TASKS = 120
RUNNING = "SELECT count(*) FILTER (WHERE limit_key = ''), count(*) FILTER (WHERE limit_key = 'k') FROM task WHERE state = 4"
STARTS = "SELECT count(*), max(started_at) - min(started_at) FROM final"
Opened = Callable[[], Awaitable[PostgresStore]]


async def work(store: PostgresStore, worker: str, left: list[None]) -> None:
    while left:
        leases = (await claim(store, worker=worker, limit=4)).leases
        await store.settle([done(lease) for lease in leases])
        del left[: len(leases)]


async def test_no_more_run_at_once_than_may(opened: Opened) -> None:
    stores = [await opened() for _ in range(STORES)]
    await stores[0].gate("queue/default", {"max_running": 5, "max_running_per_key": 2})
    await submit(stores[0], *(task(limit_key="k" if n % 2 else None) for n in range(TASKS)))
    most = [0, 0]

    async def watch() -> None:
        while True:
            ((plain, keyed),) = await stores[0]._server.reader.query(RUNNING)
            most[:] = [max(most[0], plain + keyed), max(most[1], keyed)]

    watching = asyncio.create_task(watch())
    left = [None] * TASKS
    async with asyncio.timeout(60):
        await asyncio.gather(*(work(store, f"w{n}", left) for n, store in enumerate(stores)))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert 0 < most[0] <= 5
    assert most[1] <= 2


async def test_no_more_start_than_the_rate_lets(opened: Opened) -> None:
    rate = 40.0
    stores = [await opened() for _ in range(STORES)]
    await stores[0].gate("queue/default", {"rate": rate})
    await submit(stores[0], *(task() for _ in range(TASKS)))
    left = [None] * TASKS
    async with asyncio.timeout(60):
        await asyncio.gather(*(work(store, f"w{n}", left) for n, store in enumerate(stores)))
    ((starts, seconds),) = await stores[0]._server.reader.query(STARTS)
    assert starts == TASKS
    assert starts <= seconds * rate + max(1.0, rate / 10) + 1
