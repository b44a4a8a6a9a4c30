"""Celery on RabbitMQ, its results in PostgreSQL: acknowledged when a task is received (the default), or when it has ended."""

from __future__ import annotations

import json
import os

from celery import Celery
from contract import AMQP, URL, handle
from rows import Rows

LATE = bool(os.environ.get("BENCH_LATE"))

app = Celery("celery_rabbit_peer", broker=AMQP, backend="db+" + URL.replace("postgresql://", "postgresql+psycopg://"))
app.conf.update(
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    task_acks_late=LATE,
    task_reject_on_worker_lost=LATE,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    database_short_lived_sessions=False,
)


@app.task
def nothing(n: int) -> int:
    return handle(n)


class Peer(Rows):
    packages = ("celery", "kombu", "amqp", "sqlalchemy", "psycopg")
    worker = (
        "celery", "-A", "celery_rabbit_peer", "worker", "--concurrency", "1", "--loglevel", "ERROR",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )  # fmt: skip
    settings = {  # noqa: RUF012
        "RabbitMQ": "a durable queue, messages persistent, as is the default",
        "confirm_publish": "an enqueue that is answered is kept; off by default",
        "db+postgresql": "results in PostgreSQL, because those of the backend rpc reach only the process that enqueued",
        "--pool prefork --concurrency 1": "one child: only a child keeps its connection to the database; "
        "with `solo` each result makes a new one",
        "worker_prefetch_multiplier 128": "its guide on optimizing: many short tasks want a large multiplier, as 50 or 150",
        "worker_disable_rate_limits": "no rate limits are used",
        "--without-gossip, -mingle, -heartbeat": "one worker has nobody to talk to",
        "task_acks_late, task_reject_on_worker_lost": f"{LATE}: the way that is meant to keep tasks of a worker that dies"
        if LATE
        else "False, the default",
    }
    after_a_kill = (
        "acknowledged when ended: RabbitMQ gives it out again as soon as the connection is gone"
        if LATE
        else "acknowledged when received by the pool: what ran is lost, what was prefetched comes again at once"
    )
    counted = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"

    def prepare(self) -> None:
        app.backend.ResultSession()  # makes its tables; a worker would, with its first result

    def put(self, n: int) -> str:
        return str(nothing.delay(n).id)

    def results(self, ids: list[str]) -> list[int | None]:
        """Read at once: asked one by one, each would make a connection of its own."""
        with self.store() as store:
            rows = store.execute("SELECT task_id, result FROM celery_taskmeta WHERE status = 'SUCCESS'").fetchall()
        found = {id: json.loads(result) for id, result in rows}
        return [found.get(id) for id in ids]
