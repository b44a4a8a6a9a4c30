"""ARQ."""

from __future__ import annotations

from typing import Any, ClassVar

import redis
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job
from contract import AT_ONCE, RECOVERY, URL, Adapter, ahandle

QUEUE = "arq:queue"
settings = RedisSettings.from_dsn(URL)


async def nothing(ctx: dict[str, Any], n: int) -> int:
    return await ahandle(n)


class WorkerSettings:
    functions: ClassVar = [nothing]
    redis_settings = settings
    max_jobs = 100
    keep_result = 86_400
    log_results = False
    job_timeout = RECOVERY or 300


class Peer(Adapter):
    packages = ("arq", "redis", "hiredis")
    worker = ("arq", "arq_peer.WorkerSettings", "--custom-log-dict", "arq_peer.LOGS")
    settings = {  # noqa: RUF012
        "max_jobs 100": "jobs at a time; the default is 10. A look at the queue reads five times as many ids",
        "keep_result": "a day, because the default of an hour could end within a long run",
        "log_results False, a quiet log": "writes nothing for each task",
    }
    after_a_kill = "jobs stay queued until they end: they run again when the mark of the dead worker expires (job_timeout + 10 s)"
    bulk_is = f"{AT_ONCE} enqueue_job() at once"

    def __init__(self) -> None:
        self._pool: ArqRedis | None = None

    async def pool(self) -> ArqRedis:
        if self._pool is None:
            self._pool = await create_pool(settings)
        return self._pool

    async def put(self, n: int) -> str:
        job = await (await self.pool()).enqueue_job("nothing", n)
        assert job is not None
        return job.job_id

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return tasks - int(store.zcard(QUEUE))

    async def results(self, ids: list[str]) -> list[int | None]:
        found = [await Job(id, await self.pool()).result_info() for id in ids]
        return [info.result if info and info.success else None for info in found]


LOGS = {"version": 1, "root": {"level": "ERROR"}}
