"""SAQ."""

from __future__ import annotations

from typing import Any

import redis
from contract import AT_ONCE, RECOVERY, URL, Adapter, ahandle
from saq import Queue

KEPT = 86_400  # seconds

queue = Queue.from_url(URL)


async def nothing(ctx: dict[str, Any], *, n: int) -> int:
    return await ahandle(n)


settings = {
    "queue": queue,
    "functions": [nothing],
    "concurrency": 100,
    **({"timers": {"sweep": int(RECOVERY)}} if RECOVERY else {}),
}


class Peer(Adapter):
    packages = ("saq", "redis", "hiredis")
    worker = ("saq", "saq_peer.settings", "--quiet")
    settings = {  # noqa: RUF012
        "concurrency 100": "tasks at a time; the default is 10",
        "ttl": "a day, because the default of ten minutes could end within a long run",
        "--quiet": "writes nothing for each task",
    }
    after_a_kill = "a sweep (once a minute) retries what is active for longer than its timeout, if it may (default: one run)"
    bulk_is = f"{AT_ONCE} enqueue() at once"

    async def put(self, n: int) -> str:
        job = await queue.enqueue("nothing", n=n, ttl=KEPT, **({"timeout": int(RECOVERY), "retries": 4} if RECOVERY else {}))
        assert job is not None
        return job.key

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return tasks - int(store.zcard("saq:default:incomplete"))

    async def results(self, ids: list[str]) -> list[int | None]:
        jobs = [await queue.job(id) for id in ids]
        return [job.result if job and job.status == "complete" else None for job in jobs]
