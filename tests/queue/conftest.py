"""One fixture that runs a test on every broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from dolgo.queue.base import Audience, Outcome, Queue, Subscription
from tests.faults.proxy import Proxy
from tests.queue.kinds import KINDS, Kind, until


class Place:
    """A broker that the tests share, under names that this test alone uses."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = f"t{uuid.uuid4().hex[:20]}"
        self.port = kind.port()
        self._made: list[Queue] = []

    def make(self, port: int | None = None) -> Queue:
        """A connection of its own to the broker, perhaps by way of another port. Not opened."""
        queue = self.kind.make(port or self.port, self.name)
        self._made.append(queue)
        return queue

    async def opened(self) -> Queue:
        queue = self.make()
        queue.open()
        await until(lambda: queue.trouble is None, "it is connected")
        return queue

    async def put(self, body: bytes, type: str) -> None:
        """Any bytes, as a message that those who run this type get to see."""
        await self.kind.put(self.port, self.name, type, body)

    async def close(self) -> None:
        for queue in self._made:
            await queue.close()


class Listener:
    """A subscription of its own connection, and what became of what it heard."""

    def __init__(self, queue: Queue, audience: Audience) -> None:
        self.queue = queue
        self.rung = 0
        self.outcomes: list[Outcome] = []
        self.subscription = Subscription(audience, ring=self._ring, count=self.outcomes.append)

    def _ring(self) -> None:
        self.rung += 1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=sorted(KINDS))
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    made = Place(KINDS[request.param])
    yield made
    await made.close()


@asynccontextmanager
async def by_proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before this port. It has a loop of its own, which cannot be ended from this one's thread."""
    with ThreadPoolExecutor(1) as thread:
        proxy = await asyncio.get_running_loop().run_in_executor(thread, Proxy(port).__enter__)
        try:
            yield proxy
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, proxy.__exit__, None, None, None)


async def listening(place: Place, *types: str, room: int = 0, queues: frozenset[str] | None = None) -> Listener:
    """Somebody who hears of these types, with room for so many notices."""
    queue = await place.opened()
    listener = Listener(queue, Audience(dict.fromkeys(types, "hash"), queues))
    queue.subscribe(listener.subscription)
    await until(lambda: queue.trouble is None, "it listens")
    listener.subscription.room(room)
    return listener
