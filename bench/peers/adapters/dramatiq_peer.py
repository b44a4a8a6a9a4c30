"""Dramatiq, with its Results middleware."""

from __future__ import annotations

import os

import dramatiq
import redis
from contract import RECOVERY, URL, Adapter, handle, keys_but
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import ResultMissing, Results
from dramatiq.results.backends import RedisBackend

THREADS = os.environ.get("BENCH_THREADS", "8")
KEPT = 86_400_000  # milliseconds

backend = RedisBackend(url=URL)
broker = RedisBroker(url=URL, **({"heartbeat_timeout": int(RECOVERY * 1000), "maintenance_chance": 100_000} if RECOVERY else {}))
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, result_ttl=KEPT)
def nothing(n: int) -> int:
    return handle(n)


class Peer(Adapter):
    packages = ("dramatiq", "redis", "hiredis")
    worker = ("dramatiq", "dramatiq_peer", "--processes", "1", "--threads", THREADS, "--skip-logging")
    environ = {"dramatiq_queue_prefetch": "128"}  # noqa: RUF012
    settings = {  # noqa: RUF012
        "--processes 1": "one worker process on one core is what is compared",
        f"--threads {THREADS}": "the default",
        "dramatiq_queue_prefetch 128": "the documentation on environment variables; the default is twice the threads",
        "result_ttl": "a day, because the default of ten minutes could end within a long run",
        "--skip-logging": "writes nothing for each task",
    }
    after_a_kill = "what it had fetched is given out again once its heartbeat is older than heartbeat_timeout (default: a minute)"

    def put(self, n: int) -> str:
        return str(nothing.send(n).message_id)

    def finished(self, store: redis.Redis, tasks: int) -> int:
        acks = [str(key, "ascii") for key in store.keys("dramatiq:__acks__.*")] if RECOVERY else []
        return keys_but(store, *NO_RESULTS, *acks)

    def results(self, ids: list[str]) -> list[int | None]:
        return [_result(id) for id in ids]


NO_RESULTS = ("dramatiq:default", "dramatiq:default.msgs", "dramatiq:__heartbeats__")


def _result(id: str) -> int | None:
    message = nothing.message(0).copy(message_id=id)
    try:
        return int(backend.get_result(message))
    except ResultMissing:
        return None
