"""A service on Redis that is never left in peace: clients submit all the time, and a test takes the store away from it.

with Site(tmp_path) as site:
    with site.load() as load:
        site.redis.kill()
        ...
    assert not load.wrong
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis

from tests.blackbox.checker import History
from tests.blackbox.client import Client, lines, outcomes, until, write_type
from tests.blackbox.server import Server, Worker
from tests.faults.proxy import Proxy
from tests.missing import need
from tests.redis_server import DURABLE, RedisServer

LEASE = 20.0  # seconds: longer than any outage here, so that what ended meanwhile can be settled
ANSWERED = 9.0  # seconds in which every request is answered: 5 of the store's patience, and a busy machine
TRIED_FOR = 30.0  # seconds a client repeats a request
HANDLERS = """
import asyncio, os
from dolgo import Context, task

@task
async def works(ctx: Context, ledger: str, seconds: float = 0) -> int:
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{ctx.id}\\n".encode())
    os.close(file)
    await asyncio.sleep(seconds)
    return ctx.attempt
"""


class Site:
    """Redis with everything on disk, a web process without slots and a worker, both by way of a proxy."""

    def __init__(
        self,
        folder: Path,
        *,
        lease: float = LEASE,
        environ: Sequence[Mapping[str, str]] = ({}, {}, {}),
        options: Sequence[str] = (),
    ) -> None:
        """`environ`: of Redis, of the web process and of the worker; `options` of the last two."""
        need("redis-server")
        write_type(folder, "handlers", HANDLERS)
        self.ledger = folder / "ledger"
        self.redis = RedisServer(folder, *DURABLE, "--enable-debug-command", "yes", environ=environ[0])
        self.proxy = Proxy(self.redis.port)
        self._folder = folder
        self._environ = environ
        self._lease = lease
        self._options = options
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            starting.enter_context(self.redis.ready())
            starting.enter_context(self.proxy)
            options = ("--store", self.proxy.url("redis"), "--drain-timeout", "0", "--lease", str(self._lease), *self._options)
            self.server = starting.enter_context(Server(self._folder, "--slots", "0", *options, environ=self._environ[1]).ready())
            self.worker = starting.enter_context(Worker(self._folder, "--slots", "8", *options, environ=self._environ[2]).ready())
            self.client = starting.enter_context(Client(self.server.url, timeout=ANSWERED))
            self._closing = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.show()
        self._closing.__exit__(kind, error, trace)

    def show(self) -> None:
        for process in (self.redis, self.server, self.worker):
            process.show()

    def tell(self, *command: str) -> Any:
        """Say it to Redis itself, past the proxy."""
        with redis.Redis(port=self.redis.port, socket_timeout=20) as connection:
            return connection.execute_command(*command)

    def stop(self, seconds: float) -> None:
        """Freeze Redis for so long."""
        self.redis.kill(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.redis.kill(signal.SIGCONT)

    def submit(self, **payload: Any) -> str:
        return self.client.submit("works", {"ledger": str(self.ledger), **payload})

    def refused(self) -> bool:
        """Whether a task is refused now, in the way it is to be; a 202 is for good, and this task runs."""
        answer = self.client.http.post("/tasks", json={"type": "works", "payload": {"ledger": str(self.ledger)}})
        if answer.status_code == 202:
            return False
        assert answer.status_code == 503, answer.text
        assert answer.json()["type"].endswith("store-unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert "Traceback" not in answer.text
        return True

    def probe(self, path: str) -> int:
        return self.client.http.get(path).status_code

    def runs(self) -> Counter[str]:
        """How often each task has begun."""
        return Counter(lines(self.ledger))

    @contextlib.contextmanager
    def load(self) -> Iterator[Load]:
        """Clients that submit as long as the block lasts, and until each has its answer."""
        load = Load(self)
        try:
            yield load
        finally:
            load.stop()


class Load:
    """Submits one task after the other under a key of its own, again until it is acknowledged."""

    def __init__(self, site: Site, clients: int = 2) -> None:
        self._site = site
        self._over = threading.Event()
        self.history = History()
        self.wrong: list[str] = []
        self.refused = 0
        self.slowest = 0.0
        self._threads = [threading.Thread(target=self._submit, args=(f"{os.urandom(4).hex()}",)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, name: str) -> None:
        number = 0
        with httpx.Client(base_url=self._site.server.url, timeout=ANSWERED) as http:
            while not self._over.wait(0.03):
                self._insist(http, f"{name}/{number}")
                number += 1

    def _insist(self, http: httpx.Client, key: str) -> None:
        body = {"type": "works", "payload": {"ledger": str(self._site.ledger)}, "tags": [key]}
        self.history.attempt(key)
        deadline = time.monotonic() + TRIED_FOR
        while time.monotonic() < deadline:
            begun = time.monotonic()
            try:
                answer = http.post("/tasks", json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError as error:
                self.wrong.append(f"{key}: {error!r}")
                return
            self.slowest = max(self.slowest, time.monotonic() - begun)
            if answer.status_code == 202:
                self.history.acknowledge(key, answer.json()["id"])
                return
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.wrong.append(f"{key}: {answer.status_code} {answer.text[:300]}")
                return
            self.refused += 1
            time.sleep(0.1)
        self.wrong.append(f"{key}: refused for {TRIED_FOR:g} s")

    def judge(self) -> str:
        """Whatever is wrong once all has ended, in words; nothing if all is well."""
        client = self._site.client
        mine = [task for task in client.every(view="full") if task["tags"] and task["tags"][0] in self.history.attempted]
        verdict = self.history.judge(mine)
        again = [task["id"] for task in mine if outcomes(task) != ["done"]]
        runs = self._site.runs()
        doubled = [task["id"] for task in mine if runs[task["id"]] != 1]
        found = {**verdict.wrong, "more than one attempt": again, "begun more than once": doubled, "answers": self.wrong}
        found = {name: what[:5] for name, what in found.items() if what}
        return f"{found} of {len(mine)}" if found else ""

    def all_ended(self, within: float) -> None:
        until(lambda: set(self._site.client.counts()) <= {"done", "failed", "cancelled"}, within, "all has ended")
