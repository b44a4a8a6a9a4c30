"""One child of a worker and the leases it holds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import takewhile
from typing import Literal

from msgspec import Struct

from dolgo.runner.link import Child, Job, Report
from dolgo.task.types import Lease
from dolgo.task.verdict import Ended

STUCK_AFTER = 0.4  # seconds past its time at which an unbegun job is taken back: the child will not begin it any more


class Aboard(Struct, gc=False):
    """A lease that was sent to the child."""

    lease: Lease
    sent_at: float  # monotonic
    start_by: float  # monotonic


class Berth:
    """A place for one child, from before its process runs until it is dead. What runs in it stands in the order sent."""

    def __init__(self, kind: Literal["loop", "single"]) -> None:
        self.kind: Literal["loop", "single"] = kind
        self.child: Child | None = None  # None until its process runs
        self.ready = False  # it has said hello
        self.retired = False  # gets nothing more, ends when what it runs has ended
        self.aboard: dict[int, Aboard] = {}  # by job key
        self.born = self.idle_since = time.monotonic()

    @property
    def pid(self) -> int | str:
        return self.child.pid if self.child is not None else "?"

    def send(self, leases: Iterable[tuple[Lease, float]]) -> None:
        """Have these run, each with the time it has to begin by."""
        assert self.child is not None
        now, jobs = time.monotonic(), []
        for key, (lease, start_by) in enumerate(leases, start=self.child.sent):
            self.aboard[key] = Aboard(lease, now, start_by)
            jobs.append(
                Job(key, start_by, lease.id, lease.type, lease.hash, lease.queue, lease.payload, lease.attempt, lease.tags)
            )
        self.child.send(jobs)

    def ended(self, reports: Iterable[Report]) -> list[Ended]:
        """The leases these reports are of. What was taken back is not here any more, and its report counts for nothing."""
        self.idle_since = time.monotonic()
        return [(gone.lease, report) for report in reports if (gone := self.aboard.pop(report.key, None)) is not None]

    def cancel(self, tokens: set[str]) -> None:
        """Ask the handlers of these leases to stop."""
        keys = [key for key, aboard in self.aboard.items() if aboard.lease.token in tokens]
        if keys and self.child is not None:
            self.child.cancel(keys)

    def split(self) -> tuple[list[Lease], list[Lease]]:
        """What has begun, as far as is known, and what has not."""
        begun = self.child.begun if self.child is not None else 0
        return (
            [aboard.lease for key, aboard in self.aboard.items() if key < begun],
            [aboard.lease for key, aboard in self.aboard.items() if key >= begun],
        )

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
            self.child.stop()

    def kill(self) -> None:
        """End the process and all it started."""
        if self.child is not None:
            self.child.kill()
