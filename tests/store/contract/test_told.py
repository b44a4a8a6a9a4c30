"""A store whose user hears of work from somebody else: it is calm about others, and prompt about its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dolgo.store.base import Store
from tests.store.build import submit
from tests.store.clock import Clock
from tests.store.kinds import KINDS, OUTLIVING, a_folder

pytestmark = pytest.mark.anyio

PAUSE = 1.0  # seconds
DEADLINE = 10.0  # seconds


@pytest.fixture(params=sorted(OUTLIVING))
async def stores(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[list[Store]]:
    """Three on the same tasks, as three processes have them; the last one is told of work."""
    with a_folder() as folder:
        made = [KINDS[request.param](folder, clock) for _ in range(3)]
        for store in made:
            await store.open()
        made[2].be_told(pause=PAUSE, log=False)
        yield made
        for store in made:
            await store.close()


async def test_it_rings_ten_times_less_for_what_others_commit_and_misses_nothing(stores: list[Store]) -> None:
    other, plain, told = stores
    begun, before = asyncio.get_running_loop().time(), (plain.work.count, told.work.count)
    for _ in range(60):
        await submit(other)
        await asyncio.sleep(0.025)  # the pace of the load: what is counted is how often each rings meanwhile
    took = asyncio.get_running_loop().time() - begun
    rung = plain.work.count - before[0], told.work.count - before[1]
    assert rung[0] >= 20
    assert rung[1] <= took / PAUSE + 1, rung
    seen = told.work.count
    await submit(other)
    assert await told.work.wait(seen, DEADLINE)


async def test_what_it_commits_itself_and_what_it_is_told_rings_at_once(stores: list[Store]) -> None:
    told = stores[2]
    told.be_told(pause=3600.0, log=False)
    seen = told.work.count
    await submit(told)
    assert await told.work.wait(seen, DEADLINE)
    seen = told.work.count
    told.ring_work()
    assert told.work.count > seen


async def test_its_log_rings_for_others_as_ever(stores: list[Store]) -> None:
    other, _, told = stores
    told.be_told(pause=3600.0, log=True)
    seen = told.log.count
    await submit(other)
    assert await told.log.wait(seen, DEADLINE)
