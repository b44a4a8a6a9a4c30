"""A deployment to break: one store, some `dolgo serve` and some `dolgo worker`, each in a session of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from dolgo.stores import open_store
from tests.blackbox.client import Client
from tests.blackbox.server import Process, Server, Worker
from tests.faults.kinds import LEDGER
from tests.postgres_server import PostgresServer
from tests.redis_server import DURABLE, RedisServer

ROOT = Path(__file__).parents[2]
KINDS = Path(__file__).with_name("kinds.py")
STARTS_WITHIN = 60.0  # seconds, on a machine that is busy with what the storm leaves behind
AT_ONCE = 1_000  # events read at once

LAUNCHER = """#!{python}
import sys
from tests.faults.mutants import break_it
break_it({mutant!r})
from dolgo.cli import main
sys.exit(main())
"""


class Deployment:
    """Its processes, and what a nemesis and clients need to know of them."""

    def __init__(
        self,
        folder: Path,
        store: str,
        *,
        servers: Sequence[int],
        workers: Sequence[int],
        lease: float,
        options: Sequence[str] = (),
        mutant: str | None = None,
        durable: bool = True,
    ) -> None:
        """`servers` and `workers` are the slots of each. With a `mutant` it is a service that is broken in that way."""
        self.folder = folder
        self.keeper = _keeper(store, folder, durable=durable)
        self.store = self.keeper.url if self.keeper else f"sqlite:///{folder / 'dolgo.db'}"
        common = [
            *("--store", self.store, "--lease", str(lease), "--drain-timeout", "0", "--grace", "1", "--tasks", str(KINDS)),
            *options,
        ]
        environ = {LEDGER: str(folder / "ledger"), "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        self.servers = [
            Server(folder, *common, "--slots", str(slots), name=f"serve-{n}", environ=environ) for n, slots in enumerate(servers)
        ]
        self.workers = [
            Worker(folder, *common, "--slots", str(slots), name=f"worker-{n}", environ=environ) for n, slots in enumerate(workers)
        ]
        self.runners: list[Process] = [*(s for s, slots in zip(self.servers, servers, strict=True) if slots), *self.workers]
        if mutant:
            self._break(mutant)

    def _break(self, mutant: str) -> None:
        launcher = self.folder / "dolgo-broken"
        launcher.write_text(LAUNCHER.format(python=sys.executable, mutant=mutant))
        launcher.chmod(0o700)
        for process in self.processes:
            process.argv[0] = str(launcher)

    @property
    def processes(self) -> list[Process]:
        """Those of dolgo; the store's is not among them."""
        return [*self.servers, *self.workers]

    def start(self) -> Self:
        """All started and ready; the store first."""
        try:
            if self.keeper:
                self.keeper.start()
            for process in self.processes:
                process.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        self.urls = [server.url for server in self.servers]
        return self

    def wait_ready(self) -> None:
        """Returns when all that run are ready."""
        if self.keeper:
            self.keeper.wait_ready(STARTS_WITHIN)
        for process in self.processes:
            process.wait_ready(STARTS_WITHIN)

    def client(self) -> Client:
        """Speaks to the first server."""
        return Client(self.urls[0], timeout=30.0)

    def close(self) -> None:
        """End all of it, the store last."""
        for process in [*reversed(self.processes), *([self.keeper] if self.keeper else [])]:
            process.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def logs(self) -> Iterator[tuple[str, str]]:
        """What each process has said, all its lives long."""
        for process in self.processes:
            if process.log.exists():
                yield process.log.stem, process.log.read_text(errors="replace")

    def events(self) -> list[Mapping[str, Any]]:
        """The store's log of events, from its beginning."""
        return asyncio.run(_events(self.store))


def _keeper(store: str, folder: Path, *, durable: bool) -> RedisServer | PostgresServer | None:
    """The server that keeps the tasks, if it is not dolgo itself."""
    if store == "redis":
        return RedisServer(folder, *(DURABLE if durable else ()))
    return PostgresServer(folder, durable=durable) if store == "postgres" else None


async def _events(url: str) -> list[Mapping[str, Any]]:
    store = open_store(url)
    await store.open()
    try:
        found: list[Mapping[str, Any]] = []
        after = 0
        while (page := await store.events(after, AT_ONCE)).events:
            assert not page.reset or not after, "the log has lost its beginning"
            found += [msgspec.to_builtins(event) for event in page.events]
            after = page.next
        return found
    finally:
        await store.close()
