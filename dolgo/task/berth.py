"""One child of a worker and the leases it holds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Literal

import msgspec
from msgspec import Struct

from dolgo.runner.link import Child, Fault, Job, Kind, Report
from dolgo.task.types import ErrorCode, Lease
from dolgo.task.verdict import HOPELESS, UNSTARTED, End, Ended, Loss, TimedOut, stopped

STUCK_AFTER = 0.4  # seconds past its time at which an unbegun job is taken back: the child will not begin it any more
DEAF_AFTER = 0.5  # seconds past the grace at which the child of an attempt that was to stop is killed
FAULTS = {ErrorCode.HANDLER_ERROR, *HOPELESS}  # that a child reports
UNSOUND = Fault(ErrorCode.HANDLER_ERROR, "Its child has reported what is no end of an attempt: a handler wrote to its link.")

_skip = msgspec.json.Decoder(msgspec.Raw).decode


class Aboard(Struct, gc=False):
    """A lease that was sent to the child."""

    lease: Lease
    sent_at: float  # monotonic
    start_by: float  # monotonic
    over_at: float | None = None  # monotonic: when its time is up; None until it was seen to have begun
    kill_at: float | None = None  # monotonic: it was asked to stop; if it has not by then, its child is killed
    timed_out: bool = False  # that is why it was asked


class Berth:
    """A place for one child, from before its process runs until it is dead. What runs in it stands in the order sent."""

    def __init__(self, kind: Literal["loop", "single"], *, grace: float) -> None:
        self.kind: Literal["loop", "single"] = kind
        self._grace = grace
        self.child: Child | None = None  # None until its process runs
        self.ready = False  # it has said hello
        self.retired = False  # gets nothing more, ends when what it runs has ended
        self.spoilt = False  # a handler that was asked to stop runs on in it
        self.killed = False
        self._told_at = math.inf  # monotonic: when it was first told to end
        self.aboard: dict[int, Aboard] = {}  # by job key
        self.born = self.idle_since = time.monotonic()

    @property
    def pid(self) -> int | str:
        return self.child.pid if self.child is not None else "?"

    @property
    def begun(self) -> int:
        """How many of those aboard have begun, as far as is known."""
        begun = self.child.begun if self.child is not None else 0
        return sum(key < begun for key in self.aboard)

    def send(self, leases: Iterable[tuple[Lease, float]]) -> None:
        """Have these run, each with the time it has to begin by."""
        assert self.child is not None
        now, jobs = time.monotonic(), []
        for key, (lease, start_by) in enumerate(leases, start=self.child.sent):
            self.aboard[key] = Aboard(lease, now, start_by)
            job = Job(key, start_by, lease.id, lease.type, lease.hash, lease.queue, lease.payload, lease.attempt, lease.tags,
                      lease.extras)  # fmt: skip
            jobs.append(job)
        self.child.send(jobs)

    def ended(self, reports: Iterable[Report]) -> list[Ended]:
        """The leases these reports are of. What was taken back is not here any more, and its report counts for nothing."""
        self.idle_since = time.monotonic()
        ends: list[Ended] = []
        for report in reports:
            gone = self.aboard.pop(report.key, None)
            if gone is None:
                continue
            if not _is_sound(report):
                report = Report(report.key, Kind.ERROR, error=UNSOUND)
            asked = gone.kill_at is not None or report.kind is Kind.ABANDONED
            ends.append((gone.lease, self._stopped(gone, report) if asked else report))
        return ends

    def _stopped(self, aboard: Aboard, report: Report) -> End:
        """How an attempt ended that was asked to stop: as it says, if it came to a result or a reason of its own."""
        self.spoilt = self.spoilt or report.kind is Kind.ABANDONED
        if self.kind == "single":  # told only now, because it obeys SIGTERM from then on, and the handler was to clean up
            self.retire()
        return stopped(report, timed_out=aboard.timed_out)

    def cancel(self, tokens: set[str]) -> None:
        """Ask the handlers of these leases to stop."""
        self._stop([key for key, aboard in self.aboard.items() if aboard.lease.token in tokens], time.monotonic())

    def mind(self, now: float) -> float:
        """Ask what has run for longer than it may to stop. When to look again, if that is known."""
        begun = self.child.begun if self.child is not None else 0
        over, next_at = [], math.inf
        for key, aboard in self.aboard.items():
            if aboard.lease.timeout is None or aboard.kill_at is not None or key >= begun:
                continue
            if aboard.over_at is None:
                aboard.over_at = now + aboard.lease.timeout
            if aboard.over_at <= now:
                aboard.timed_out = True
                over.append(key)
            else:
                next_at = min(next_at, aboard.over_at)
        self._stop(over, now)
        return next_at

    def _stop(self, keys: Sequence[int], now: float) -> None:
        """Once: a handler that was asked before is not given more time."""
        fresh = [key for key in keys if self.aboard[key].kill_at is None]
        for key in fresh:
            self.aboard[key].kill_at = now + self._grace + DEAF_AFTER
        if fresh and self.child is not None:
            self.child.cancel(fresh)
            self.retired = self.retired or self.kind == "single"  # it ends with what it runs

    def deaf(self, now: float) -> list[Lease]:
        """What was asked to stop and has not, in all the time it had."""
        if self.child is None or self.killed:
            return []
        begun = self.child.begun
        return [
            aboard.lease
            for key, aboard in self.aboard.items()
            if aboard.kill_at is not None and aboard.kill_at <= now and key < begun
        ]

    def lingers(self, now: float) -> bool:
        """Whether it was told to end, has nothing to end first, and does not: threads that handlers have left keep it."""
        return not self.aboard and not self.killed and now > max(self._told_at, self.idle_since) + self._grace + DEAF_AFTER

    def died(self, how: str) -> list[Ended]:
        """The child is gone, and nothing is aboard. What had been asked to stop has stopped; what else had begun is lost."""
        begun = self.child.begun if self.child is not None else 0
        gone, self.aboard = self.aboard, {}
        company = self.spoilt or self.killed  # it may have been a handler that runs on, or was the worker itself
        loss = Loss(how, alone=not company and sum(key < begun for key in gone) == 1)
        return [
            (aboard.lease, UNSTARTED if key >= begun else loss if aboard.kill_at is None else _asked(aboard))
            for key, aboard in gone.items()
        ]

    def take_stuck(self, now: float) -> list[Lease]:
        """What should have begun by now and never will, taken out: a handler blocks the child."""
        if self.child is None or not self.aboard:
            return []
        late, begun = now - STUCK_AFTER, self.child.begun
        stuck = [key for key, aboard in self.aboard.items() if key >= begun and aboard.start_by < late]
        return [self.aboard.pop(key).lease for key in stuck]

    def older(self, than: float) -> int:
        """How many were sent before this time and have not ended."""
        return sum(1 for _ in takewhile(lambda aboard: aboard.sent_at < than, self.aboard.values()))

    def retire(self) -> None:
        """No more work for this child; it exits by itself when what it runs has ended."""
        self.retired = True
        if self.child is not None and self.ready:  # else when it says hello
            self._told_at = min(self._told_at, time.monotonic())
            self.child.stop()

    def kill(self) -> None:
        """End the process and all it started."""
        self.killed = True
        if self.child is not None:
            self.child.kill()


def _is_sound(report: Report) -> bool:
    """Whether a child of ours would send it. Handlers can write to their link as well, and a result is shown among others as it
    stands."""
    match report.kind:
        case Kind.DONE:
            return report.result is not None and _is_json(report.result)
        case Kind.ERROR | Kind.FAIL | Kind.RETRY:
            delay = report.delay or 0.0
            return report.error is not None and report.error.code in FAULTS and 0.0 <= delay < math.inf
    return True


def _is_json(data: bytes) -> bool:
    try:
        _skip(data)  # looks at no more of a string than where it ends
        return data.isascii() or bool(data.decode())
    except RecursionError:  # children may nest deeper than this process
        return True
    except (msgspec.MsgspecError, ValueError):
        return False


def _asked(aboard: Aboard) -> End:
    """The end of an attempt that has stopped because it was asked to."""
    return TimedOut() if aboard.timed_out else Report(0, Kind.CANCELLED)
