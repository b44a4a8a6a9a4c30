"""PgQueuer."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import asyncpg
import uvloop
from contract import RECOVERY, URL, ahandle
from pgqueuer import AsyncpgDriver, PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from rows import Rows

BATCH = 100
KILLED = {"batch_size": 50, "max_concurrent_tasks": 100, "heartbeat_timeout": timedelta(seconds=RECOVERY)}


def work() -> None:
    """What its worker runs. `pgq run` is the same, and breaks with the newest version of its package for options."""
    options: dict[str, Any] = KILLED if RECOVERY else {"batch_size": BATCH}
    uvloop.run(_work(options))


async def _work(options: dict[str, Any]) -> None:
    connection = await asyncpg.connect(URL)
    pgq = PgQueuer(AsyncpgDriver(connection))

    @pgq.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        assert job.payload is not None
        await ahandle(int(job.payload))

    await pgq.run(**options)


class Peer(Rows):
    packages = ("pgqueuer", "asyncpg", "uvloop")
    worker = (sys.executable, "-c", "import pgqueuer_peer; pgqueuer_peer.work()")
    settings = {  # noqa: RUF012
        f"batch_size {BATCH}": "jobs a claim takes, and ends that are written at once; the default is 10",
        "max_concurrent_tasks": "no bound, the default; where its worker is killed 100 with batches of 50, the most it allows, "
        "because without a bound it would hold all that waits",
        "durability": "durable, the default: all tables are logged",
        "autovac": "`optimize_autovacuum()` of its queries, called once",
        "uvloop": "used where it is installed",
        "results": "it keeps no return value: the status in its log counts as the result",
        "psycopg": "in its environment for the one who watches; it runs on asyncpg",
    }
    after_a_kill = "picked again by another worker once its heartbeat is older than heartbeat_timeout (default: 30 s)"
    bulk_is = "Queries.enqueue with lists, 1,000 at once"
    fill = "bulk"  # one by one would take longer than the drain
    counted = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
    # Its log holds no payload. Jobs are numbered in the order they came, and so are ids.
    kept = "SELECT DISTINCT job_id, job_id FROM pgqueuer_log WHERE status = 'successful'"

    def __init__(self) -> None:
        self._queries: Queries | None = None

    async def prepare(self) -> None:
        queries = await self._connected()
        await queries.install()
        await queries.optimize_autovacuum()

    async def put(self, n: int) -> int:
        queries = await self._connected()
        return (await queries.enqueue("nothing", b"%d" % n))[0]

    async def bulk(self, numbers: Iterable[int]) -> list[int]:
        wanted, ids, queries = list(numbers), [], await self._connected()
        for first in range(0, len(wanted), 1_000):
            some = [b"%d" % n for n in wanted[first : first + 1_000]]
            ids += await queries.enqueue(["nothing"] * len(some), some, [0] * len(some))
        return ids

    def results(self, ids: list[int]) -> list[int | None]:
        ended = super().results(ids)
        return [None if found is None else n for n, found in enumerate(ended)]

    async def _connected(self) -> Queries:
        if self._queries is None:
            self._queries = Queries(AsyncpgDriver(await asyncpg.connect(URL)))
        return self._queries
