"""Two deployments on one server know nothing of each other."""

from collections.abc import Callable

import pytest

from dolgo.store.redis import RedisStore
from tests.redis_server import RedisServer
from tests.store.build import claim, submit

pytestmark = pytest.mark.anyio

Opened = Callable[..., "RedisStore"]


@pytest.mark.parametrize(("one", "other"), [("/0", "/1"), ("/0?prefix=a", "/0?prefix=b")])
async def test_databases_and_prefixes_are_worlds_of_their_own(server: RedisServer, opened: Opened, one: str, other: str) -> None:
    host = server.url.removesuffix("/0")
    mine, theirs = await opened(host + one), await opened(host + other)
    (id,) = await submit(mine)
    await submit(theirs)
    seen = mine.work.count
    await submit(theirs, type="other")
    assert not await mine.work.wait(seen, 0.5), "the bell of the others rings here"
    assert [event.id for event in (await mine.events(0, 10)).events] == [id]
    assert (await mine.events(1, 10)).events == []
    assert [lease.id for lease in (await claim(mine)).leases] == [id]
