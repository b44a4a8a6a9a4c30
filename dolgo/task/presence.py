"""How a worker is known to others: by the task types it announces, and by its record among the workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from msgspec.structs import replace

from dolgo.errors import BadTaskType, Refused
from dolgo.runner.link import Hello
from dolgo.task.fleet import Fleet
from dolgo.task.leases import BACKOFF
from dolgo.task.manager import Manager
from dolgo.task.types import TypeInfo, WorkerInfo

log = logging.getLogger("dolgo.worker")

REANNOUNCE = 3_600.0  # seconds between two announcements of unchanged types
START_PATIENCE = 30.0  # seconds a store that cannot be reached is waited for when the worker starts


class Presence:
    """What is announced of one worker, and when that was done last."""

    def __init__(self, manager: Manager, fleet: Fleet, me: WorkerInfo) -> None:
        self._manager = manager
        self._fleet = fleet
        self._me = me
        self._announced_at = 0.0  # monotonic
        self.types: Mapping[str, TypeInfo] = {}
        self.announced: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # for the first time

    def learn(self, hello: Hello) -> None:
        """These are the types and the broken files from now on; `announce` tells others."""
        for broken in set(hello.broken) - set(self._me.broken):
            log.error("The task file %s is left out:\n%s", broken.file, broken.error)
        self.types = {info.name: info for info in hello.types}
        types = tuple((info.name, info.hash) for info in hello.types)
        self._me = replace(self._me, types=types, broken=tuple(hello.broken))

    def give_up(self, reason: str) -> None:
        """The types could not be loaded."""
        log.error("The task types cannot be loaded: %s", reason)
        if not self.announced.done():
            self.announced.set_exception(BadTaskType(reason))

    async def announce(self) -> None:
        """Tell which types there are: until it is done, or other types have taken their place."""
        types, tries, since = self.types, 0, time.monotonic()
        while types is self.types:
            try:
                self._me = replace(self._me, started_at=self._me.started_at or await self._manager.now())
                await self._manager.types.announce(types.values())
                await self.beat()
                break
            except Refused as error:
                log.error("The task types could not be announced: %s", error)
                if not self.announced.done() and time.monotonic() - since > START_PATIENCE:
                    self.announced.set_exception(error)
            await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF) - 1)])
            tries += 1
        self._announced_at = time.monotonic()
        if not self.announced.done():
            self.announced.set_result(None)

    async def beat(self) -> None:
        """A heartbeat; now and then the types are told again, so that they outlive no worker by much."""
        await self._fleet.announce(self._me, every=self._me.lease / 3)
        if self._announced_at and time.monotonic() - self._announced_at > REANNOUNCE:
            await self._manager.types.announce(self.types.values())
            self._announced_at = time.monotonic()

    async def drain(self) -> None:
        """The worker takes no more tasks."""
        self._me = replace(self._me, state="draining")
        await self.beat()
