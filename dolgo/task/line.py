"""Leases that wait for a slot: some for the loop child, some for a single child, each kind in the order they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from dolgo.task.types import Lease


class Waiting(Struct, gc=False):
    """A lease that no child has been sent yet."""

    lease: Lease
    start_by: float  # monotonic: past it the lease is given back
    alone: bool  # it needs a child to itself
    number: int  # in the order of coming


class Line:
    """Two queues and who comes first in both."""

    def __init__(self) -> None:
        self._for_loop: deque[Waiting] = deque()
        self._for_single: deque[Waiting] = deque()
        self._came = 0

    def __len__(self) -> int:
        return len(self._for_loop) + len(self._for_single)

    @property
    def for_single(self) -> int:
        """How many wait for a child to themselves."""
        return len(self._for_single)

    def add(self, leases: Sequence[Lease], *, start_by: float, alone: Callable[[Lease], bool]) -> None:
        """Let them queue up."""
        for lease in leases:
            self._came += 1
            waiting = Waiting(lease, start_by, alone(lease), self._came)
            (self._for_single if waiting.alone else self._for_loop).append(waiting)

    def next(self, *, loop: bool, single: bool) -> Waiting | None:
        """The one that came first among the kinds asked for, taken out; None if there is none."""
        queues = [queue for queue, asked in ((self._for_loop, loop), (self._for_single, single)) if asked and queue]
        return min(queues, key=lambda queue: queue[0].number).popleft() if queues else None

    def all_for_loop(self) -> list[Waiting]:
        """All that wait for the loop child, taken out."""
        taken, self._for_loop = list(self._for_loop), deque()
        return taken

    def take(self, chosen: Callable[[Waiting], bool]) -> list[Lease]:
        """All that are chosen, taken out."""
        taken = [waiting.lease for queue in (self._for_loop, self._for_single) for waiting in queue if chosen(waiting)]
        if taken:
            self._for_loop = deque(waiting for waiting in self._for_loop if not chosen(waiting))
            self._for_single = deque(waiting for waiting in self._for_single if not chosen(waiting))
        return taken
