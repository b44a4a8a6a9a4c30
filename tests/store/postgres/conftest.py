"""A PostgreSQL for one test, and stores on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from dolgo.store.postgres import PostgresStore
from tests.postgres_server import PostgresServer, need_postgres


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server of this test alone, so that it may be killed, filled and reconfigured."""
    need_postgres()
    with PostgresServer(tmp_path).ready() as server:
        yield server


@pytest.fixture
async def opened(server: PostgresServer) -> AsyncIterator[Callable[..., "PostgresStore"]]:
    """`await opened()` is an open store on that server."""
    stores: list[PostgresStore] = []

    async def make(url: str = "") -> PostgresStore:
        stores.append(PostgresStore(url or server.url))
        await stores[-1].open()
        return stores[-1]

    yield make
    for store in stores:
        await store.close()
