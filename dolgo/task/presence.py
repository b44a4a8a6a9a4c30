"""How a worker is known to others: by the task types it announces, and by its record among the workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Set

from msgspec.structs import replace

from dolgo.errors import BadTaskType, Refused
from dolgo.logs import SELDOM
from dolgo.runner.link import Hello
from dolgo.task.fleet import DRAINING, RUNNING, STATES, Fleet
from dolgo.task.leases import BACKOFF
from dolgo.task.manager import Manager
from dolgo.task.types import TypeInfo, WorkerInfo

log = logging.getLogger("dolgo.worker")

REANNOUNCE = 3_600.0  # seconds between two announcements of unchanged types
LOOK_EVERY = 0.5  # seconds between two looks of a busy worker whether it is to drain
START_PATIENCE = 30.0  # seconds a store that cannot be reached is waited for when the worker starts


class Presence:
    """What is announced of one worker, and when that was done last. `drain` is called once, when somebody wants it to drain."""

    def __init__(
        self, manager: Manager, fleet: Fleet, me: WorkerInfo, *, busy: Callable[[], bool], drain: Callable[[], None]
    ) -> None:
        self._manager = manager
        self._fleet = fleet
        self._me = me
        self._busy = busy
        self._drain = drain
        self._telling = asyncio.Lock()
        self._rung = 0  # rings of the bell that were heeded
        self._announced_at = 0.0  # monotonic
        self.types: Mapping[str, TypeInfo] = {}
        self.own: Set[str] = frozenset()  # those of the types that are not built in
        self.announced: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # for the first time

    def learn(self, hello: Hello) -> None:
        """These are the types and the broken files from now on; `announce` tells others."""
        for broken in set(hello.broken) - set(self._me.broken):
            log.error("The task file %s is left out:\n%s", broken.file, broken.error)
        self.types = {info.name: info for info in hello.types}
        self.own = self.types.keys() - hello.built_in
        types = tuple((info.name, info.hash) for info in hello.types)
        self._me = replace(self._me, types=types, broken=tuple(hello.broken), unfit=())

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
                log.error("The task types could not be announced: %s", error, extra=SELDOM)
                if not self.announced.done() and time.monotonic() - since > START_PATIENCE:
                    self.announced.set_exception(error)
            await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF) - 1)])
            tries += 1
        self._announced_at = time.monotonic()
        if not self.announced.done():
            self.announced.set_result(None)

    async def beat(self) -> None:
        """A heartbeat; the types are told again now and then, so that they outlive no worker by much, and when they are gone:
        a clock that was set forward lets them expire, and a store may come back without its data."""
        async with self._telling:  # one after the other, or what is older might be written last
            asked = await self._fleet.announce(self._me, every=self._me.lease / 3)
        if asked:
            self._heed()
        if self._announced_at and (self._announcement_is_old or not await self._manager.types.has(self.types.values())):
            await self._manager.types.announce(self.types.values())
            self._announced_at = time.monotonic()

    @property
    def _announcement_is_old(self) -> bool:
        return time.monotonic() - self._announced_at > REANNOUNCE

    async def hear_wishes(self) -> None:
        """Hear whether somebody wants the worker to drain: at once if that was said in this process, soon while it is busy.

        One that has nothing to do asks nobody: it hears by its next heartbeat."""
        rung = self._manager.drains.count
        if self._me.state == RUNNING and (self._busy() or rung != self._rung):
            try:
                if not await self._fleet.is_running(self._me.id):
                    self._heed()
            except Refused as error:
                log.warning("Cannot ask whether this worker is to drain: %s", error, extra=SELDOM)
        self._rung = rung
        await self._manager.drains.wait(rung, LOOK_EVERY)

    def _heed(self) -> None:
        if self._me.state == RUNNING:
            self._me = replace(self._me, state=DRAINING)
            self._drain()

    async def become(self, state: str) -> None:
        """The worker drains, or has drained; others are told now, or with the next heartbeat if the store cannot be reached."""
        self._me = replace(self._me, state=max(self._me.state, state, key=STATES.index))
        await self._tell()

    async def leave_to_others(self, unfit: Set[tuple[str, str]]) -> None:
        """The worker's code cannot decode tasks of these (name, hash): they were submitted to other code."""
        for name in sorted({name for name, _ in unfit - set(self._me.unfit)}):
            log.warning("This worker's code cannot run %s as it was submitted; it leaves those to others.", name)
        self._me = replace(self._me, unfit=tuple(sorted(unfit)))
        await self._tell()

    async def _tell(self) -> None:
        try:
            await self.beat()
        except Refused as error:
            log.warning("The store was not told how this worker is: %s", error)
