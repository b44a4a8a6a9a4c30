"""Huey."""

from __future__ import annotations

import os

import redis
from contract import URL, Adapter, handle, keys_but
from huey import RedisExpireHuey

THREADS = os.environ.get("BENCH_THREADS", "4")

huey = RedisExpireHuey("bench", url=URL)


@huey.task()
def nothing(n: int) -> int:
    return handle(n)


class Peer(Adapter):
    packages = ("huey", "redis", "hiredis")
    worker = ("huey_consumer", "huey_peer.huey", "--worker-type", "thread", "--workers", THREADS, "--no-periodic", "--quiet")
    settings = {  # noqa: RUF012
        "RedisExpireHuey": "results stay for a day and outlast a read, as everybody else's do",
        f"--worker-type thread --workers {THREADS}": "one process on one core is what is compared; the default is one thread",
        "--no-periodic, --quiet": "there are no periodic tasks; writes nothing for each task",
    }
    after_a_kill = "a task is popped before it is run: what ran is lost"

    def put(self, n: int) -> str:
        return str(nothing(n).id)

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return keys_but(store, "huey.redis.bench", "huey.schedule.bench")

    def results(self, ids: list[str]) -> list[int | None]:
        return [huey.result(id, preserve=True) for id in ids]
