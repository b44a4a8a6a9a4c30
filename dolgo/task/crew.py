"""The children of a worker: one that runs all `async def` handlers, and a pool of single ones, each for one task at a time.

Leases go in and come out again, each once, with how the attempt ended. Handlers never run in more slots than there are: either
every lease aboard is in the one loop child, which keeps to its slots by itself, or no more are aboard than there are slots.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from dolgo.metrics.catalog import CHILDREN
from dolgo.metrics.tally import Tally
from dolgo.runner.link import Ask, Child, Hello, Refused, Report, Setup, Written
from dolgo.task.berth import Berth
from dolgo.task.line import Line
from dolgo.task.questions import Questions
from dolgo.task.types import Lease
from dolgo.task.verdict import UNSTARTED, Ended, Interrupted, Loss

log = logging.getLogger("dolgo.worker")

START_WITHIN = 1.0  # seconds a job for a free slot may take to begin; past it the child is stuck
AHEAD_WITHIN = 0.1  # seconds a job sent ahead of a free slot may wait
LOOK = 0.1  # seconds between two looks at what children do not tell
RESTART = (0.0, 0.2, 1.0, 3.0, 10.0)  # seconds before a child is started when so many of its kind in a row died young
YOUNG = 10.0  # seconds of life after which a child's death is not held against the next one
HOPELESS = 3  # loop children in a row that died before the first of them had loaded the task types
IDLE_SINGLES = 60.0  # seconds a single child without work is kept warm
MOST_SINGLES = 32  # single children at once, whatever the number of slots: each is a process


class Crew:
    """Starts, feeds, watches and ends the children. `ended` is called with every attempt that is over, once each.

    `wrote` is called with what handlers note, in the order they did and before the attempt is over; `ask` with what they ask."""

    def __init__(
        self,
        *,
        setup: Setup,
        environ: Mapping[str, str],
        ended: Callable[[list[Ended]], None],
        hello: Callable[[Hello | Refused], None],
        wrote: Callable[[Lease, Written], None],
        ask: Callable[[Lease, Ask], Awaitable[bytes]],
        tally: Tally | None = None,
    ) -> None:
        self._setup = setup
        self._environ = environ
        self._ended = ended
        self._hello = hello
        self._wrote = wrote
        self._ask = ask
        self._tally = tally or Tally()
        self._loop_berth: Berth | None = None
        self._berths: set[Berth] = set()
        self._line = Line()  # leases without a slot
        self._boarding: deque[Lease] = deque()  # leases with a slot, for which a single child is not ready yet
        self._blocking: frozenset[str] = frozenset()
        self._deaths = {"loop": 0, "single": 0}  # of young children in a row
        for kind in self._deaths:
            self._tally.count(CHILDREN, (kind,), 0)
        self._greeted_once = False
        self._draining = False  # nothing is begun any more
        self._closing = False
        self._cut_short: list[Ended] = []  # by closing
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = setup.slots
        self._most_singles = max(1, min(setup.slots, MOST_SINGLES))
        self.quick_slots = setup.slots  # those not held by a task that takes long, at the last look
        self.quick_singles = self._most_singles

    # -- what the worker asks

    def start(self) -> None:
        """Start the loop child; its hello names the task types."""
        self._spawn("loop")
        self._later(self._watch())

    def run(self, leases: Sequence[Lease], *, within: float) -> None:
        """Hand leases to children; those that have not begun within so many seconds are given back."""
        self._line.add(leases, start_by=time.monotonic() + within, alone=self._alone)
        self._feed()

    def cancel(self, tokens: set[str]) -> None:
        """Ask the handlers that run under these leases to stop. A child in which one of them goes on past its grace is killed."""
        waiting = self._line.take(lambda waiting: waiting.lease.token in tokens)
        waiting += [lease for lease in self._boarding if lease.token in tokens]
        self._boarding = deque(lease for lease in self._boarding if lease.token not in tokens)
        self._give_back(waiting)
        for berth in self._berths:
            berth.cancel(tokens)

    @property
    def blocking(self) -> frozenset[str]:
        """Types whose handlers have a child to themselves."""
        return self._blocking

    @property
    def ready(self) -> bool:
        """Handlers that share the loop child can be run."""
        return self._loop_berth is not None and self._loop_berth.ready

    @property
    def room(self) -> int:
        """How many more single children can be had."""
        return self._most_singles - self._singles_held() - self._line.for_single

    def reload(self) -> None:
        """New children with the task files as they are now; they take over once they have loaded them."""
        self._setup = replace(self._setup, reload=True)
        self._deaths = dict.fromkeys(self._deaths, 0)
        self._spawn("loop", takes_over=True)

    def drain(self) -> None:
        """End every attempt that has not begun, and begin no more."""
        self._draining = True
        waiting = self._line.take(lambda waiting: True) + list(self._boarding)
        self._boarding.clear()
        self._give_back(waiting)
        for berth in list(self._berths):
            berth.retire()

    def kill(self) -> None:
        """Kill every child and its process group."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for berth in self._berths:
            berth.kill()

    async def closed(self) -> list[Ended]:
        """The ends of what was aboard when it was killed, once every child is gone, with what it had to tell told."""
        for berth in list(self._berths):
            if berth.child is not None:
                await berth.child.closed()
        return [(lease, Interrupted() if isinstance(end, Loss) else end) for lease, end in self._cut_short]

    # -- feeding

    def _alone(self, lease: Lease) -> bool:
        return lease.suspect or lease.type in self._blocking

    def _feed(self) -> None:
        """Hand out what waits as far as there are slots, to those first who came first."""
        if self._closing:
            return
        if not self.ready:  # the new loop child will claim for itself
            self._give_back([waiting.lease for waiting in self._line.all_for_loop()])
        self._feed_in_bulk()
        held = self._slots_held() if self._line else self._slots
        while held < self._slots:
            waiting = self._line.next(loop=self.ready, single=self._singles_held() < self._most_singles)
            if waiting is None:
                break
            held += 1
            self._begin(waiting.lease, alone=waiting.alone)
        self._board()

    def _feed_in_bulk(self) -> None:
        """The loop child gets more than there are slots for if it is the only one that runs anything."""
        berth = self._loop_berth
        if berth is None or not berth.ready or not self._line or self._line.for_single or self._boarding:
            return
        if not any(other.aboard for other in self._berths if other is not berth):
            berth.send([(waiting.lease, waiting.start_by) for waiting in self._line.all_for_loop()])

    def _begin(self, lease: Lease, *, alone: bool) -> None:
        if alone or self._loop_berth is None:
            self._boarding.append(lease)
        else:
            self._loop_berth.send([(lease, time.monotonic() + START_WITHIN)])

    def _board(self) -> None:
        """Give the leases that have a slot a single child each, and start those that are missing."""
        if not self._boarding:
            return
        singles = [berth for berth in self._berths if berth.kind == "single" and not berth.retired]
        free = sorted((berth for berth in singles if berth.ready and not berth.aboard), key=lambda berth: berth.idle_since)
        while self._boarding and free:
            free.pop().send([(self._boarding.popleft(), time.monotonic() + START_WITHIN)])
        starting = sum(not berth.ready for berth in singles)
        for _ in range(min(len(self._boarding) - starting, self._most_singles - len(singles))):
            self._spawn("single")

    def _slots_held(self) -> int:
        return len(self._boarding) + sum(len(berth.aboard) for berth in self._berths)

    def _singles_held(self) -> int:
        return len(self._boarding) + sum(len(berth.aboard) for berth in self._berths if berth.kind == "single")

    def _give_back(self, leases: Sequence[Lease]) -> None:
        if leases:
            self._ended([(lease, UNSTARTED) for lease in leases])

    # -- starting children, and hearing from them

    def _spawn(self, kind: Literal["loop", "single"], *, takes_over: bool = False) -> None:
        berth = Berth(kind, grace=self._setup.grace)
        self._berths.add(berth)
        if kind == "loop" and not takes_over:
            self._loop_berth = berth
        self._later(self._launch(berth))

    async def _launch(self, berth: Berth) -> None:
        await asyncio.sleep(RESTART[min(self._deaths[berth.kind], len(RESTART) - 1)])
        if berth.retired:
            self._berths.discard(berth)
            return
        try:
            berth.child = await Child.spawn(
                berth.kind,
                self._setup,
                on_hello=lambda hello: self._greeted(berth, hello),
                on_reports=lambda reports: self._reported(berth, reports),
                on_notes=lambda notes: self._noted(berth, notes),
                on_asks=Questions(berth, self._ask).asked,
                on_exit=lambda code: self._gone(berth, _how(code)),
                environ=self._environ,
            )
        except Exception as error:  # whatever it is, there is no child, and another try is due
            self._gone(berth, f"could not be started: {error}")

    def _greeted(self, berth: Berth, hello: Hello | Refused) -> None:
        berth.ready = isinstance(hello, Hello)
        if berth.retired or self._is_overtaken(berth):  # others have taken over, with newer files perhaps
            berth.retire()
        elif berth.kind == "loop":
            if isinstance(hello, Hello):
                self._greeted_once = True
                self._blocking = hello.blocking
                self._take_over(berth)
            self._hello(hello)
        self._feed()

    def _is_overtaken(self, berth: Berth) -> bool:
        """Whether a loop child that was started after this one has been quicker to load the types."""
        other = self._loop_berth
        return berth.kind == "loop" and other is not None and other.ready and other.born > berth.born

    def _take_over(self, berth: Berth) -> None:
        """A loop child has loaded its types. If it is not the one in charge, the children with the old files end their work."""
        if berth is not self._loop_berth:
            for old in [old for old in self._berths if old.born < berth.born]:
                old.retire()
            self._loop_berth = berth

    def _noted(self, berth: Berth, notes: Iterable[Written]) -> None:
        for note in notes:
            if note.key in berth.aboard:
                self._wrote(berth.aboard[note.key].lease, note)

    def _reported(self, berth: Berth, reports: list[Report]) -> None:
        ends = berth.ended(reports)
        if berth.spoilt and not berth.retired:
            log.warning(
                "A handler in the %s child %s was told to stop and did not; the child is replaced.", berth.kind, berth.pid
            )
            self._replace(berth)
        if ends:
            self._ended(ends)
        if self._line or self._boarding:
            self._feed()

    def _gone(self, berth: Berth, how: str) -> None:
        """A child is dead: its attempts are over, and the next one is started."""
        self._berths.discard(berth)
        berth.ready = False
        begun = berth.begun
        ends = berth.died(how)
        if self._closing:
            self._cut_short += ends
            return
        if begun or not berth.retired:
            self._tally.count(CHILDREN, (berth.kind,))
            log.warning("The %s child %s %s with %d task(s) begun in it.", berth.kind, berth.pid, how, begun)
        if not berth.retired:
            young = time.monotonic() - berth.born < YOUNG and not begun
            self._deaths[berth.kind] = self._deaths[berth.kind] + 1 if young else 0
        if berth is self._loop_berth and not self._draining:
            self._replace_loop(how)
        if ends:
            self._ended(ends)
        self._feed()

    def _replace_loop(self, how: str) -> None:
        if not self._greeted_once and self._deaths["loop"] >= HOPELESS:
            self._hello(Refused(f"the child process that loads them {how}, {HOPELESS} times in a row"))
        self._spawn("loop")

    # -- watching

    async def _watch(self) -> None:
        next_at = math.inf
        while True:
            await asyncio.sleep(max(0.0, min(LOOK, next_at - time.monotonic())))
            next_at = math.inf
            try:
                next_at = self._look(time.monotonic())
            except Exception:  # the next look may be better, and no look at all is worse
                log.exception("The children could not be looked after.")

    def _look(self, now: float) -> float:
        """What is due is done. When something else will be, if that is known."""
        late = self._line.take(lambda waiting: waiting.start_by < now) if self._line else []
        self._give_back(late)
        slow = slow_singles = len(self._boarding)
        next_at = math.inf
        for berth in list(self._berths):
            next_at = min(next_at, berth.mind(now))
            if deaf := berth.deaf(now):
                self._end_by_force(berth, deaf)
            if stuck := berth.take_stuck(now):
                self._take_back(berth, stuck)
            if berth.lingers(now):
                log.warning("The %s child %s is killed: it has nothing left to run, and does not end.", berth.kind, berth.pid)
                berth.kill()
            older = berth.older(now - AHEAD_WITHIN)
            slow += older
            slow_singles += older if berth.kind == "single" else 0
            if berth.kind == "single" and not berth.aboard and berth.ready and now - berth.idle_since > IDLE_SINGLES:
                berth.retire()
        self.quick_slots = max(0, self._slots - slow)
        self.quick_singles = max(0, self._most_singles - slow_singles)
        return next_at

    def _take_back(self, berth: Berth, leases: list[Lease]) -> None:
        """A handler blocks its child: what has not begun there goes elsewhere, and so does all that comes."""
        log.warning("A handler blocks the %s child %s; %d task(s) are taken back from it.", berth.kind, berth.pid, len(leases))
        self._replace(berth)
        self._give_back(leases)
        self._feed()

    def _end_by_force(self, berth: Berth, deaf: Sequence[Lease]) -> None:
        """Handlers go on although their time to stop is over: they end with their child, and what else runs in it runs again."""
        tasks = ", ".join(lease.id for lease in deaf)
        log.warning("The %s child %s is killed: told to stop, these tasks did not: %s.", berth.kind, berth.pid, tasks)
        self._replace(berth)
        berth.kill()

    def _replace(self, berth: Berth) -> None:
        """Nothing more for this child, and another in its place."""
        berth.retire()
        if berth is self._loop_berth and not self._draining:
            self._spawn("loop")

    def _later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _how(code: int) -> str:
    """How a process ended, as a clause."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
