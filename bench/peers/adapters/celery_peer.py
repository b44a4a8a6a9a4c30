"""Celery. Two of its ways: acknowledged when a task is received (the default), and when it has ended ($BENCH_LATE)."""

from __future__ import annotations

import os

import redis
from celery import Celery
from contract import RECOVERY, URL, Adapter, handle, keys_but

LATE = bool(os.environ.get("BENCH_LATE"))

NO_RESULTS = (
    "celery", "unacked", "unacked_index", "unacked_mutex",
    "_kombu.binding.celery", "_kombu.binding.celery.pidbox", "_kombu.binding.celeryev", "_kombu.binding.reply.celery.pidbox",
)  # fmt: skip

SOON = {"visibility_timeout": RECOVERY, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}

app = Celery("celery_peer", broker=URL, backend=URL)
app.conf.update(
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    task_acks_late=LATE,
    task_reject_on_worker_lost=LATE,
    broker_connection_retry_on_startup=True,
    **({"broker_transport_options": SOON} if RECOVERY else {}),
)


@app.task
def nothing(n: int) -> int:
    return handle(n)


class Peer(Adapter):
    packages = ("celery", "kombu", "redis", "hiredis")
    worker = (
        "celery", "-A", "celery_peer", "worker", "--pool", "solo", "--loglevel", "ERROR",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    settings = {  # noqa: RUF012
        "--pool solo": "tasks run in the worker's own process: on one core nothing can run beside them, and prefork, which "
        "adds a pipe between two processes, took more CPU a task here",
        "worker_prefetch_multiplier 128": "its guide on optimizing: many short tasks want a large multiplier, as 50 or 150",
        "worker_disable_rate_limits": "no rate limits are used",
        "--without-gossip, -mingle, -heartbeat": "one worker has nobody to talk to",
        "task_acks_late, task_reject_on_worker_lost": f"{LATE}: the way that is meant to keep tasks of a worker that dies"
        if LATE
        else "False, the default",
    }
    after_a_kill = (
        "acknowledged when ended: comes again after visibility_timeout (an hour by default)"
        if LATE
        else "acknowledged when received by the pool: what ran is lost, what was prefetched comes again as above"
    )

    def put(self, n: int) -> str:
        return str(nothing.delay(n).id)

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return keys_but(store, *NO_RESULTS)

    def results(self, ids: list[str]) -> list[int | None]:
        found = (app.AsyncResult(id) for id in ids)
        return [result.result if result.state == "SUCCESS" else None for result in found]
