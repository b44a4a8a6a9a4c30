"""Where claimable tasks stand, and the way of a claim along them."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from dolgo.store.base import Claim
from dolgo.store.memory.gates import Gates, scopes_of
from dolgo.store.memory.ordered import Heap
from dolgo.task.types import Status

MOST_CLOSED = 1_000  # lines that one claim closes: it must not stop the loop

Place = tuple[float, str]  # of a task in its line: rank and id


class Group:
    """The tasks of one queue, type and announcement: how many stand at each status, and their lines, one a limit key."""

    __slots__ = ("_closed", "_heads", "_lines", "counts", "hash", "queue", "scopes", "type")

    def __init__(self, queue: str, type: str, hash: str) -> None:
        self.queue, self.type, self.hash = queue, type, hash
        self.scopes = scopes_of(queue, type)
        self.counts: dict[Status, int] = {}
        self._lines: dict[str, Heap[float]] = {}  # ids by rank; those without a limit key under ""
        self._heads: Heap[Place] = Heap()  # limit keys of the open lines, by their first task
        self._closed: set[str] = set()  # limit keys of which as many run as may

    def count(self, status: Status, change: int) -> None:
        count = self.counts.get(status, 0) + change
        if count:
            self.counts[status] = count
        else:
            del self.counts[status]

    def add(self, id: str, rank: float, key: str | None) -> None:
        self._lines.setdefault(key or "", Heap()).add(id, rank)
        self._set_head(key or "")

    def discard(self, id: str, key: str | None) -> None:
        if line := self._lines.get(key or ""):
            line.discard(id)
            self._set_head(key or "")

    def close(self, key: str) -> None:
        self._closed.add(key)
        self._heads.discard(key)

    def reopen(self, key: str) -> None:
        self._closed.discard(key)
        self._set_head(key)

    def first(self, *, keyed: bool = True) -> Place | None:
        """The smallest (rank, id) in an open line; or in the line without a limit key."""
        if not keyed:
            return self._lines[""].first() if "" in self._lines else None
        head = self._heads.first()
        return None if head is None else head[0]

    def before(self, place: Place, most: int) -> int:
        """How many claimable tasks stand before this place, counted up to about so many."""
        count = 0
        for line in self._lines.values():
            if count >= most:
                break
            count += line.before(place, most - count)
        return count

    def _set_head(self, key: str) -> None:
        head = self._lines[key].first() if key in self._lines else None
        if head is None:
            self._lines.pop(key, None)
            self._heads.discard(key)
            self._closed.discard(key)
        elif key not in self._closed:
            self._heads.add(key, head)


class Walk:
    """The way of one claim along the groups it fits, by the smallest (rank, id) that no gate holds back."""

    def __init__(self, claim: Claim, groups: Iterable[Group], gates: Gates, now: float) -> None:
        self.next_at: float | None = None  # when something passed over may be claimed
        self._gates, self._now = gates, now
        self._keyed = not claim.ahead
        fitting = (group for group in groups if _fits(claim, group) and not (claim.ahead and gates.count(group.scopes)))
        self._heads = [(head, group) for group in fitting if (head := group.first(keyed=self._keyed))]
        heapify(self._heads)  # two heads differ by their ids, so groups are never compared

    def head(self) -> tuple[str, Group] | None:
        """The id of the first task, whose group is open; None at the end."""
        while self._heads:
            (_, id), group = self._heads[0]
            shut = self._gates.shut(group.scopes, self._now)
            if shut is None:
                return id, group
            if shut.until is not None:
                self.again_at(shut.until)
            heappop(self._heads)
        return None

    def passed(self) -> None:
        """The first task was taken, or its line closed."""
        _, group = heappop(self._heads)
        if head := group.first(keyed=self._keyed):
            heappush(self._heads, (head, group))

    def again_at(self, time: float) -> None:
        self.next_at = time if self.next_at is None else min(time, self.next_at)


def _fits(claim: Claim, group: Group) -> bool:
    queue_fits = claim.queues is None or group.queue in claim.queues
    return queue_fits and group.type in claim.types and (group.type, group.hash) not in claim.avoid
