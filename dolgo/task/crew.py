"""The children of a worker: one loop child for `async def` handlers, a warm pool of single children for `def` ones.

Knows which lease each child holds, so that a child's death is the end of exactly these attempts and of nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from dolgo.runner.link import Child, Hello, Job, Kind, Refused, Report, Setup
from dolgo.task.types import Lease
from dolgo.task.verdict import Loss

log = logging.getLogger("dolgo.worker")

START_WITHIN = 1.0  # seconds a job for a free slot may take to begin; past it the child is stuck
AHEAD_WITHIN = 0.1  # seconds a job sent ahead of a free slot may wait
STUCK_AFTER = 0.4  # seconds past that at which the worker takes an unbegun job back: the child will not begin it any more
RESTART = (0.0, 0.2, 1.0, 3.0, 10.0)  # seconds before the n-th child in a row is started that died young
YOUNG = 10.0  # seconds of life after which a child's death is not held against the next one
IDLE_SINGLES = 60.0  # seconds a single child without work is kept warm
MOST_SINGLES = 32  # single children at once, whatever the number of slots: each is a process

End = tuple[Lease, Report | Loss]


class Berth:
    """One child and the leases it holds, by job key in the order sent."""

    def __init__(self, kind: Literal["loop", "single"]) -> None:
        self.kind: Literal["loop", "single"] = kind
        self.child: Child | None = None  # None until its process runs
        self.ready = False  # it has said hello
        self.retired = False  # gets nothing more, ends when what it runs has ended
        self.leases: dict[int, Lease] = {}
        self.start_by: dict[int, float] = {}  # of jobs that may not have begun
        self.born = self.idle_since = time.monotonic()

    def jobs(self, leases: Sequence[Lease], start_by: float) -> list[Job]:
        """Take these leases on board."""
        assert self.child is not None
        jobs = []
        for key, lease in enumerate(leases, start=self.child.sent):
            self.leases[key] = lease
            self.start_by[key] = start_by
            jobs.append(
                Job(key, start_by, lease.id, lease.type, lease.hash, lease.queue, lease.payload, lease.attempt, lease.tags)
            )
        return jobs

    def unbegun(self, now: float) -> list[int]:
        """Keys of jobs that should have begun by now and never will."""
        begun = self.child.begun if self.child else 0
        for key in [key for key in self.start_by if key < begun]:
            del self.start_by[key]
        return [key for key, start_by in self.start_by.items() if start_by + STUCK_AFTER < now]


class Crew:
    """Starts, feeds, watches and ends the children. `ended` is called with every attempt that is over, once each."""

    def __init__(
        self,
        *,
        setup: Setup,
        environ: Mapping[str, str],
        ended: Callable[[list[End]], None],
        hello: Callable[[Hello | Refused], None],
    ) -> None:
        self._setup = setup
        self._environ = {**os.environ, **environ}
        self._ended = ended
        self._hello = hello
        self._loop_berth: Berth | None = None
        self._berths: set[Berth] = set()
        self._waiting: deque[Lease] = deque()  # for a single child
        self._blocking: frozenset[str] = frozenset()
        self._young_deaths = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.most_singles = max(1, min(setup.slots, MOST_SINGLES))

    # -- what the worker asks

    def start(self) -> None:
        """Start the loop child; its hello names the task types."""
        self._spawn("loop")
        self._later(self._watch())

    def run(self, leases: Sequence[Lease], *, ahead: bool = False) -> None:
        """Hand leases to children; `ahead` of a free slot they are given back unless they begin soon."""
        for_loop = [lease for lease in leases if not self._alone(lease)]
        berth = self._loop_berth
        if for_loop and berth is not None and berth.ready and berth.child is not None:
            berth.child.send(berth.jobs(for_loop, time.monotonic() + (AHEAD_WITHIN if ahead else START_WITHIN)))
        elif for_loop:
            self._ended([(lease, Report(0, Kind.UNSTARTED)) for lease in for_loop])
        self._waiting.extend(lease for lease in leases if self._alone(lease))
        self._feed_singles()

    def cancel(self, ids: set[str]) -> None:
        """Ask the handlers of these tasks to stop."""
        for lease in [lease for lease in self._waiting if lease.id in ids]:
            self._waiting.remove(lease)
            self._ended([(lease, Report(0, Kind.UNSTARTED))])
        for berth in self._berths:
            keys = [key for key, lease in berth.leases.items() if lease.id in ids]
            if keys and berth.child is not None:
                berth.child.cancel(keys)

    @property
    def blocking(self) -> frozenset[str]:
        """Types whose handlers have a child to themselves."""
        return self._blocking

    @property
    def ready(self) -> bool:
        """Handlers can be run."""
        return self._loop_berth is not None and self._loop_berth.ready

    @property
    def singles_busy(self) -> int:
        """Tasks that run in, or wait for, a single child."""
        return len(self._waiting) + sum(len(berth.leases) for berth in self._berths if berth.kind == "single")

    def reload(self) -> None:
        """New children with the task files as they are now; they take over once they have loaded them."""
        self._setup = replace(self._setup, reload=True)
        self._young_deaths = 0
        self._spawn("loop", takes_over=True)

    def give_back_waiting(self) -> None:
        """End every attempt that has not begun: the worker drains."""
        waiting, self._waiting = list(self._waiting), deque()
        if waiting:
            self._ended([(lease, Report(0, Kind.UNSTARTED)) for lease in waiting])
        for berth in list(self._berths):
            self._retire(berth)

    def leases(self) -> list[Lease]:
        """What runs, or was sent to run."""
        return [lease for berth in self._berths for lease in berth.leases.values()]

    def kill(self) -> None:
        """Kill every child and its process group. Their attempts are not reported any more."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for berth in self._berths:
            if berth.child is not None:
                berth.child.kill()

    async def closed(self) -> None:
        """Return when every child is gone."""
        for berth in list(self._berths):
            if berth.child is not None:
                await berth.child.closed()

    # -- starting and feeding

    def _alone(self, lease: Lease) -> bool:
        return lease.suspect or lease.type in self._blocking

    def _spawn(self, kind: Literal["loop", "single"], *, takes_over: bool = False) -> None:
        berth = Berth(kind)
        self._berths.add(berth)
        if kind == "loop" and not takes_over:
            self._loop_berth = berth
        self._later(self._board(berth))

    async def _board(self, berth: Berth) -> None:
        if berth.kind == "loop":
            await asyncio.sleep(RESTART[min(self._young_deaths, len(RESTART) - 1)])
        try:
            berth.child = await Child.spawn(
                berth.kind,
                self._setup,
                on_hello=lambda hello: self._greeted(berth, hello),
                on_reports=lambda reports: self._reported(berth, reports),
                on_exit=lambda code: self._gone(berth, code),
                environ=self._environ,
            )
        except OSError as error:
            log.error("A child process could not be started: %s", error)
            self._gone(berth, None)

    def _greeted(self, berth: Berth, hello: Hello | Refused) -> None:
        if berth.kind == "loop":
            if isinstance(hello, Hello):
                self._blocking = hello.blocking
                self._take_over(berth)
            self._hello(hello)
        berth.ready = isinstance(hello, Hello)
        if berth.retired:
            self._retire(berth)
        self._feed_singles()

    def _take_over(self, berth: Berth) -> None:
        """A loop child has loaded its types. If it is not the one in charge, the children with the old files end their work."""
        if berth is not self._loop_berth and not berth.retired:
            for old in [old for old in self._berths if old.born < berth.born]:
                self._retire(old)
            self._loop_berth = berth

    def _feed_singles(self) -> None:
        free = [b for b in self._berths if b.kind == "single" and b.ready and not b.retired and not b.leases]
        while self._waiting and free:
            berth = free.pop()
            assert berth.child is not None
            berth.child.send(berth.jobs([self._waiting.popleft()], time.monotonic() + START_WITHIN))
        singles = [b for b in self._berths if b.kind == "single" and not b.retired]
        starting = sum(not b.ready for b in singles)
        for _ in range(min(len(self._waiting) - starting, self.most_singles - len(singles))):
            self._spawn("single")

    # -- hearing from children

    def _reported(self, berth: Berth, reports: list[Report]) -> None:
        ends: list[End] = []
        for report in reports:
            lease = berth.leases.pop(report.key, None)  # None: it was taken back from a stuck child
            berth.start_by.pop(report.key, None)
            if lease is not None:
                ends.append((lease, report))
        berth.idle_since = time.monotonic()
        if ends:
            self._ended(ends)
        if berth.kind == "single":
            self._feed_singles()

    def _gone(self, berth: Berth, code: int | None) -> None:
        """A child is dead: its attempts are over, and the next one is started."""
        self._berths.discard(berth)
        how = _how(code)
        begun = berth.child.begun if berth.child else 0
        started = [lease for key, lease in berth.leases.items() if key < begun]
        unstarted = [lease for key, lease in berth.leases.items() if key >= begun]
        if not berth.retired or started:
            pid = berth.child.pid if berth.child else "?"
            log.warning("The %s child %s %s with %d task(s) begun in it.", berth.kind, pid, how, len(started))
        young = time.monotonic() - berth.born < YOUNG and not started
        self._young_deaths = self._young_deaths + 1 if young else 0
        if self._closing:
            return
        if berth is self._loop_berth:
            self._spawn("loop")
        ends: list[End] = [(lease, Loss(how, alone=len(started) == 1)) for lease in started]
        ends += [(lease, Report(0, Kind.UNSTARTED)) for lease in unstarted]
        if ends:
            self._ended(ends)
        self._feed_singles()

    # -- watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(AHEAD_WITHIN)
            now = time.monotonic()
            for berth in list(self._berths):
                stuck = berth.unbegun(now) if berth.start_by else []
                if stuck:
                    self._take_back(berth, stuck)
                elif berth.kind == "single" and not berth.leases and berth.ready and now - berth.idle_since > IDLE_SINGLES:
                    self._retire(berth)

    def _take_back(self, berth: Berth, keys: list[int]) -> None:
        """A handler blocks its child: what has not begun there goes elsewhere, and so does all that comes."""
        log.warning("The %s child %s is blocked by a handler; %d task(s) are taken back from it.",
                    berth.kind, berth.child.pid if berth.child else "?", len(keys))  # fmt: skip
        leases = [berth.leases.pop(key) for key in keys if key in berth.leases]
        for key in keys:
            del berth.start_by[key]
        self._retire(berth)
        if berth is self._loop_berth:
            self._spawn("loop")
        self._ended([(lease, Report(0, Kind.UNSTARTED)) for lease in leases])

    def _retire(self, berth: Berth) -> None:
        """No more work for this child; it exits by itself when what it runs has ended."""
        berth.retired = True
        if berth.child is not None and berth.ready:  # else when it says hello
            berth.child.stop()

    def _later(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _how(code: int | None) -> str:
    """How a process ended, as a clause."""
    if code is None:
        return "could not be started"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"exited with code {code}"
