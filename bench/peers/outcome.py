"""What one run of one peer came to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from msgspec import Struct


class Delivery(Struct, frozen=True):
    """What became of the tasks: by the ledger that handlers write, and by the results in the store."""

    tasks: int
    never: int  # not begun at all
    twice: int  # begun more than once
    without_result: int  # none, or a wrong one

    @property
    def exact(self) -> bool:
        """Each was begun once and has its result."""
        return not (self.never or self.twice or self.without_result)


class Run(Struct):
    """One repeat. Rates are tasks a second."""

    tasks: int
    enqueue: float
    drain: float
    cpu: float  # seconds of the worker's processes a task took
    idle: float  # commands a second of a worker without work
    delivery: Delivery
    bulk: float | None = None  # enqueued the bulk way; None if it has none


class Crash(Struct):
    """What the deaths of two workers by SIGKILL came to, after a third was started."""

    delivery: Delivery
    finished_at_kill: list[int]
    seconds: float  # from the third start to the last result


def delivered(ledger: Path, tasks: int, *, without_result: int) -> Delivery:
    """Read from the ledger: a line with the task's number each time one was begun."""
    begun = Counter(ledger.read_text().split()) if ledger.exists() else Counter()
    never = sum(str(n) not in begun for n in range(tasks))
    return Delivery(tasks, never, sum(times > 1 for times in begun.values()), without_result)
