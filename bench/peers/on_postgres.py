"""A PostgreSQL of the bench's own, with RabbitMQ and NSQ beside it for those that need them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.nsq_server import NsqServer
from tests.postgres_server import PostgresServer
from tests.rabbitmq_server import RabbitServer

LANES = {
    "on": ("synchronous_commit=on",),
}  # when a commit is answered: once it is flushed
# More than the smallest machine has, and nothing that weakens a promise. Statements are counted for all alike.
SETTINGS = (
    "shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=15min", "wal_level=replica", "autovacuum_naptime=15s",
    "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=top",
)  # fmt: skip
DATABASE = "bench"
# Of the measured database alone: whoever looks is connected to another.
STATEMENTS = f"""
SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = '{DATABASE}')
"""


class OnPostgres:
    """A running PostgreSQL; what is measured is in a database that is made anew each time."""

    def __init__(self, server: PostgresServer, beside: Beside) -> None:
        self._server, self._beside = server, beside
        self.url = server.url.removesuffix("/postgres") + f"/{DATABASE}"
        server.sql("CREATE EXTENSION pg_stat_statements")
        self.empty()

    def empty(self) -> None:
        """A database that nobody wrote to, after a checkpoint, so that nobody pays for what another left; and no messages."""
        self._server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}", "CHECKPOINT")
        self._beside.empty()

    def asked(self, seconds: float) -> float:
        """Statements a second that clients sent; those inside a function are not counted."""
        before = self._statements()
        time.sleep(seconds)
        return (self._statements() - before) / seconds

    def inside(self, statement: str) -> str:
        """What psql answers in the measured database."""
        return self._server.sql(statement, database=DATABASE)

    def beside(self, name: str) -> str:
        return self._beside.url(name)

    @property
    def versions(self) -> dict[str, str]:
        return {"postgres": self._server.sql("SHOW server_version").split()[0], **self._beside.versions}

    def _statements(self) -> int:
        return int(self._server.sql(STATEMENTS))


class Beside:
    """Brokers of messages, each started when it is first asked for."""

    def __init__(self, folder: Path, ends: contextlib.ExitStack) -> None:
        self._folder, self._ends = folder, ends
        self._rabbit: RabbitServer | None = None
        self._nsq: NsqServer | None = None
        self.versions: dict[str, str] = {}

    def url(self, name: str) -> str:
        """Where it answers. A topic of its own keeps the bench's notices apart on NSQ."""
        return self._amqp() if name == "amqp" else f"{self._nsqd()}/bench"

    def empty(self) -> None:
        """No queue is left on RabbitMQ. What is on NSQ is gone with whoever listened to it."""
        if self._rabbit is None:
            return
        for name in self._rabbit.tell("-q", "list_queues", "--no-table-headers", "name").split():
            self._rabbit.tell("-q", "delete_queue", name)

    def _amqp(self) -> str:
        if self._rabbit is None:
            self._rabbit = self._ends.enter_context(RabbitServer(self._folder).ready())
            self.versions["rabbitmq"] = self._rabbit.tell("-q", "version").strip()
        return self._rabbit.url

    def _nsqd(self) -> str:
        if self._nsq is None:
            self._nsq = self._ends.enter_context(NsqServer(self._folder).ready())
        return self._nsq.url


@contextlib.contextmanager
def running(place: Path, lane: str) -> Iterator[OnPostgres]:
    """A PostgreSQL on a free port, stopped afterwards with what was started beside it."""
    with PostgresServer(place, *SETTINGS, *LANES[lane], durable=True).ready() as server, contextlib.ExitStack() as ends:
        yield OnPostgres(server, Beside(place, ends))
