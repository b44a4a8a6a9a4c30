"""A task queue of thirty lines, for the tests of what measures task queues. It forgets every $TOY_LOSES-th task."""

from __future__ import annotations

import os
import sys

import redis
from contract import AT_ONCE, PAUSE, URL, Adapter, handle

LOSES = int(os.environ.get("TOY_LOSES", "0"))
client = redis.Redis.from_url(URL)


def work() -> None:
    """Pop, run, keep the result: what is killed meanwhile is lost."""
    while True:
        _, word = client.blpop(["toy"])
        n = int(word)
        if not LOSES or n % LOSES:
            client.hset("results", word, handle(n))


class Peer(Adapter):
    packages = ("redis",)
    worker = (sys.executable, "-c", "import toy_peer; toy_peer.work()")
    settings = {"a pause": str(PAUSE)}  # noqa: RUF012
    after_a_kill = "what was popped is lost"
    bulk_is = f"{AT_ONCE} at once"

    async def put(self, n: int) -> str:
        client.rpush("toy", n)
        return str(n)

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return store.hlen("results")

    def results(self, ids: list[str]) -> list[int | None]:
        return [None if word is None else int(word) for word in client.hmget("results", ids)]
