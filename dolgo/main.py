"""The composition root: settings → store → manager → worker → web. Here and in `stores.py` alone are concrete classes named."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import uvloop

from dolgo import __version__, garbage
from dolgo.api import app as web
from dolgo.api.access.entrance import Entrance, House, Verifier
from dolgo.api.dispatch import App
from dolgo.api.route import Route
from dolgo.api.server import Server, listen
from dolgo.egress.addresses import Allowed
from dolgo.errors import BadSetting, Refused, StoreUnavailable, StoreUnusable
from dolgo.logs import configure
from dolgo.metrics.tally import Tally
from dolgo.queue.base import Queue
from dolgo.queues import open_queue
from dolgo.reloading import reload
from dolgo.runner.link import Setup
from dolgo.setting_kinds import masked
from dolgo.settings import Settings, for_tasks
from dolgo.store.base import Store
from dolgo.store.measured import measure
from dolgo.stores import open_store
from dolgo.task import idle
from dolgo.task import worker as work_room
from dolgo.task.announced import Announced
from dolgo.task.announcer import announce
from dolgo.task.audit import Audit
from dolgo.task.callbacks.courier import Courier, Delivers
from dolgo.task.callbacks.follower import Follower
from dolgo.task.callbacks.secret import Vault
from dolgo.task.ear import Ear, deaf
from dolgo.task.figures import Figures
from dolgo.task.fleet import Fleet, this_host
from dolgo.task.follow import Follow
from dolgo.task.health import Health
from dolgo.task.herald import Herald
from dolgo.task.ids import Ids
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.schedules import Schedules
from dolgo.task.tokens import Tokens
from dolgo.task.upkeep import Keeping, Upkeep
from dolgo.task.worker import Worker

log = logging.getLogger("dolgo")

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
STORE_PATIENCE = 30.0  # seconds a store that is not there yet is waited for at the start
SAY_EVERY = 5.0  # seconds between two lines that say so
LOOK_FOR_WORK = 1.0  # seconds between two looks of a worker that a broker tells of work
TRY_EVERY = 0.5  # seconds between two tries to open it


def serve(settings: Settings) -> int:
    """Run the web and, with slots, a worker in this process until a signal; the exit code."""
    configure(settings.log_format)
    return uvloop.run(_until_signal(settings, _serve))


def work(settings: Settings) -> int:
    """Run a worker alone until a signal; the exit code."""
    if settings.slots == 0:
        raise BadSetting("slots cannot be 0: a worker alone has nothing to do then; give 1 or more.")
    if settings.store.startswith("memory:"):
        raise BadSetting("A worker alone cannot share a store in memory with anybody: name another with --store.")
    configure(settings.log_format)
    return uvloop.run(_until_signal(settings, _work))


class Parts:
    """What a process is made of, put together from its settings."""

    def __init__(self, settings: Settings, store: Store, *, web: bool) -> None:
        self.settings = settings
        self.store = store
        self.tally = Tally()
        measure(store, self.tally)
        self.queue = _queue(settings)
        self.herald = Herald(self.queue, self.tally) if self.queue else None
        self.fleet = Fleet(store)
        self.notify = Notify(store)
        self.follow = Follow(store, self.notify)
        types = Announced(store)
        self.manager = Manager(
            store, rules=_rules(settings), types=types, notify=self.notify, fleet=self.fleet, clock=time.time,
            tell=self.herald.tell if self.herald else None,
        )  # fmt: skip
        self.schedules = Schedules(store, self.manager)
        keeping = Keeping(settings.lease, settings.keep, settings.event_keep, settings.event_limit)
        self.upkeep = Upkeep(store, self.fleet, types, self.schedules, keeping=keeping, host=this_host())
        self.setup = Setup(
            settings.tasks, max(1, settings.slots), settings.max_result, settings.reload, settings.log_format, settings.grace
        )
        self.environ = {**for_tasks(os.environ), "DOLGO_HTTP_REQUEST_ALLOW": settings.http_request_allow}
        self.worker = self._worker() if settings.slots else None
        self.follower = Follower(store, self.manager.callbacks, id=Ids(time.time).new())
        self.courier = self._courier(self.worker) if self.worker else None
        self.health = Health(store, self.worker, lease=settings.lease, web=web, queue=self.queue)
        asked = web or settings.health_port is not None
        host = settings.host if web else settings.health_host
        self.entrance = Entrance(Tokens(store), _house(settings, host), verifier=_verifier(settings) if asked else None)
        self.audit = Audit(store, keep=settings.audit_keep)
        self.web = web
        self.figures = Figures(
            self.manager, self.fleet, self.worker, self.tally,
            version=__version__, slots=settings.slots, whole=web, queue=self.queue,
        )  # fmt: skip

    def _courier(self, worker: Worker) -> Courier:
        policy = (self.settings.callback_allow, self.settings.callback_retry_for, self.settings.public_url)
        return Courier(
            self.manager, self.store, self.manager.callbacks,
            worker=worker.id, lease=self.settings.lease, post=lambda: _post(self.store, *policy),
        )  # fmt: skip

    def _worker(self) -> Worker:
        settings = self.settings
        queues = None if settings.queues is None else frozenset(settings.queues)
        ear = Ear(self.queue, queues=queues, ring=self.store.ring_work, tally=self.tally) if self.queue else None
        options = work_room.Options(
            version=__version__, slots=settings.slots, lease=settings.lease, drain_timeout=settings.drain_timeout,
            queues=queues, setup=self.setup, environ=self.environ, tally=self.tally,
            hear=ear.listen if ear else deaf,
        )  # fmt: skip
        return Worker(self.manager, self.fleet, id=Ids(time.time).new(), options=options)


@contextlib.asynccontextmanager
async def _running(parts: Parts, stop: Stop) -> AsyncIterator[None]:
    """The parts, started; on the way out they end in the reverse order, each with a deadline of its own.

    First the worker drains, because its ends need the store; waits are answered as things stand; the store closes last."""
    store = parts.store
    await _open(store, parts.settings.store, stop)
    stop.kill = parts.worker.kill if parts.worker else stop.kill
    try:
        await _start(parts, stop)
        garbage.spare()
        parts.health.started = parts.figures.started = True
        yield
    finally:
        parts.health.started = parts.figures.started = False
        parts.health.draining = True
        parts.notify.close()
        await parts.follower.stop()
        if parts.courier:
            await parts.courier.stop()
        await parts.upkeep.stop()
        if parts.worker:
            await parts.worker.stop()
        if parts.herald:
            await parts.herald.stop()
        await store.close()


async def _open(store: Store, url: str, stop: Stop) -> None:
    """Open the store; one that is not there yet is waited for. Raises StoreUnusable, and Stopped if that is asked for first."""
    begun = said = time.monotonic()
    while not stop.asked.is_set():
        try:
            return await store.open()
        except StoreUnavailable as error:
            now = time.monotonic()
            if now - begun >= STORE_PATIENCE:
                raise StoreUnusable(f"The store was not there within {STORE_PATIENCE:g} s: {_naming(url, error)}") from error
            if said == begun or now - said >= SAY_EVERY:
                left = STORE_PATIENCE - (now - begun)
                _say(f"dolgo: waiting for the store, for {left:.0f} s at most: {_naming(url, error)}")
                said = now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.asked.wait(), TRY_EVERY)
    raise Stopped


def _naming(url: str, error: StoreUnavailable) -> str:
    """What a store says, which may name itself or not, with its name."""
    said, shown = str(error), masked(url)
    return said if shown in said else f"{shown}: {said}"


async def _start(parts: Parts, stop: Stop) -> None:
    """Start the parts. Raises StartError."""
    if parts.web:
        await _refuse_open_door(parts)
    parts.upkeep.start()
    if parts.herald:
        parts.store.be_told(pause=LOOK_FOR_WORK, log=parts.web)
        parts.herald.start()
    stop.tasks.append(asyncio.create_task(parts.figures.watch_loop()))
    parts.follower.start()
    try:
        await Vault(parts.store).valid()  # made at the first start, so that receivers can have it before anything is signed
        if parts.worker is None and parts.settings.tasks:
            await announce(parts.manager, parts.setup, parts.environ)
        if parts.worker:
            await parts.worker.start()
    except Refused as error:
        raise StoreUnusable(f"The store does not take what is written at a start: {error}") from error
    if parts.courier:
        parts.courier.start()
    if parts.worker and parts.settings.reload:
        stop.tasks.append(asyncio.create_task(reload(parts.worker, parts.settings)))


class Stopped(Exception):
    """A signal came before the service had started."""


class Stop:
    """The wish to stop: the first signal asks, the second one ends the process within a second."""

    def __init__(self, drain_timeout: float) -> None:
        self.asked = asyncio.Event()
        self._drain_timeout = drain_timeout  # seconds
        self.kill: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self) -> None:
        if self.asked.is_set():
            self.kill()
            os._exit(1)
        log.info("Stopping: running tasks have %g s to end. Stop again to end at once.", self._drain_timeout)
        self.asked.set()


async def _until_signal(settings: Settings, run: Callable[[Settings, Stop], Coroutine[Any, Any, int]]) -> int:
    stop = Stop(settings.drain_timeout)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        return await run(settings, stop)
    except Stopped:
        return 0


async def _serve(settings: Settings, stop: Stop) -> int:
    parts = Parts(settings, open_store(settings.store), web=True)
    with listen(settings.host, settings.port) as listener:
        server = Server(_app(parts, settings.host), listener)
        async with _running(parts, stop):
            parts.figures.connections = lambda: len(server.server_state.connections)
            try:
                await server.start()
                _say(f"dolgo {__version__} ready on {_url(listener)}")
                await stop.asked.wait()
                await _drain(parts)
            finally:
                await server.stop()
    return 0


async def _work(settings: Settings, stop: Stop) -> int:
    parts = Parts(settings, open_store(settings.store), web=False)
    assert parts.worker is not None
    async with _probed(parts), _running(parts, stop):
        await _say_if_idle(parts, parts.worker)
        _say(f"dolgo {__version__} worker {parts.worker.id} ready")
        await _first(stop.asked.wait(), parts.worker.drain_asked.wait())
        await _drain(parts)
    return 0


@contextlib.asynccontextmanager
async def _probed(parts: Parts) -> AsyncIterator[None]:
    """The health port answers, from before the store is there until after it has closed."""
    settings = parts.settings
    if settings.health_port is None:
        yield
        return
    with listen(settings.health_host, settings.health_port, of="health-") as listener:
        server = Server(_app(parts, settings.health_host, web.PROBES), listener)
        parts.figures.connections = lambda: len(server.server_state.connections)
        try:
            await server.start()
            _say(f"dolgo {__version__} health on {_url(listener)}")
            yield
        finally:
            await server.stop()


async def _say_if_idle(parts: Parts, worker: Worker) -> None:
    """Warn if this worker will have nothing to do, as far as can be told at its start."""
    doubts = [idle.without_types(worker.own_types, parts.settings.tasks)]
    try:
        doubts.append(await idle.unused_queues(parts.manager, parts.settings.queues or ()))
    except Refused as error:
        log.warning("It cannot be told which queues are used: %s", error)
    for doubt in filter(None, doubts):
        log.warning("%s", doubt)


async def _first(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return when one of these is over; the others are cancelled."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _drain(parts: Parts) -> None:
    """Not ready any more, waits answered as things stand, nothing new claimed; what runs may end."""
    parts.health.draining = True
    parts.notify.close()
    if parts.worker and parts.courier:
        await asyncio.gather(parts.worker.drain(), parts.courier.drain(parts.settings.drain_timeout))


def _post(store: Store, allow: str, retry_for: float, public_url: str) -> Delivers:
    """Made with the first delivery: it brings in httpx, which most processes never need."""
    from dolgo.task.callbacks.post import Policy, Post

    return Post(store, Vault(store), Policy(Allowed(allow), retry_for, public_url), random.random)


def _app(parts: Parts, host: str, routes: Sequence[Route] = web.ROUTES) -> App:
    """What is answered at an address of this host."""
    settings = parts.settings
    limits = web.Limits(max_payload=settings.max_payload, max_batch=settings.max_batch)
    return web.create(
        parts.manager, parts.fleet, parts.schedules, follow=parts.follow,
        health=parts.health, figures=parts.figures, tally=parts.tally, limits=limits, version=__version__,
        entrance=parts.entrance, audit=parts.audit, local=host in LOOPBACK, routes=routes,
    )  # fmt: skip


def _rules(settings: Settings) -> Rules:
    return Rules(
        ageing=settings.ageing, max_payload=settings.max_payload, max_losses=settings.max_losses,
        callback_allow=settings.callback_allow,
    )  # fmt: skip


def _queue(settings: Settings) -> Queue | None:
    """The broker, if there is to be one. Raises BadSetting."""
    if not settings.queue:
        return None
    if settings.store.startswith("memory:"):
        raise BadSetting(
            "A broker tells other processes of tasks, and none can share a store in memory: name another with --store."
        )
    return open_queue(settings.queue)


def _house(settings: Settings, host: str) -> House:
    beyond = host not in LOOPBACK
    public = web.DOCS if settings.public_docs else frozenset()
    return House(guarded=beyond and not settings.insecure, public=public, admin=settings.admin_token)


def _verifier(settings: Settings) -> Verifier | None:
    """What checks JWTs, if any are to be taken. Raises BadSetting."""
    if not (settings.jwt_key or settings.jwt_jwks_url):
        return None
    try:
        from dolgo.api.access.jwts import Jwts, Trust
    except ModuleNotFoundError as error:
        raise BadSetting(f"To check JWTs the package {error.name} is needed: pip install 'dolgo[jwt]'.") from None
    trust = Trust(
        key=settings.jwt_key, jwks_url=settings.jwt_jwks_url, audience=settings.jwt_audience, issuer=settings.jwt_issuer,
        algorithms=settings.jwt_algorithms or (),
    )  # fmt: skip
    return Jwts(trust)


async def _refuse_open_door(parts: Parts) -> None:
    """Raises BadSetting if strangers could come in, or if nobody could."""
    settings = parts.settings
    if settings.host in LOOPBACK or settings.insecure or await parts.entrance.can_be_passed():
        return
    raise BadSetting(
        f"Listening on {settings.host} would let anybody who reaches this machine submit tasks, and there is no token yet. "
        "Make one with `dolgo token create`, listen on 127.0.0.1, or say --insecure if something else keeps strangers out."
    )


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
