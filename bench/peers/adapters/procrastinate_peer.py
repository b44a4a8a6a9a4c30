"""Procrastinate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from contract import RECOVERY, URL, ahandle
from procrastinate import App, PsycopgConnector
from rows import Rows

CONCURRENCY = 100
POOL = 20

worker = {"update_heartbeat_interval": RECOVERY / 4, "stalled_worker_timeout": RECOVERY} if RECOVERY else {}
app = App(
    connector=PsycopgConnector(conninfo=URL, min_size=4, max_size=POOL),
    import_paths=["procrastinate_peer"],
    worker_defaults={"concurrency": CONCURRENCY, "install_signal_handlers": True, **worker},
)


@app.task(name="nothing")
async def nothing(n: int) -> int:
    return await ahandle(n)


if RECOVERY:

    @app.periodic(cron="* * * * * *")
    @app.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
    async def retry_stalled(context: object, timestamp: int) -> None:
        """As its guide on stalled jobs has it."""
        for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=RECOVERY):
            await app.job_manager.retry_job(job)


class Peer(Rows):
    packages = ("procrastinate", "psycopg", "psycopg-pool")
    worker = ("procrastinate", "--app", "procrastinate_peer.app", "--log-level", "error", "worker")
    settings = {  # noqa: RUF012
        f"concurrency {CONCURRENCY}": "jobs at a time; the default is 1",
        f"max_size {POOL}": "connections of the pool; the default is 4, and each job that ends needs one for a moment",
        "listen_notify": "the default: jobs are told by NOTIFY",
        "delete_jobs never": "the default: what became of a job is kept. A return value is not: its status counts as the result",
        "--log-level error": "writes nothing for each task",
    }
    after_a_kill = "stays `doing`, unless one adds the periodic task of its guide on stalled jobs; here it looks each second"
    bulk_is = "Task.batch_defer_async, 1,000 at once"
    fill = "bulk"  # one by one would take longer than the drain
    counted = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'nothing'"
    kept = "SELECT id, (args->>'n')::int FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'nothing'"

    def __init__(self) -> None:
        self._open = contextlib.AsyncExitStack()
        self._opened = False

    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def put(self, n: int) -> int:
        await self._connect()
        return await nothing.defer_async(n=n)

    async def bulk(self, numbers: Iterable[int]) -> list[int]:
        wanted, ids = list(numbers), []
        for first in range(0, len(wanted), 1_000):
            ids += await nothing.batch_defer_async(*({"n": n} for n in wanted[first : first + 1_000]))
        return ids

    async def _connect(self) -> None:
        """Once: the program ends with its connections open."""
        if not self._opened:
            await self._open.enter_async_context(app.open_async())
            self._opened = True
