"""A Redis of the bench's own, and what it can be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from bench import quiet
from bench.errors import Invalid
from tests.redis_server import RedisServer

LANES = {
    "none": ("--appendonly", "no"),
    "everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
}  # how Redis keeps what it is told; no snapshots in any


class OnRedis:
    """A running Redis."""

    def __init__(self, server: RedisServer) -> None:
        self.url = server.url
        self.client = redis.Redis.from_url(server.url)

    def empty(self) -> None:
        """Nothing is left in it."""
        self.client.flushall()

    def asked(self, seconds: float) -> float:
        """Commands a second; those inside a script count one by one."""
        return quiet.Commands(self.url).wait(seconds) / seconds

    def beside(self, name: str) -> str:
        raise Invalid(f"nothing is measured with {name} beside a Redis")

    @property
    def versions(self) -> dict[str, str]:
        return {"redis": str(self.client.info("server")["redis_version"])}


@contextlib.contextmanager
def running(place: Path, lane: str) -> Iterator[OnRedis]:
    """A Redis on a free port, stopped afterwards."""
    server = RedisServer(place, *LANES[lane])
    with server.ready():
        broker = OnRedis(server)
        try:
            yield broker
        finally:
            broker.client.close()
