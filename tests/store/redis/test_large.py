"""Large payloads and results: many of them never make one call that holds the server for long, or that it cannot take."""

import asyncio
from collections.abc import Callable

import pytest
import redis

from dolgo.store.redis import RedisStore
from dolgo.task.types import Query, Status
from tests.redis_server import RedisServer
from tests.store.build import claim, done, submit, task

pytestmark = pytest.mark.anyio

Opened = Callable[..., "RedisStore"]

MIB = 2**20
COUNT = 40


def text(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


@pytest.mark.timeout(120)
async def test_many_large_tasks_go_through_every_verb_some_at_a_time(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    ids = [(await submit(store, task(payload=text(MIB), delay=0.1)))[0] for _ in range(COUNT)]
    await asyncio.sleep(0.2)
    with redis.Redis(port=server.port) as admin:
        admin.config_resetstat()
        admin.config_set("proto-max-bulk-len", 32 * MIB)  # far less than all of them together
        leases = []
        while found := (await claim(store, limit=COUNT)).leases:
            leases += found
        assert [lease.id for lease in leases] == ids
        assert await store.settle([done(lease, text(MIB)) for lease in leases]) == [True] * COUNT
        assert [one and one.status for one in await store.get(ids)] == [Status.DONE] * COUNT
        page, listed = await store.list(Query(limit=COUNT, order="created_at")), []
        listed += page.tasks
        while page.after is not None:
            page = await store.list(Query(limit=COUNT, order="created_at", after=page.after))
            listed += page.tasks
        assert [one.id for one in listed] == ids
        assert await store.prune(-1.0, COUNT) == COUNT
        assert admin.dbsize() < 10, "nothing stays of them"
