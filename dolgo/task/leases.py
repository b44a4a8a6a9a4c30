"""The leases a worker holds: kept from the claim until the end of the attempt is written, and renewed meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from msgspec import Struct

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.runner.link import Kind, Report
from dolgo.task.manager import Manager
from dolgo.task.types import Lease
from dolgo.task.verdict import End, Ended, Interrupted, is_made_of_stopping

log = logging.getLogger("dolgo.worker")

MARGIN = 0.1  # part of the lease at whose rest running handlers are stopped if it could not be renewed
ANSWERED_WITHIN = 6.0  # seconds; a claim that was made has been answered by then, or never will be
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between two tries while the store cannot be reached


class Held(Struct):
    """A lease, and what this worker knows of it."""

    lease: Lease
    until: float  # monotonic: not to be trusted past it
    cancel_asked: bool = False
    doubted: bool = False  # its handler was told to stop because of that


class Leases:
    """What one worker holds. `stop` is called with the tokens under which no handler must run any more, `write` with ends."""

    def __init__(
        self,
        manager: Manager,
        *,
        worker: str,
        seconds: float,
        stop: Callable[[set[str]], None],
        write: Callable[[Sequence[Ended]], Awaitable[Sequence[bool]]],
    ) -> None:
        self._manager = manager
        self._worker = worker
        self._seconds = seconds
        self._stop = stop
        self._write = write
        self._held: dict[str, Held] = {}  # by task
        self._strays: dict[str, float] = {}  # tokens the store says this worker has; since when that is known (monotonic)
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, leases: Iterable[Lease]) -> None:
        """Claimed just now."""
        until = time.monotonic() + self._seconds
        stale: set[str] = set()
        for lease in leases:
            before = self._held.get(lease.id)
            if before is not None:  # it was taken from this worker, and came back before that was noticed
                stale.add(before.lease.token)
            self._held[lease.id] = Held(lease, until)
        if stale:
            self._stop(stale)

    async def emptied(self) -> None:
        """Return once every end is written."""
        while self._held:
            self._emptied.clear()
            await self._emptied.wait()

    # -- ends

    async def settle(self, ends: Sequence[Ended]) -> None:
        """Write the ends, however long the store takes: only a lease that is lost makes them worthless."""
        ends = [self._judged(*end) for end in ends]
        took = await self._written(ends)
        for (lease, _), settled in zip(ends, took, strict=True):
            held = self._held.get(lease.id)
            if held is not None and held.lease.token == lease.token:
                del self._held[lease.id]
            if not settled:
                log.warning("The end of attempt %d of task %s came too late: the lease was lost.", lease.attempt, lease.id)
        if not self._held:
            self._emptied.set()

    def _judged(self, lease: Lease, end: End) -> Ended:
        """A handler that was stopped because its lease was in doubt has not been cancelled by anybody: the task runs again."""
        held = self._held.get(lease.id)
        if held is None or held.lease.token != lease.token or not held.cancel_asked:
            doubted = held is not None and held.doubted
            if isinstance(end, Report) and (end.kind is Kind.CANCELLED or (doubted and is_made_of_stopping(end))):
                return lease, Interrupted()
        return lease, end

    async def _written(self, ends: Sequence[Ended]) -> Sequence[bool]:
        tries = 0
        while True:
            try:
                return await self._write(ends)
            except Refused as error:
                log.log(
                    logging.WARNING if tries else logging.INFO, "%d end(s) wait for the store: %s", len(ends), error, extra=SELDOM
                )
            except Exception:
                log.exception("%d end(s) could not be written.", len(ends))
                if tries == len(BACKOFF):  # no outage: it is better to let the leases run out than to renew them for ever
                    return [False] * len(ends)
            await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF) - 1)])
            tries += 1

    # -- renewal

    async def renew(self) -> list[Lease]:
        """Lengthen all leases, and stop what was lost or is to be cancelled.

        Answers what the store says this worker holds and it does not know of: claims whose answer is under way or got lost."""
        sent_at = time.monotonic()
        tokens = {id: held.lease.token for id, held in self._held.items()}
        answer = await self._manager.renew(self._worker, tokens, self._seconds)
        lost = {tokens[id] for id in answer.lost}
        for id, token in tokens.items():
            held = self._held.get(id)
            if held is not None and held.lease.token == token and token not in lost:
                held.until = sent_at + self._seconds
        self._stop(lost | self._to_cancel(answer.cancel_asked))
        return [lease for lease in answer.unnamed if not self._knows(lease)]

    async def beat(self) -> None:
        """Renew. What stays unknown for longer than a claim takes to be answered is given back."""
        if not self._held and not self._strays:
            return
        strays, now = await self.renew(), time.monotonic()
        self._strays = {lease.token: self._strays.get(lease.token, now) for lease in strays}
        await self._give_back([lease for lease in strays if self._strays[lease.token] <= now - ANSWERED_WITHIN])

    async def reconcile(self) -> None:
        """Give back at once what this worker holds unknowingly. Only while no claim is under way."""
        await self._give_back(await self.renew())

    async def _give_back(self, strays: Sequence[Lease]) -> None:
        if strays:
            log.warning("%d task(s) were claimed by an answer that got lost; they are given back.", len(strays))
            await self._manager.give_back(strays, started=False)

    def stop_doubtful(self) -> None:
        """Stop handlers whose lease may be over: somebody else may run these tasks by now. Ready ends are still offered."""
        soon = time.monotonic() + self._seconds * MARGIN
        doubtful = [held for held in self._held.values() if held.until < soon]
        for held in doubtful:
            held.doubted = True
        if doubtful:
            self._stop({held.lease.token for held in doubtful})

    # -- cancels

    async def hear_cancels(self) -> None:
        """Stop the handlers of tasks that somebody wants cancelled."""
        tokens = self._to_cancel(await self._manager.asked(self._worker))
        if tokens:
            self._stop(tokens)

    def _to_cancel(self, ids: Iterable[str]) -> set[str]:
        """The tokens of these tasks, of those that were not asked for before."""
        asked = [held for id in ids if (held := self._held.get(id)) is not None and not held.cancel_asked]
        for held in asked:
            held.cancel_asked = True
        return {held.lease.token for held in asked}

    def _knows(self, lease: Lease) -> bool:
        held = self._held.get(lease.id)
        return held is not None and held.lease.token == lease.token
