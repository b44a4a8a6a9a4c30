"""Runs deliveries in this process, in slots of their own: they take no child and no slot of other tasks, and wait for no backlog.

A courier is a worker of one type. It is known by its worker's id and a suffix, so that what it held is taken up as soon as that
worker's process is known to be gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.base import Claim, Store
from dolgo.task.callbacks.cursor import Book
from dolgo.task.callbacks.wish import QUEUE, TYPE
from dolgo.task.leases import Leases
from dolgo.task.manager import Manager
from dolgo.task.types import ErrorCode, Lease

log = logging.getLogger("dolgo.callbacks")

SUFFIX = "+callbacks"  # of the worker's id
SLOTS = 50  # deliveries at once: each is little more than a socket
PER_HOST = 4  # of them to one host, over all processes: one that never answers leaves the other slots to others
POLL = 1.0  # seconds between two looks for deliveries that other processes have submitted
AFTER_A_FAULT = 1.0  # seconds
LEAVE = 2.0  # seconds for giving back what was cut short
GATE = f"type/{TYPE}"


class Delivers(Protocol):
    """Makes a delivery; how it went."""

    async def deliver(self, lease: Lease) -> Report: ...


class Courier:
    """`start`, and `drain` and `stop` in the end. `post` is called with the first delivery: it brings in a good deal."""

    def __init__(
        self, manager: Manager, store: Store, book: Book, *, worker: str, lease: float, post: Callable[[], Delivers]
    ) -> None:
        self._manager = manager
        self._store = store
        self._book = book
        self._make_post = post
        self._post: Delivers | None = None
        self._lease = lease
        self.id = worker + SUFFIX
        self._running: dict[str, asyncio.Task[None]] = {}  # by token
        self._gated = False  # the limit for each host is known to be set
        self._draining = False
        self._next_at: float | None = None
        self._leases = Leases(manager, worker=self.id, seconds=lease, stop=self._cancel, write=manager.settle)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(step), name="courier") for step in (self._turn, self._beat)]

    async def drain(self, within: float) -> None:
        """Claim no more; what runs has so many seconds to end, and the rest is given back."""
        self._draining = True
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=within)

    async def stop(self) -> None:
        """Calling it twice is harmless. What is cut short runs again, here or elsewhere."""
        tasks = [*self._tasks, *self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LEAVE)

    async def _keep(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Refused as error:
                log.warning("Deliveries wait for the store: %s", error, extra=SELDOM)
                await asyncio.sleep(AFTER_A_FAULT)
            except Exception:
                log.exception("Deliveries cannot be claimed; it is tried again.")
                await asyncio.sleep(AFTER_A_FAULT)

    # -- claiming

    async def _turn(self) -> None:
        """Claim what there is room for; if nothing is claimable, wait until something may be."""
        begun, logged = self._book.begun.count, self._store.log.count
        if self._draining or not await self._in_use():
            await self._book.begun.wait(begun, POLL)
            return
        free = SLOTS - len(self._running)
        if free:
            claim = Claim(self.id, free, self._lease, frozenset({TYPE}), frozenset({QUEUE}))
            claimed = await self._manager.claim(claim)
            self._next_at = claimed.next_at
            self._take(claimed.leases)
            if len(claimed.leases) == free:
                return
        await self._pause(begun, logged)

    async def _in_use(self) -> bool:
        """Whether any task ever had a callback. If so, the limit for each host is set before anything is claimed."""
        if self._gated:
            return True
        if await self._book.read() is None:
            return False
        gate = (await self._manager.gates()).get(GATE)
        if gate is None or gate.max_running_per_key != PER_HOST:
            await self._store.gate(GATE, {"max_running_per_key": PER_HOST})
        self._gated = True
        return True

    async def _pause(self, begun: int, logged: int) -> None:
        """Until there are new deliveries, a slot is free, a retry is due, or something happened that may be a delivery."""
        while True:
            left = POLL
            if self._next_at is not None:
                left = min(left, max(0.0, self._next_at - await self._manager.now()))
            if await self._book.begun.wait(begun, left) or left < POLL or self._store.log.count != logged:
                return

    def _take(self, leases: Sequence[Lease]) -> None:
        self._leases.take(leases)
        for lease in leases:
            self._running[lease.token] = asyncio.create_task(self._run(lease), name="delivery")

    # -- delivering

    async def _run(self, lease: Lease) -> None:
        try:
            report = await self._delivered(lease)
        except asyncio.CancelledError:
            report = Report(0, Kind.CANCELLED)
        except Exception as error:  # a fault of ours: told in the attempt, tried again as any task is
            log.exception("The delivery %s failed.", lease.id)
            report = Report(0, Kind.ERROR, error=Fault(ErrorCode.HANDLER_ERROR, f"{type(error).__name__}: {error}"))
        if report.error is not None:
            log.info("Delivery %s, attempt %d: %s", lease.id, lease.attempt, report.error.message)
        try:
            await self._leases.settle([(lease, report)])
        finally:
            del self._running[lease.token]
            self._book.begun.ring()

    async def _delivered(self, lease: Lease) -> Report:
        if self._post is None:
            self._post = self._make_post()
        return await self._post.deliver(lease)

    def _cancel(self, tokens: set[str]) -> None:
        for token in tokens & self._running.keys():
            self._running[token].cancel()

    async def _beat(self) -> None:
        await asyncio.sleep(self._lease / 3)
        self._leases.stop_doubtful()
        await self._leases.hear_cancels()
        await self._leases.beat()
