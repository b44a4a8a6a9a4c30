"""A Redis for one test, and stores on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from dolgo.store.redis import RedisStore
from tests.missing import need
from tests.redis_server import DURABLE, RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A durable server of this test alone, so that it may be killed, filled and reconfigured."""
    need("redis-server")
    with RedisServer(tmp_path, *DURABLE, "--enable-debug-command", "yes").ready() as server:
        yield server


@pytest.fixture
async def opened(server: RedisServer) -> AsyncIterator[Callable[..., "RedisStore"]]:
    """`await opened()` is an open store on that server."""
    stores: list[RedisStore] = []

    async def make(url: str = "") -> RedisStore:
        stores.append(RedisStore(url or server.url))
        await stores[-1].open()
        return stores[-1]

    yield make
    for store in stores:
        await store.close()
