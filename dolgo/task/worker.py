"""A worker: claims tasks, has its children run them, settles what they answer, and keeps its leases meanwhile.

It runs no handler itself, so nothing a handler does can keep it from renewing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence, Set
from typing import Any

from msgspec import Struct, field

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.metrics.tally import Tally
from dolgo.runner import link
from dolgo.store.base import Claim, Claimed
from dolgo.task.crew import Crew
from dolgo.task.ear import deaf
from dolgo.task.fleet import DRAINED, DRAINING, Fleet, described
from dolgo.task.leases import BACKOFF, MARGIN, Leases
from dolgo.task.lookahead import LookAhead
from dolgo.task.manager import Manager
from dolgo.task.notes import Notes
from dolgo.task.presence import Presence
from dolgo.task.types import Lease, TypeInfo
from dolgo.task.verdict import UNSTARTED, Ended
from dolgo.task.wants import Wanted, Wants

log = logging.getLogger("dolgo.worker")

ASK_EVERY = 0.5  # seconds between two looks whether a running task was asked to be cancelled by another process
MOST_UNSETTLED = 5_000  # ends that wait for the store; past it nothing is claimed
AFTER_A_FAULT = 1.0  # seconds
ANSWER = 6.0  # seconds within which the store answers a claim, or says that it does not
GIVE_BACK = 5.0  # seconds for giving back what did not end in time
LEAVE = 2.0  # seconds for the last goodbye


class Options(Struct, frozen=True):
    """What a worker is told when it is started."""

    version: str
    slots: int
    lease: float  # seconds
    drain_timeout: float  # seconds
    queues: frozenset[str] | None  # None: all
    setup: link.Setup  # of its children
    environ: Mapping[str, str]  # theirs
    tally: Tally = field(default_factory=Tally)
    hear: Callable[[Mapping[str, TypeInfo], int], None] = deaf  # told its types and free slots once a turn


class Worker:
    """One worker of a process. `start`, and `drain` and `stop` in the end."""

    def __init__(self, manager: Manager, fleet: Fleet, *, id: str, options: Options) -> None:
        self._manager = manager
        self._fleet = fleet
        self.id = id
        self._options = options
        self.running = 0  # leases held whose attempt is not over
        self._over: list[Ended] = []  # ends of this turn of the loop
        self._ahead = LookAhead()
        self.draining = False  # true: it claims no more, for good
        self._drain: asyncio.Task[None] | None = None
        self._stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._claiming: asyncio.Task[None] | None = None
        self._asked: list[asyncio.Task[Claimed]] = []  # claims under way
        self._turned_at = time.monotonic()
        self._failed = 0  # claims in a row that did not reach the store
        self._in_doubt = False  # a claim may have been made whose answer never came
        self._backlog = True  # there may be more to claim at once
        self._whole = False  # the last claims would have taken a task of any type
        self._seen = 0  # rings of the work bell that the last claims account for
        self._next_at: float | None = None  # when more becomes claimable
        self._wants_room = True  # the claim loop has something to do as soon as an attempt ends
        self._notes = Notes(manager)
        self._crew = Crew(
            setup=options.setup, environ=options.environ, ended=self._ended, hello=self._greeted, wrote=self._notes.wrote,
            ask=manager.ask, tally=options.tally,
        )  # fmt: skip
        self._leases = Leases(manager, worker=id, seconds=options.lease, stop=self._crew.cancel, write=self._write)
        like = Claim(id, 0, options.lease, frozenset(), options.queues)
        self._wants = Wants(self._crew, self._ahead, slots=options.slots, like=like)
        me = described(id, version=options.version, queues=options.queues, slots=options.slots, lease=options.lease)
        self.drain_asked = asyncio.Event()  # by somebody in the store; it drains by itself then
        self._presence = Presence(manager, fleet, me, busy=lambda: self.running > 0, drain=self._drain_as_asked)

    # -- life

    async def start(self) -> None:
        """Return when the children have loaded their types and these are announced. Raises BadTaskType, StoreUnavailable."""
        self._crew.start()
        await self._presence.announced
        self._keep("heartbeat", self._beat)
        self._keep("doubts", self._doubt)
        self._keep("cancels", self._hear_cancels)
        self._keep("wishes", self._presence.hear_wishes)
        self._keep("notes", self._notes.step)
        self._claiming = self._keep("claim", self._turn)

    async def drain(self) -> None:
        """Finish what runs, for `drain_timeout` seconds at most; give the rest back. Called twice, both wait for the same end."""
        if self._drain is None:
            self.draining = True
            self._drain = self._run(self._end_gently(), "drain")
        await asyncio.wait({self._drain})

    async def _end_gently(self) -> None:
        self._options.hear(self._presence.types, 0)
        if self._claiming is not None:  # an answer under way is waited for; cut short, its tasks were lost until their leases end
            self._look_anew()
            await asyncio.wait({self._claiming}, timeout=ANSWER)
        self._crew.drain()
        said = self._run(self._say_draining(), "news")
        await asyncio.wait({said}, timeout=ANSWER)  # it may find leases of a claim whose answer never came, and gives them back
        try:
            async with asyncio.timeout(self._options.drain_timeout):
                await self._leases.emptied()
        except TimeoutError:
            await self._give_back_rest()

    async def stop(self) -> None:
        """End the children and say goodbye; what still runs is killed and was given back by `drain`."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        self._crew.kill()
        try:
            async with asyncio.timeout(LEAVE):
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._crew.closed()
                await self._fleet.leave([self.id])
        except (TimeoutError, Refused) as error:
            log.warning("The worker could not say goodbye: %s", str(error) or "time ran out.")

    def kill(self) -> None:
        """Kill the children at once."""
        self._crew.kill()

    def reload(self) -> None:
        """Load the task files anew; what runs goes on in the old children."""
        if not self.draining:
            self._crew.reload()

    @property
    def turned_ago(self) -> float:
        """Seconds since the claim loop last came round."""
        return time.monotonic() - self._turned_at

    @property
    def claims(self) -> bool:
        """The last claim reached the store."""
        return not self._failed

    @property
    def own_types(self) -> Set[str]:
        """The names of the task types it runs that are not built in."""
        return self._presence.own

    async def _say_draining(self) -> None:
        try:
            if self._in_doubt:
                await self._leases.reconcile()
        except Refused as error:
            log.warning("What this worker may hold unknowingly waits for its leases to end: %s", error)
        await self._presence.become(DRAINING)

    def _drain_as_asked(self) -> None:
        log.info("Somebody wants this worker to drain: running tasks have %g s to end.", self._options.drain_timeout)
        self.drain_asked.set()
        self._run(self._drain_and_say(), "drain")

    async def _drain_and_say(self) -> None:
        await self.drain()
        await self._presence.become(DRAINED)

    async def _give_back_rest(self) -> None:
        """The time to drain is over: what still runs is killed, and free for others as soon as it is dead. What had been asked to
        stop has stopped, and what its child could still tell counts."""
        if self.running:
            log.warning("%d task(s) did not end in time and are given back.", self.running)
        self._crew.kill()
        try:
            async with asyncio.timeout(GIVE_BACK):
                await self._leases.settle(await self._crew.closed())
                await self._leases.emptied()
        except (TimeoutError, Refused) as error:
            log.error("They could not be given back and wait for their leases to end: %s", str(error) or "time ran out.")

    # -- claiming

    async def _turn(self) -> None:
        """Claim what there is room for; if nothing is claimable, wait until something may be."""
        self._turned_at = time.monotonic()
        if self._in_doubt:
            await self._ask_what_is_held()
            return
        seen = self._manager.work.count
        wanted = self._wanted()
        self._options.hear(self._presence.types, self._options.slots - self.running if wanted.claims else 0)
        if not wanted.claims:
            await self._manager.work.wait(seen, self._options.lease)
        elif self._backlog:
            await self._claim(wanted)
        elif self._whole and wanted.whole:
            await self._claim(wanted, seen=self._seen, wait=await self._patience())
        else:
            await self._manager.work.wait(self._seen, await self._patience())
            self._backlog = True

    def _wanted(self) -> Wanted:
        unsettled = len(self._leases) - self.running
        wanted = self._wants.now(self._presence.types.keys(), running=self.running)
        if unsettled > MOST_UNSETTLED:
            wanted = Wanted([], whole=False)
        self._wants_room = not wanted.whole
        return wanted

    async def _claim(self, wanted: Wanted, *, seen: int | None = None, wait: float = 0.0) -> None:
        """Make these claims in one commit and hand on what they bring; with `seen`, once there may be something to claim."""
        claim = self._manager.claim
        self._backlog = False  # from here on: an attempt that ends meanwhile makes room that these claims know nothing of
        self._seen = self._manager.work.count
        self._asked = [asyncio.create_task(claim(asked, seen=seen, wait=wait)) for asked, _ in wanted.claims]
        try:
            await asyncio.wait(self._asked)
        finally:
            asked, self._asked = self._asked, []
            for task in asked:
                task.cancel()
        self._whole = wanted.whole
        answers: list[Claimed] = []
        for task, (claimed, within) in zip(asked, wanted.claims, strict=True):
            if task.cancelled():
                self._in_doubt = True
            elif error := task.exception():
                self._not_claimed(error)
            else:
                answers.append(task.result())
                self._claimed(answers[-1], claimed.limit, within)
        if answers:  # what one claim may not have, another may: the soonest counts
            self._seen = min(answer.seen for answer in answers)
            self._next_at = min((answer.next_at for answer in answers if answer.next_at is not None), default=None)

    def _claimed(self, answer: Claimed, limit: int, within: float) -> None:
        self._failed = 0
        self._backlog = self._backlog or len(answer.leases) == limit
        if answer.leases:
            self._take(answer.leases, within)

    def _take(self, leases: Sequence[Lease], within: float) -> None:
        self._leases.take(leases)
        self.running += len(leases)
        if self.draining:
            self._ended([(lease, UNSTARTED) for lease in leases])
        else:
            self._crew.run(leases, within=within)

    async def _patience(self) -> float:
        """Seconds until something becomes claimable by time alone; now and then it looks without a reason, to be sure."""
        if self._next_at is None:
            return self._options.lease
        return min(self._options.lease, max(0.0, self._next_at - await self._manager.now()))

    def _not_claimed(self, error: BaseException) -> None:
        if not self._failed:
            log.error("Tasks cannot be claimed: %s", error, exc_info=None if isinstance(error, Refused) else error, extra=SELDOM)
        self._failed += 1
        self._in_doubt = True

    async def _ask_what_is_held(self) -> None:
        """After a claim without an answer: no other is made before it is known what that one took."""
        if self._failed:
            await asyncio.sleep(BACKOFF[min(self._failed, len(BACKOFF)) - 1])
        try:
            await self._leases.reconcile()
        except Refused:
            self._failed += 1
        else:
            self._in_doubt = False
            self._backlog = True

    def _look_anew(self) -> None:
        """What to claim has changed: a claim that waits for work is called off."""
        self._backlog = True
        for claim in self._asked:
            claim.cancel()
        self._manager.work.ring()

    # -- ends

    def _ended(self, ends: list[Ended]) -> None:
        """Attempts are over: their slots are free, their ends go to the store."""
        self.running -= len(ends)
        blocking = self._crew.blocking
        for lease, end in ends:
            if isinstance(end, link.Report):
                self._options.tally.ran(lease.queue, lease.type, end.seconds)
                self._ahead.measured(lease.type, end.seconds, alone=lease.type in blocking)
                if end.kind is link.Kind.MISMATCH and (kind := (lease.type, lease.hash)) not in self._wants.avoid:
                    self._wants.avoid.add(kind)
                    self._run(self._presence.leave_to_others(self._wants.avoid), "news")
        if self._wants_room:
            self._backlog = True
            self._manager.work.ring()
        if not self._over:
            asyncio.get_running_loop().call_soon(self._settle_all)
        self._over += ends

    def _settle_all(self) -> None:
        """What children said in one turn of the loop goes to the store as one."""
        ends, self._over = self._over, []
        self._run(self._settle(ends), "settle")

    async def _settle(self, ends: list[Ended]) -> None:
        many = len(self._leases) - self.running > MOST_UNSETTLED
        await self._leases.settle(ends)
        if many:
            self._manager.work.ring()

    async def _write(self, ends: Sequence[Ended]) -> Sequence[bool]:
        """The last notes of these attempts and then their ends. One does not wait for the other: the store keeps the order."""
        if notes := self._notes.take(lease.token for lease, _ in ends):
            _, took = await asyncio.gather(self._notes.send(notes), self._manager.settle(ends))
            return took
        return await self._manager.settle(ends)

    # -- what is done now and then

    async def _beat(self) -> None:
        """Renew the leases and the worker's own record, three times a lease; sooner after it could not be done."""
        tries = 0
        while True:
            every = self._options.lease / 3
            await asyncio.sleep(min(every, BACKOFF[min(tries, len(BACKOFF)) - 1]) if tries else every)
            try:
                await self._leases.beat()
                await self._presence.beat()
                tries = 0
            except Refused as error:
                log.error("The leases could not be renewed: %s", error, extra=SELDOM)
                tries += 1

    async def _doubt(self) -> None:
        """In its own time, because a renewal may wait for the store for longer than a lease has left."""
        await asyncio.sleep(self._options.lease * MARGIN / 2)
        self._leases.stop_doubtful()

    async def _hear_cancels(self) -> None:
        rung = self._manager.cancels.count
        if self.running:
            try:
                await self._leases.hear_cancels()
            except Refused as error:
                log.warning("Cannot ask which tasks to cancel: %s", error, extra=SELDOM)
        await self._manager.cancels.wait(rung, ASK_EVERY)

    def _greeted(self, hello: link.Hello | link.Refused) -> None:
        """A loop child has loaded the types, or refuses to."""
        if isinstance(hello, link.Refused):
            self._presence.give_up(hello.reason)
            return
        self._presence.learn(hello)
        self._wants.avoid.clear()  # other code may be able to run what the one before could not
        self._look_anew()
        self._run(self._presence.announce(), "announcement")

    # -- tasks of its own

    def _keep(self, name: str, step: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Take this step again and again, whatever becomes of one of them. Claiming ends when the worker drains."""

        async def steps() -> None:
            # Asked each time, because `asyncio.wait_for` loses a cancel that comes together with what it waits for.
            while not (self._stopping or (self.draining and name == "claim")):
                try:
                    await step()
                except Exception:
                    log.exception("The worker's %s failed; it goes on.", name)
                    await asyncio.sleep(AFTER_A_FAULT)

        return self._run(steps(), name)

    def _run(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("The worker's %s ended with an error.", task.get_name(), exc_info=error)
