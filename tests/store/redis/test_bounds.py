"""What one call may do is bounded, and what it leaves over is done by those that follow; and nothing stays of what is gone."""

from pathlib import Path

import pytest
from hypothesis import Phase
from redis.asyncio import Redis

from dolgo.store.base import Clock
from dolgo.store.redis import RedisStore
from dolgo.store.redis.library import Library, library
from dolgo.task.types import FINAL, Put
from tests.missing import need
from tests.redis_server import RedisServer
from tests.store.build import after, claim, done, failed, note, submit, task
from tests.store.clock import Clock as MovedClock
from tests.store.test_machine import run

SMALL = {"CASCADED = 500": "CASCADED = 1", "LOOKS = 20": "LOOKS = 2", "A_STEP = 100": "A_STEP = 2", "A_LOOK = 50": "A_LOOK = 3"}


def with_small_bounds() -> Library:
    """The library, but with bounds that a few tasks reach."""
    code = library().code
    for bound, smaller in SMALL.items():
        assert code.count(f"local {bound}") == 1
        code = code.replace(f"local {bound}", f"local {smaller}")
    return Library("dolgo_small", code.replace(library().name, "dolgo_small"))


def test_what_one_call_leaves_over_is_done_by_those_that_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("redis-server")
    small = with_small_bounds()
    for module in ("server", "opening"):
        monkeypatch.setattr(f"dolgo.store.redis.{module}.library", lambda: small)

    with RedisServer(tmp_path).ready() as server:

        def make(folder: Path, clock: Clock) -> RedisStore:
            return RedisStore(f"{server.url}?prefix={folder.name}", clock=clock)

        run({"make": staticmethod(make), "outlives": True, "at_once_all": False}, 10, [Phase.generate])


@pytest.mark.anyio
async def test_nothing_stays_of_tasks_and_records_that_are_gone(server: RedisServer) -> None:
    clock = MovedClock()
    store = RedisStore(server.url, clock=clock)
    await store.open()
    try:
        assert await a_life(store, clock) == 5
        clock.advance(100)
        assert await store.prune(10.0, 100) == 5
        assert await store.trim(10.0, 100, 1_000) > 5
    finally:
        await store.close()
    async with Redis.from_url(server.url) as client:
        assert sorted(await client.keys()) == [b"{dolgo}:" + name for name in (b"line", b"lines", b"log", b"meta")]


async def a_life(store: RedisStore, clock: MovedClock) -> int:
    """Tasks that stand in every place there is, until all have ended: how many, with a record that expires beside them."""
    top = task(unique_key="u", limit_key="k")
    kin = [task(depends_on=after(top.id)), task(depends_on=after(top.id), expires_at=clock.now + 5, keep=1.0)]
    await store.submit([top, *kin, task(delay=5.0, needed=9.0)], [Put("key", b"1", None, 5.0)])
    await store.gate("queue/default", {"max_running_per_key": 1})
    (lease,) = (await claim(store)).leases
    await store.note([note(lease)])
    await store.cancel([lease.id])
    await store.settle([failed(lease)])
    await store.retry([lease.id])
    await submit(store, limit_key="k")
    await store.gate("queue/default", {"max_running_per_key": None})
    clock.advance(6)
    while leases := (await claim(store)).leases:
        await store.settle([done(lease) for lease in leases])
    return sum(line.counts.get(end, 0) for line in await store.counts() for end in FINAL)
