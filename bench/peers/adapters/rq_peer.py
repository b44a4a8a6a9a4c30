"""RQ. Two of its workers: the default one, which forks for each job, and SimpleWorker ($BENCH_SIMPLE), which does not."""

from __future__ import annotations

import os
from collections.abc import Iterable

import redis
from contract import PAUSE, RECOVERY, URL, Adapter, handle
from rq import Queue, Retry
from rq.job import Job

SIMPLE = bool(os.environ.get("BENCH_SIMPLE"))
KEPT = 86_400  # seconds

connection = redis.Redis.from_url(URL)
queue = Queue(connection=connection)


def nothing(n: int) -> int:
    return handle(n)


class Peer(Adapter):
    packages = ("rq", "redis", "hiredis")
    worker = (
        "rq", "worker", "--url", URL, "--worker-class", "rq.SimpleWorker" if SIMPLE else "rq.Worker", "--quiet",
        "--disable-job-desc-logging",
        *(("--maintenance-interval", str(int(RECOVERY)), "--job-monitoring-interval", str(int(RECOVERY))) if RECOVERY else ()),
    )  # fmt: skip
    settings = {  # noqa: RUF012
        "--worker-class": "SimpleWorker: the documentation names it for jobs that need no process of their own"
        if SIMPLE
        else "the default: a process for each job",
        "--quiet, --disable-job-desc-logging": "the documentation on workers: writes nothing for each job",
        "result_ttl": f"{KEPT} s, because the default of 500 s could end within a run",
        "retry": "Retry(max=3) and job_timeout=5: a job is tried again when its worker died, a minute after its timeout"
        if PAUSE
        else "none, the default",
    }
    after_a_kill = "a worker's maintenance finds the job abandoned, and has it run again if it has retries left; else it failed"
    bulk_is = "Queue.enqueue_many"

    def put(self, n: int) -> str:
        return str(queue.enqueue("rq_peer.nothing", n, **OPTIONS).id)

    def bulk(self, numbers: Iterable[int]) -> list[str]:
        return [job.id for job in queue.enqueue_many([Queue.prepare_data("rq_peer.nothing", (n,), **OPTIONS) for n in numbers])]

    def finished(self, store: redis.Redis, tasks: int) -> int:
        return int(store.zcard("rq:finished:default"))

    def results(self, ids: list[str]) -> list[int | None]:
        jobs = Job.fetch_many(ids, connection=connection)
        return [job.return_value() if job else None for job in jobs]


OPTIONS = {"result_ttl": KEPT, **({"retry": Retry(max=3), "job_timeout": 5} if PAUSE else {})}
