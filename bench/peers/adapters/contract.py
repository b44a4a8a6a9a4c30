"""What the bench asks of a peer, and how: a program run by the peer's own Python that answers in JSON, a line each.

    ask.py ADAPTER facts                        its packages, its settings and why, the command of its worker
    ask.py ADAPTER prepare                      makes what has to be there before the first task, on an empty store
    ask.py ADAPTER enqueue one|bulk TASKS       numbers 0 to TASKS - 1, one a task; ids go to $BENCH_IDS
    ask.py ADAPTER watch TASKS ENOUGH PATIENCE  a line at the first result in the store, one when there are enough or none came
    ask.py ADAPTER check                        how many of the tasks in $BENCH_IDS have their result, read as a user reads it

Everything but `facts` uses the Redis or the database at $BENCH_STORE, and handlers write to $BENCH_LEDGER. Adapters use public
interfaces only. This module needs no package; on a Redis, redis is imported, which all peers bring that use one.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

IDS = Path(os.environ.get("BENCH_IDS", "ids"))
URL = os.environ.get("BENCH_STORE", "redis://127.0.0.1:6379/0")
AMQP = os.environ.get("BENCH_AMQP", "")  # a RabbitMQ, for a peer that needs one
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))  # seconds a task takes; 0 unless its worker is killed
RECOVERY = float(os.environ.get("BENCH_RECOVERY", "0"))  # seconds until a dead worker's tasks are given away; 0: the default
WARM = 10  # tasks that are enqueued before the clock starts: they connect
AT_ONCE = 100  # awaited together, where many calls of an asynchronous interface are the bulk way
STARTS_WITHIN = 90.0  # seconds that a worker may take to its first result
LOOK = 0.005  # seconds between two looks at the store, where a look costs it next to nothing


def handle(n: int) -> int:
    """What every peer's task does: one line in the ledger, so that a second run is seen."""
    _note(n)
    if PAUSE:
        time.sleep(PAUSE)
    return n


async def ahandle(n: int) -> int:
    """The same for peers whose tasks are coroutines."""
    _note(n)
    if PAUSE:
        await asyncio.sleep(PAUSE)
    return n


def _note(n: int) -> None:
    global _ledger
    if _ledger is None:
        _ledger = os.open(os.environ["BENCH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_ledger, b"%d\n" % n)


_ledger: int | None = None


class Adapter:
    """One peer. Subclasses fill in what is theirs."""

    packages: tuple[str, ...]  # whose versions are told
    worker: tuple[str, ...]  # the command of one worker process; the program is taken from the peer's environment
    environ: dict[str, str] = {}  # noqa: RUF012  # of the worker
    settings: dict[str, str]  # what was set beside the defaults, and why
    after_a_kill: str  # what its documentation or source says of tasks a killed worker held
    look: float = LOOK  # seconds between two looks at the store

    def prepare(self) -> Any:
        """Make what its documentation has made before the first task. May be a coroutine."""

    def put(self, n: int) -> Any:
        """Enqueue one task, as the peer's documentation does first; its id. May be a coroutine."""
        raise NotImplementedError

    bulk_is: str = ""  # the documented way to enqueue many; empty if there is none

    fill: str = "one"  # the way in which a store is filled before it is drained

    def bulk(self, numbers: Iterable[int]) -> Any:
        """Enqueue many; their ids. May be a coroutine. By default AT_ONCE calls of `put` are awaited together."""
        return self._together(list(numbers))

    async def _together(self, numbers: list[int]) -> list[str]:
        ids: list[str] = []
        for first in range(0, len(numbers), AT_ONCE):
            ids += await asyncio.gather(*(self.put(n) for n in numbers[first : first + AT_ONCE]))
        return ids

    def store(self) -> Any:
        """What `finished` is handed: a connection of whoever watches."""
        import redis

        return redis.Redis.from_url(URL)

    def finished(self, store: Any, tasks: int) -> int:
        """How many of so many tasks have their result in the store, by a command that costs the store next to nothing."""
        raise NotImplementedError

    def results(self, ids: list[str]) -> Any:
        """The results of tasks, None for one that has none. May be a coroutine."""
        raise NotImplementedError


def keys_but(store: redis.Redis, *names: str) -> int:
    """How many keys the database has beside these: the results, where each is a key of its own."""
    keys, others = store.pipeline(transaction=True).dbsize().exists(*names).execute()
    return int(keys) - int(others)


def main(adapter: Adapter) -> None:
    """Do what the command line says."""
    command, *rest = sys.argv[2:]
    if command == "facts":
        _say(_facts(adapter))
    elif command == "prepare":
        asyncio.run(_prepare(adapter))
    elif command == "enqueue":
        asyncio.run(_enqueue(adapter, rest[0], int(rest[1])))
    elif command == "watch":
        _watch(adapter, int(rest[0]), int(rest[1]), float(rest[2]))
    elif command == "check":
        asyncio.run(_check(adapter))
    else:
        raise SystemExit(f"no such command: {command}")


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def _facts(adapter: Adapter) -> dict[str, Any]:
    return {
        "versions": {name: importlib.metadata.version(name) for name in adapter.packages},
        "worker": adapter.worker,
        "environ": adapter.environ,
        "prepares": type(adapter).prepare is not Adapter.prepare,
        "settings": adapter.settings,
        "bulk": adapter.bulk_is,
        "fill": adapter.fill,
        "after_a_kill": adapter.after_a_kill,
    }


async def _ready(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def _prepare(adapter: Adapter) -> None:
    await _ready(adapter.prepare())
    _say({})


async def _enqueue(adapter: Adapter, way: str, tasks: int) -> None:
    ids = [await _ready(adapter.put(n)) for n in range(WARM)]
    began = time.perf_counter()
    if way == "bulk":
        ids += await _ready(adapter.bulk(range(WARM, tasks)))
    elif inspect.iscoroutinefunction(adapter.put):
        for n in range(WARM, tasks):
            ids.append(await adapter.put(n))
    else:
        for n in range(WARM, tasks):
            ids.append(adapter.put(n))
    seconds = time.perf_counter() - began
    IDS.write_text(json.dumps(ids))  # noqa: ASYNC240  # nothing else runs
    _say({"tasks": tasks - WARM, "seconds": seconds})


def _watch(adapter: Adapter, tasks: int, enough: int, patience: float) -> None:
    store = adapter.store()
    adapter.finished(store, tasks)
    _say({"event": "looking"})
    seen, since = 0, time.monotonic()
    while seen < enough and time.monotonic() < since + (patience if seen else max(patience, STARTS_WITHIN)):
        time.sleep(adapter.look)
        now = adapter.finished(store, tasks)
        if now > seen:  # what is queued again may be counted for a moment and then not: that is no progress
            since = time.monotonic()
            if not seen:
                _say({"event": "first", "time": since, "finished": now})
            seen = now
    _say({"event": "end", "time": since, "finished": seen})


async def _check(adapter: Adapter) -> None:
    ids = json.loads(IDS.read_text())  # noqa: ASYNC240  # nothing else runs
    results = await _ready(adapter.results(ids))
    right = sum(result == n for n, result in enumerate(results))
    missing = sum(result is None for result in results)
    _say({"right": right, "missing": missing, "wrong": len(results) - right - missing})
