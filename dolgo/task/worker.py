"""A worker: claims tasks, has its children run them, settles what they answer, and keeps its leases meanwhile.

It runs no handler itself, so nothing a handler does can keep it from renewing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from os import getpid
from typing import Any, NamedTuple

from msgspec import Struct

from dolgo.errors import BadTaskType, Refused, StoreUnavailable
from dolgo.runner import link
from dolgo.store.base import Claim
from dolgo.task.crew import Crew, End
from dolgo.task.fleet import Fleet, birth, this_host
from dolgo.task.lookahead import LookAhead
from dolgo.task.manager import Manager
from dolgo.task.types import BrokenFile, Lease, TypeInfo, WorkerInfo

log = logging.getLogger("dolgo.worker")

ASK_EVERY = 0.5  # seconds between two looks whether a running task was asked to be cancelled by another process
MOST_UNSETTLED = 5_000  # ends that wait for the store; past it nothing is claimed
LEASE_MARGIN = 0.1  # part of the lease at whose rest running handlers are stopped if it could not be renewed
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # seconds between two tries while the store cannot be reached
REANNOUNCE = 3_600.0  # seconds between two announcements of unchanged types


class Options(Struct, frozen=True):
    """What a worker is told when it is started."""

    version: str
    slots: int
    lease: float  # seconds
    drain_timeout: float  # seconds
    queues: frozenset[str] | None  # None: all
    setup: link.Setup  # of its children
    environ: Mapping[str, str]  # theirs, beside this process's own


class Held(Struct):
    """A lease this worker holds, from the claim until the end was written."""

    lease: Lease
    until: float  # monotonic: not to be trusted past it


class Wanted(NamedTuple):
    """What to claim, and whether it is ahead of a free slot."""

    claim: Claim
    ahead: bool


class Worker:
    """One worker of a process. `start`, and `drain` or `stop` in the end."""

    def __init__(self, manager: Manager, fleet: Fleet, *, id: str, options: Options) -> None:
        self._manager = manager
        self._fleet = fleet
        self.id = id
        self._options = options
        self._held: dict[str, Held] = {}
        self._running = 0  # leases held whose attempt is not over
        self._unsettled = 0
        self._ahead = LookAhead(options.slots)
        self._types: dict[str, TypeInfo] = {}
        self._broken: tuple[BrokenFile, ...] = ()
        self._avoid: set[tuple[str, str]] = set()
        self._announced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._state = "running"
        self._started_at = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._turned_at = time.monotonic()
        self._claim_failed = False
        self._claim_in_doubt = False  # a claim may have been made whose answer never came
        self._backlog = True  # there may be more to claim at once
        self._seen = 0  # rings of the work bell that the last claim accounts for
        self._next_at: float | None = None  # when more becomes claimable
        self._wants_room = True  # the claim loop has something to do as soon as an attempt ends
        self._crew = Crew(setup=options.setup, environ=options.environ, ended=self._ended, hello=self._greeted)

    # -- life

    async def start(self) -> None:
        """Return when the children have loaded their types and these are announced. Raises BadTaskType."""
        self._started_at = await self._manager.now()
        self._crew.start()
        await self._announced
        self._run(self._beat(), "heartbeat")
        self._run(self._watch_cancels(), "cancels")
        self._claiming = self._run(self._claim_on(), "claim")

    async def drain(self) -> None:
        """Finish what runs, for `drain_timeout` seconds at most; give the rest back. Calling it twice is harmless."""
        if self._state == "draining":
            return
        self._state = "draining"
        self._manager.work.ring()
        await asyncio.wait(
            {self._claiming}, timeout=6.0
        )  # a claim under way is answered by then; cut short, its answer were lost
        self._crew.give_back_waiting()
        self._run(self._heartbeat(), "drain")
        try:
            async with asyncio.timeout(self._options.drain_timeout):
                while self._held:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            await self._give_back_rest()

    async def stop(self) -> None:
        """End the children and say goodbye; what still runs is killed and was given back by `drain`."""
        for task in self._tasks:
            task.cancel()
        self._crew.kill()
        try:
            async with asyncio.timeout(2.0):
                await self._crew.closed()
                await self._fleet.leave([self.id])
        except (TimeoutError, Refused) as error:
            log.warning("The worker could not say goodbye: %s", error or "time ran out")

    def kill(self) -> None:
        """Kill the children at once."""
        self._crew.kill()

    def reload(self) -> None:
        """Load the task files anew; what runs goes on in the old children."""
        self._avoid.clear()
        self._crew.reload()

    @property
    def turned_ago(self) -> float:
        """Seconds since the claim loop last came round."""
        return time.monotonic() - self._turned_at

    @property
    def claims(self) -> bool:
        """The last claim reached the store."""
        return not self._claim_failed

    # -- claiming

    async def _claim_on(self) -> None:
        while self._state == "running":
            seen = self._manager.work.count
            wanted = self._wanted()
            if not wanted or (wanted[0].ahead and not self._backlog):
                await self._manager.work.wait(seen, self._options.lease)
                self._turned_at = time.monotonic()
            elif self._backlog:
                await self._claim_all(wanted)
            else:
                await self._claim_all(wanted, seen=self._seen, wait=await self._patience())

    async def _claim_all(self, wanted: list[Wanted], *, seen: int | None = None, wait: float = 0.0) -> None:
        """Make these claims in one commit and hand on what they bring; with `seen`, once there may be something to claim."""
        try:
            answers = await asyncio.gather(*[self._manager.claim(claim, seen=seen, wait=wait) for claim, _ in wanted])
        except Refused as error:
            await self._not_claimed(error)
            return
        self._turned_at = time.monotonic()
        self._claim_failed = False
        for (_, ahead), answer in zip(wanted, answers, strict=True):
            self._take(answer.leases, ahead=ahead)
        self._backlog = any(len(answer.leases) == claim.limit for (claim, _), answer in zip(wanted, answers, strict=True))
        self._seen, self._next_at = answers[0].seen, answers[0].next_at

    def _wanted(self) -> list[Wanted]:
        """What to claim now: for the free slots any type, and ahead of them types measured as short."""
        if not self._crew.ready or self._unsettled > MOST_UNSETTLED:
            return []
        types = frozenset(self._types)
        free = self._options.slots - self._running
        room = self._crew.most_singles - self._crew.singles_busy
        if room < free:  # no more than there are processes for
            types, free = (types, room) if room > 0 else (types - self._crew.blocking, free)
        short = self._ahead.short(types - self._crew.blocking)
        more = 0 if self._crew.singles_busy else self._ahead.more(max(0, -free), short)
        self._wants_room = free <= 0 or types != self._types.keys()
        claims = [Wanted(self._claim(types, free), False), Wanted(self._claim(short, more), True)]
        return [wanted for wanted in claims if wanted.claim.types and wanted.claim.limit > 0]

    def _claim(self, types: frozenset[str], limit: int) -> Claim:
        return Claim(self.id, limit, self._options.lease, types, self._options.queues, frozenset(self._avoid))

    def _take(self, leases: Sequence[Lease], *, ahead: bool) -> None:
        until = time.monotonic() + self._options.lease
        for lease in leases:
            self._held[lease.id] = Held(lease, until)
        self._running += len(leases)
        if self._state != "running":
            self._ended([(lease, link.Report(0, link.Kind.UNSTARTED)) for lease in leases])
        elif leases:
            self._crew.run(leases, ahead=ahead)

    async def _patience(self) -> float:
        """Seconds until something becomes claimable by time alone; now and then it looks without a reason, to be sure."""
        if self._next_at is None:
            return self._options.lease
        return min(self._options.lease, max(0.0, self._next_at - await self._manager.now()))

    async def _not_claimed(self, error: Refused) -> None:
        if not self._claim_failed:
            log.error("Tasks cannot be claimed: %s", error)
        self._claim_failed = self._claim_in_doubt = self._backlog = True
        await asyncio.sleep(BACKOFF[-1] / 2)

    # -- settling

    def _ended(self, ends: list[End]) -> None:
        """Attempts are over: their slots are free, their ends go to the store."""
        self._running -= len(ends)
        self._unsettled += len(ends)
        for lease, end in ends:
            if isinstance(end, link.Report):
                self._ahead.measured(lease.type, end.seconds)
                if end.kind is link.Kind.MISMATCH:
                    log.warning("This worker's code cannot run %s as it was submitted; it leaves those to others.", lease.type)
                    self._avoid.add((lease.type, lease.hash))
        if self._wants_room:
            self._manager.work.ring()
        self._run(self._settle(ends), "settle")

    async def _settle(self, ends: list[End]) -> None:
        """Write the ends, however long the store takes: only a lease that is lost makes them worthless."""
        tries = 0
        while True:
            try:
                took = await self._manager.settle(ends)
                break
            except StoreUnavailable as error:
                log.log(logging.WARNING if tries else logging.INFO, "%d ends wait for the store: %s", len(ends), error)
                await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF) - 1)])
                tries += 1
        self._unsettled -= len(ends)
        for (lease, _), settled in zip(ends, took, strict=True):
            self._let_go(lease)
            if not settled:
                log.warning("The end of attempt %d of task %s came too late: the lease was lost.", lease.attempt, lease.id)
        if not self._held:
            self._idle.set()

    def _let_go(self, lease: Lease) -> None:
        held = self._held.get(lease.id)
        if held is not None and held.lease.token == lease.token:
            del self._held[lease.id]

    async def _give_back_rest(self) -> None:
        """The time to drain is over: what still runs is killed, and free for others at once."""
        running = self._crew.leases()
        self._crew.kill()
        log.warning("%d task(s) did not end in time and are given back.", len(running))
        try:
            async with asyncio.timeout(5.0):
                await self._manager.give_back(running, started=True)
        except (TimeoutError, Refused) as error:
            log.error("They could not be given back and wait for their leases to end: %s", error or "time ran out")

    # -- leases

    async def _beat(self) -> None:
        """Renew the leases and the worker's own record, three times a lease."""
        every = self._options.lease / 3
        reannounce = time.monotonic() + REANNOUNCE
        while True:
            await asyncio.sleep(every)
            try:
                await self._renew()
                await self._heartbeat()
                if time.monotonic() > reannounce:
                    reannounce = time.monotonic() + REANNOUNCE
                    await self._manager.types.announce(self._types.values())
            except Refused as error:
                log.error("The leases could not be renewed: %s", error)
                self._stop_doubtful()

    async def _renew(self) -> None:
        sent_at = time.monotonic()
        tokens = {id: held.lease.token for id, held in self._held.items()}
        if not tokens and not self._claim_in_doubt:
            return
        self._claim_in_doubt = False
        answer = await self._manager.renew(self.id, tokens, self._options.lease)
        lost = set(answer.lost)
        for id in tokens:
            if id in self._held and id not in lost and self._held[id].lease.token == tokens[id]:
                self._held[id].until = sent_at + self._options.lease
        self._crew.cancel(lost | set(answer.cancel_asked))
        unknown = [lease for lease in answer.unnamed if lease.id not in self._held]
        if unknown:
            log.warning("%d task(s) were claimed by an answer that got lost; they are given back.", len(unknown))
            await self._manager.give_back(unknown, started=False)

    def _stop_doubtful(self) -> None:
        """Stop handlers whose lease may be over: somebody else may run these tasks by now. Ready ends are still offered."""
        soon = time.monotonic() + self._options.lease * LEASE_MARGIN
        self._crew.cancel({id for id, held in self._held.items() if held.until < soon})

    async def _watch_cancels(self) -> None:
        while True:
            await self._manager.cancels.wait(self._manager.cancels.count, ASK_EVERY)
            if self._running:
                try:
                    asked = await self._manager.asked(self.id)
                except Refused as error:
                    log.warning("Cannot ask which tasks to cancel: %s", error)
                    continue
                if asked:
                    self._crew.cancel(set(asked))

    # -- being known

    def _greeted(self, hello: link.Hello | link.Refused) -> None:
        """A loop child has loaded the types, or refuses to."""
        if isinstance(hello, link.Refused):
            if not self._announced.done():
                self._announced.set_exception(BadTaskType(hello.reason))
            log.error("The task types cannot be loaded: %s", hello.reason)
            return
        for broken in set(hello.broken) - set(self._broken):
            log.error("The task file %s is left out:\n%s", broken.file, broken.error)
        self._types = {info.name: info for info in hello.types}
        self._broken = tuple(hello.broken)
        self._run(self._announce(), "announce")

    async def _announce(self) -> None:
        try:
            await self._manager.types.announce(self._types.values())
            await self._heartbeat()
        except Refused as error:
            if not self._announced.done():
                self._announced.set_exception(error)
            log.error("The task types could not be announced: %s", error)
            return
        if not self._announced.done():
            self._announced.set_result(None)
        self._manager.work.ring()

    async def _heartbeat(self) -> None:
        options = self._options
        queues = None if options.queues is None else tuple(sorted(options.queues))
        info = WorkerInfo(
            id=self.id, host=socket.gethostname(), pid=getpid(), version=options.version, state=self._state, queues=queues,
            types=tuple((info.name, info.hash) for info in self._types.values()), broken=self._broken, slots=options.slots, lease=options.lease,
            started_at=self._started_at, boot=this_host(), birth=birth(getpid()) or 0.0,
        )  # fmt: skip
        await self._fleet.announce(info, every=options.lease / 3)

    def _run(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("The worker's %s ended with an error.", task.get_name(), exc_info=error)
