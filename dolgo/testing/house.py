"""The service in one process: the real manager on a store in memory, with a clock that is moved by hand and no children."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec

from dolgo.api import app as web
from dolgo.api.access.entrance import Entrance
from dolgo.api.dispatch import App
from dolgo.errors import DolgoError
from dolgo.metrics.tally import Tally
from dolgo.runner.registry import TaskType
from dolgo.store.base import Claim
from dolgo.store.memory import MemoryStore
from dolgo.task.announced import Announced
from dolgo.task.audit import Audit
from dolgo.task.figures import Figures
from dolgo.task.fleet import Fleet, described
from dolgo.task.follow import Follow
from dolgo.task.health import Health
from dolgo.task.manager import Manager, Rules
from dolgo.task.notify import Notify
from dolgo.task.schedules import Schedules
from dolgo.task.tokens import Tokens
from dolgo.task.types import FINAL, Task
from dolgo.testing.inside import Inside
from dolgo.version import __version__

WORKER = "testing"
FOR_EVER = 1e9  # seconds: no lease ends because time was moved
AT_ONCE = 500  # dependents that one commit releases or cancels
TICK = 0.001  # seconds time moves at least, where something becomes claimable at a time that has come


class Stuck(DolgoError):
    """A task will not end, whatever time it is given."""


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self, now: float | None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now


class House:
    """Used on one event loop: `open` before, `close` after."""

    def __init__(self, types: Mapping[str, TaskType], *, slots: int, now: float | None) -> None:
        self.clock = Clock(now)
        self._types = types
        self._slots = slots
        self._store = MemoryStore(clock=self.clock)
        self._fleet = Fleet(self._store)
        self._notify = Notify(self._store)
        announced = Announced(self._store)
        # As long as the backoff may be at most: a test has no use for luck.
        self.manager = Manager(
            self._store, rules=Rules(), types=announced, notify=self._notify, fleet=self._fleet, clock=self.clock,
            random=lambda: 1.0,
        )  # fmt: skip
        self._ended = asyncio.Event()
        self.inside = Inside(types, self.manager, ended=self._ended.set)

    async def open(self) -> App:
        """The web of it, once its types are announced."""
        await self._store.open()
        infos = [task_type.info for task_type in self._types.values()]
        await self.manager.types.announce(infos)
        me = described(WORKER, version=__version__, queues=None, slots=self._slots, lease=FOR_EVER)
        me = msgspec.structs.replace(me, types=tuple((info.name, info.hash) for info in infos))
        await self._fleet.announce(me, every=FOR_EVER)
        health = Health(self._store, None, lease=FOR_EVER, web=True)
        schedules = Schedules(self._store, self.manager)
        tally = Tally()
        figures = Figures(self.manager, self._fleet, None, tally, version=__version__, slots=self._slots, whole=True)
        return web.create(
            self.manager, self._fleet, schedules, health=health, limits=web.Limits(), version=__version__,
            follow=Follow(self._store, self._notify), figures=figures, tally=tally,
            entrance=Entrance(Tokens(self._store)), audit=Audit(self._store),
        )  # fmt: skip

    async def close(self) -> None:
        """Stop what runs."""
        await self.inside.close()
        self._notify.close()
        await self._store.close()

    async def begin(self) -> None:
        """Begin what may be claimed now, as far as there are slots; `async def` handlers come to their first pause."""
        await self._claim()
        for _ in range(10):  # turns of the loop: a task takes some until its handler has been entered
            await asyncio.sleep(0)

    async def idle(self) -> float | None:
        """Run all that may run now. When there is more to run, if time alone brings it about."""
        while True:
            await self._settle()
            next_at = await self._claim()
            if not len(self.inside):
                return next_at
            self._ended.clear()
            if not self.inside.ends:
                await self._ended.wait()

    async def move(self, seconds: float) -> None:
        """Let time pass, and run on the way what it brings about."""
        until = self.clock.now + seconds
        while (next_at := await self.idle()) is not None and next_at <= until:
            self._come_to(next_at)
        self.clock.now = max(until, self.clock.now)
        await self.idle()

    async def end_of(self, id: str, timeout: float | None) -> Task:
        """The task once it has ended, with time moved on as far as that takes, or by `timeout`. Raises `NotFound` and `Stuck`."""
        until = None if timeout is None else self.clock.now + timeout
        while True:
            next_at = await self.idle()
            task = await self.manager.get(id)
            if task.status in FINAL:
                return task
            if until is not None and (next_at is None or next_at > until):
                self.clock.now = max(until, self.clock.now)
                return task
            if next_at is None:
                reason = await self.manager.waiting_for(task)
                raise Stuck(f"The task {id} will not end: {reason.text if reason else 'it does not run.'}")
            self._come_to(next_at)

    async def pass_on_cancels(self) -> None:
        """Tell handlers that run, and whose tasks were cancelled, to stop."""
        self.inside.cancel(set(await self.manager.asked(WORKER)))

    def raised_by(self, id: str) -> BaseException | None:
        """What the newest attempt of a task raised."""
        return self.inside.raised.get(id)

    def _come_to(self, moment: float) -> None:
        self.clock.now = max(moment, self.clock.now + TICK)

    async def _claim(self) -> float | None:
        while await self._store.cascade(AT_ONCE):
            pass
        room = self._slots - len(self.inside)
        if room <= 0:
            return None
        claimed = await self.manager.claim(Claim(WORKER, room, FOR_EVER, frozenset(self._types)))
        for lease in claimed.leases:
            self.inside.begin(lease)
        return claimed.next_at

    async def _settle(self) -> None:
        ends, self.inside.ends = self.inside.ends, []
        if ends:
            await self.inside.notes.send(self.inside.notes.take([lease.token for lease, _ in ends]))
            await self.manager.settle(ends)
