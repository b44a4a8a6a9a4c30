"""A Redis of the bench's own, and what it can be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.redis_server import RedisServer

LANES = {
    "none": ("--appendonly", "no"),
    "everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
}  # how Redis keeps what it is told; no snapshots in any


class Broker:
    """A running Redis."""

    def __init__(self, server: RedisServer) -> None:
        self.url = server.url
        self.client = redis.Redis.from_url(server.url)

    def empty(self) -> None:
        """Nothing is left in it."""
        self.client.flushall()

    @property
    def version(self) -> str:
        return str(self.client.info("server")["redis_version"])


@contextlib.contextmanager
def running(place: Path, lane: str) -> Iterator[Broker]:
    """A Redis on a free port, stopped afterwards."""
    server = RedisServer(place, *LANES[lane])
    with server.ready():
        broker = Broker(server)
        try:
            yield broker
        finally:
            broker.client.close()
