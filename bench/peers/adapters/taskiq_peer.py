"""TaskIQ with the stream broker and the result backend of taskiq-redis."""

from __future__ import annotations

import redis
from contract import AT_ONCE, RECOVERY, URL, Adapter, ahandle, keys_but
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker
from taskiq_redis.exceptions import ResultIsMissingError

recovery = {"idle_timeout": int(RECOVERY * 1000), "unacknowledged_lock_timeout": RECOVERY} if RECOVERY else {}
backend: RedisAsyncResultBackend[int] = RedisAsyncResultBackend(URL)
broker = RedisStreamBroker(URL, consumer_id="0", **recovery).with_result_backend(backend)


@broker.task
async def nothing(n: int) -> int:
    return await ahandle(n)


class Peer(Adapter):
    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")
    worker = (
        "taskiq", "worker", "taskiq_peer:broker", "--workers", "1", "--max-async-tasks", "100", "--max-prefetch", "100",
        "--ack-type", "when_saved", "--log-level", "ERROR", "--no-parse",
    )  # fmt: skip
    settings = {  # noqa: RUF012
        "--workers 1": "one worker process on one core is what is compared",
        "--max-async-tasks 100": "the default",
        "--max-prefetch 100": "deliveries that wait in the process, as many as run",
        "--ack-type when_saved": "the default: acknowledged once the result is saved",
        "--no-parse": "the payload is not parsed with pydantic",
        "consumer_id 0": "the group begins with the first message, so that a worker sees what was enqueued before it came",
        "uvloop": "used where it is installed",
    }
    after_a_kill = "what was not acknowledged is claimed again after idle_timeout (default: ten minutes), when others arrive"
    bulk_is = f"{AT_ONCE} kiq() at once"

    async def put(self, n: int) -> str:
        return (await nothing.kiq(n)).task_id

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return keys_but(store, "taskiq", "autoclaim:taskiq:taskiq")

    async def results(self, ids: list[str]) -> list[int | None]:
        return [await _result(id) for id in ids]


async def _result(id: str) -> int | None:
    try:
        return (await backend.get_result(id)).return_value
    except ResultIsMissingError:
        return None
