"""The composition root: settings → store → manager → worker → web. Only here are concrete classes named."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any

import uvloop

from dolgo import __version__
from dolgo.api import app as web
from dolgo.api.dispatch import App
from dolgo.api.server import Server, listen
from dolgo.errors import BadSetting, Refused, StoreUnusable
from dolgo.logs import configure
from dolgo.runner.link import Setup
from dolgo.setting_kinds import masked
from dolgo.settings import Settings
from dolgo.store.base import Store
from dolgo.store.findings import Finding, bad
from dolgo.task import worker as work_room
from dolgo.task.announced import Announced
from dolgo.task.announcer import announce
from dolgo.task.fleet import Fleet, this_host
from dolgo.task.health import Health
from dolgo.task.ids import Ids
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.schedules import Schedules
from dolgo.task.upkeep import Keeping, Upkeep
from dolgo.task.worker import Worker

log = logging.getLogger("dolgo")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LOOK_AGAIN = 500  # milliseconds between two looks whether a folder of task types has come or was replaced


def serve(settings: Settings) -> int:
    """Run the web and, with slots, a worker in this process until a signal; the exit code."""
    _refuse_open_door(settings)
    configure(settings.log_format)
    return uvloop.run(_until_signal(settings, _serve))


def work(settings: Settings) -> int:
    """Run a worker alone until a signal; the exit code."""
    if settings.slots == 0:
        raise BadSetting("slots cannot be 0: a worker alone has nothing to do then; give 1 or more.")
    configure(settings.log_format)
    return uvloop.run(_until_signal(settings, _work))


def open_store(url: str) -> Store:
    """The store of a URL, not opened yet. An optional driver is imported in the branch that needs it."""
    scheme, _, path = url.partition("://")
    if scheme == "memory":
        from dolgo.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite" and path.startswith("/") and len(path) > 1:
        from dolgo.store.sqlite import SqliteStore

        return SqliteStore(path[1:])
    if scheme in ("redis", "rediss"):
        try:
            from dolgo.store.redis import RedisStore
        except ModuleNotFoundError as error:
            raise BadSetting(f"The store {masked(url)} needs the package {error.name}: pip install 'dolgo[redis]'.") from None
        return RedisStore(url)
    raise BadSetting(f"The store {masked(url)} cannot be used: give memory://, sqlite:///PATH or redis://HOST:PORT/DB.")


def examine_store(url: str, *, full: bool) -> Sequence[Finding]:
    """What is right and wrong with the store of a URL, which is not opened as a server would. Raises `StartError`."""
    scheme, _, path = url.partition("://")
    if scheme == "memory":
        return [
            Finding("durability", *bad("all tasks are gone when the process ends", "For more than a trial: sqlite:///dolgo.db."))
        ]
    if scheme == "sqlite" and path.startswith("/") and len(path) > 1:
        from dolgo.store.sqlite import doctor as sqlite_doctor

        return sqlite_doctor.examine(path[1:], full=full)
    if scheme in ("redis", "rediss"):
        try:
            from dolgo.store.redis import doctor as redis_doctor
        except ModuleNotFoundError as error:
            raise StoreUnusable(f"The store {masked(url)} needs a package more: pip install 'dolgo[redis]'.") from error
        return redis_doctor.examine(url)
    raise BadSetting(f"The store {masked(url)} cannot be used: give memory://, sqlite:///PATH or redis://HOST.")


class Parts:
    """What a process is made of, put together from its settings."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.fleet = Fleet(store)
        self.notify = Notify(store)
        rules = Rules(ageing=settings.ageing, max_payload=settings.max_payload, max_losses=settings.max_losses)
        types = Announced(store)
        self.manager = Manager(store, rules=rules, types=types, notify=self.notify, fleet=self.fleet, clock=time.time)
        self.schedules = Schedules(store, self.manager)
        keeping = Keeping(settings.lease, settings.keep, settings.event_keep, settings.event_limit)
        self.upkeep = Upkeep(store, self.fleet, types, self.schedules, keeping=keeping, host=this_host())
        self.setup = Setup(
            settings.tasks, max(1, settings.slots), settings.max_result, settings.reload, settings.log_format, settings.grace
        )
        self.environ = {"DOLGO_HTTP_REQUEST_ALLOW": settings.http_request_allow}
        self.worker = self._worker() if settings.slots else None
        self.health = Health(store, self.worker, lease=settings.lease)

    def _worker(self) -> Worker:
        settings = self.settings
        options = work_room.Options(
            version=__version__, slots=settings.slots, lease=settings.lease, drain_timeout=settings.drain_timeout,
            queues=None if settings.queues is None else frozenset(settings.queues), setup=self.setup, environ=self.environ,
        )  # fmt: skip
        return Worker(self.manager, self.fleet, id=Ids(time.time).new(), options=options)


@contextlib.asynccontextmanager
async def _running(settings: Settings, stop: Stop) -> AsyncIterator[Parts]:
    """The parts, started; on the way out they end in the reverse order, each with a deadline of its own.

    First the worker drains, because its ends need the store; waits are answered as things stand; the store closes last."""
    store = open_store(settings.store)
    await store.open()
    parts = Parts(settings, store)
    stop.kill = parts.worker.kill if parts.worker else stop.kill
    try:
        await _start(parts, stop)
        yield parts
    finally:
        parts.health.draining = True
        parts.notify.close()
        await parts.upkeep.stop()
        if parts.worker:
            await parts.worker.stop()
        await store.close()


async def _start(parts: Parts, stop: Stop) -> None:
    """Start the parts. Raises StartError."""
    parts.upkeep.start()
    try:
        if parts.worker is None and parts.settings.tasks:
            await announce(parts.manager, parts.setup, parts.environ)
        if parts.worker:
            await parts.worker.start()
    except Refused as error:
        raise StoreUnusable(f"The task types could not be announced: {error}") from error
    if parts.worker and parts.settings.reload:
        stop.tasks.append(asyncio.create_task(_reload(parts.worker, parts.settings)))


class Stop:
    """The wish to stop: the first signal asks, the second one ends the process within a second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.kill: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self) -> None:
        if self.asked.is_set():
            self.kill()
            os._exit(1)
        self.asked.set()


async def _until_signal(settings: Settings, run: Callable[[Settings, Stop], Coroutine[Any, Any, int]]) -> int:
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return await run(settings, stop)


async def _serve(settings: Settings, stop: Stop) -> int:
    with listen(settings.host, settings.port) as listener:
        async with _running(settings, stop) as parts:
            server = Server(_app(parts), listener)
            try:
                await server.start()
                host, port = listener.getsockname()[:2]
                _say(f"dolgo {__version__} ready on http://{_bracketed(host)}:{port}")
                await stop.asked.wait()
                await _drain(parts)
            finally:
                await server.stop()
    return 0


async def _work(settings: Settings, stop: Stop) -> int:
    async with _running(settings, stop) as parts:
        assert parts.worker is not None
        _say(f"dolgo {__version__} worker {parts.worker.id} ready")
        await stop.asked.wait()
        await _drain(parts)
    return 0


async def _drain(parts: Parts) -> None:
    """Not ready any more, waits answered as things stand, nothing new claimed; what runs may end."""
    log.info("Stopping: running tasks have %g s to end. Stop again to end at once.", parts.settings.drain_timeout)
    parts.health.draining = True
    parts.notify.close()
    if parts.worker:
        await parts.worker.drain()


def _app(parts: Parts) -> App:
    settings = parts.settings
    limits = web.Limits(max_payload=settings.max_payload, max_batch=settings.max_batch)
    local = settings.host in LOOPBACK
    return web.create(
        parts.manager, parts.fleet, parts.schedules, health=parts.health, limits=limits, version=__version__, local=local
    )


def _refuse_open_door(settings: Settings) -> None:
    if settings.host not in LOOPBACK and not settings.insecure:
        raise BadSetting(
            f"Listening on {settings.host} would let anybody who reaches this machine submit tasks, and there is no token yet. "
            "Listen on 127.0.0.1, or say --insecure if something before dolgo keeps strangers out."
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def _reload(worker: Worker, settings: Settings) -> None:
    """Have the worker load its task files anew whenever one of them changes. A folder may come later, or be replaced."""
    from watchfiles import awatch

    paths = (*settings.tasks, "tasks")
    watched = _present(paths)
    while True:
        async for changes in awatch(*watched, debounce=200, step=50, rust_timeout=LOOK_AGAIN, yield_on_timeout=True):
            present = _present(paths)
            if changes or present != watched:
                log.info("Task files changed; loading them anew.")
                worker.reload()
            if present != watched:
                break
        watched = present


def _present(paths: Iterable[str]) -> dict[str, int]:
    """Those of the paths that exist, with what tells each from another that takes its name later: a watch follows the old one."""
    present: dict[str, int] = {}
    for path in paths:
        with contextlib.suppress(OSError):  # not there: a module's name, or a folder that may still come
            present[path] = os.stat(path).st_ino
    return present
