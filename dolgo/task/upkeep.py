"""What is done now and then, in every process that has the store open: the list below is all of it.

Every duty is a conditional write of the store, so two processes doing it at once do no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.store.base import CASCADED, Store
from dolgo.task.announced import Announced
from dolgo.task.callbacks.courier import SUFFIX
from dolgo.task.callbacks.cursor import Book
from dolgo.task.fleet import Fleet, Seen, is_gone
from dolgo.task.schedules import Schedules
from dolgo.task.types import FINAL, Status

log = logging.getLogger("dolgo.upkeep")

DRIFT = 5.0  # seconds by which the store's time may leave the monotonic clock between two passes, or a third of a lease
AT_ONCE = 1_000  # tasks or events a write touches, so that it never holds the writer for long
ROUNDS = 500  # such writes in a row, before the next pass
UNFINISHED = [status for status in Status if status not in FINAL]


class Keeping(Struct, frozen=True):
    """The settings upkeep works by."""

    lease: float  # seconds
    keep: float  # seconds a final task is kept
    event_keep: float  # seconds
    event_limit: int  # events


class Upkeep:
    """Runs the duties until it is stopped."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        announced: Announced,
        schedules: Schedules,
        *,
        keeping: Keeping,
        host: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._announced = announced
        self._schedules = schedules
        self._keeping = keeping
        self._host = host
        self._monotonic = monotonic
        self._drift: float | None = None  # the store's time less the monotonic clock at the last pass
        self._longest = keeping.lease  # seconds: the longest lease of the workers heard of at the last pass
        self._quiet_until = float("-inf")  # monotonic: nothing is reclaimed before, because the clock jumped
        self._tasks: list[asyncio.Task[None]] = []
        self.duties: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("reclaim", 1.0, self.reclaim),  # attempts of dead workers run again
            ("expire", 1.0, self.expire),  # tasks that have not started in time are cancelled
            ("cascade", 1.0, self.cascade),  # dependents of what has ended, where there are too many for one commit
            ("schedules", 1.0, self._schedules.fire),  # tasks are submitted by the clock
            ("prune", 10.0, self.prune),  # final tasks that were kept long enough go
            ("trim", 2.0, self.trim),  # the event log and expired records are kept short
            ("types", 3_600.0, self.types),  # task types are known as long as a task of them has not ended
        ]

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._every(*duty), name=f"upkeep {duty[0]}") for duty in self.duties]

    async def stop(self) -> None:
        """End the duties. Calling it twice is harmless."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _every(self, name: str, interval: float, duty: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await duty()
            except Refused as error:
                log.warning("Upkeep (%s) waits for the store: %s", name, error, extra=SELDOM)
            except Exception:  # a duty that is not done any more would be missed much later than a traceback
                log.exception("Upkeep (%s) failed; it is tried again.", name)
            await asyncio.sleep(interval)

    # -- duties

    async def reclaim(self) -> None:
        """Queue again what dead workers held: at once if their process is gone, else when the lease is over."""
        seen = await self._fleet.all()
        gone = [worker.info.id for worker in seen if is_gone(worker.info, self._host)]
        dead = gone + [id + SUFFIX for id in gone]
        if await self._clock_jumped(seen):
            return
        taken = await self._in_rounds(lambda: self._store.reclaim(dead, AT_ONCE))
        if taken:
            log.warning("%d task(s) of dead workers are queued again.", taken)
        if gone:
            await self._fleet.leave(gone)

    async def expire(self) -> None:
        await self._in_rounds(lambda: self._store.expire(AT_ONCE))

    async def cascade(self) -> None:
        moved = CASCADED
        while moved:  # each is a commit, and others have theirs in between
            moved = await self._store.cascade(CASCADED)

    async def prune(self) -> None:
        await self._in_rounds(lambda: Book(self._store).prune(self._keeping.keep, AT_ONCE))

    async def trim(self) -> None:
        keep, most = self._keeping.event_keep, self._keeping.event_limit
        found = await Book(self._store).read()  # what has not been looked at for callbacks stays
        upto = None if found is None else found[0].seq
        await self._in_rounds(lambda: self._store.trim(keep, most, AT_ONCE, upto=upto))

    async def types(self) -> None:
        unfinished = {(line.type, line.hash) for line in await self._store.counts() if any(map(line.counts.get, UNFINISHED))}
        await self._announced.keep(unfinished)

    async def _in_rounds(self, work: Callable[[], Awaitable[int]]) -> int:
        """Repeat while there is more to do. How many items in all."""
        total = 0
        for _ in range(ROUNDS):
            done = await work()
            total += done
            if done < AT_ONCE:
                break
        return total

    async def _clock_jumped(self, seen: list[Seen]) -> bool:
        """True for one lease after the store's time and the monotonic clock drifted apart: no lease can be judged till then.

        A clock set back leaves leases that would end too late; they are shortened to what they can be at most."""
        lease = max([self._keeping.lease, *(worker.info.lease for worker in seen)])
        longest, self._longest = max(lease, self._longest), lease  # a clock set forward hides the records of the living
        monotonic = self._monotonic()
        drift = await self._store.now() - monotonic
        last, self._drift = self._drift, drift
        if last is not None and abs(drift - last) > min(DRIFT, self._keeping.lease / 3):
            log.warning("The clock jumped by %.1f s: nothing is reclaimed for %g s.", drift - last, longest)
            self._quiet_until = monotonic + longest
        if last is None or monotonic < self._quiet_until:
            await self._store.clamp(longest)
        return monotonic < self._quiet_until
