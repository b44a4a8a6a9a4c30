"""Two orders the memory store is made of. Both remove lazily: what has left is skipped, and swept out once it is most of it.

So adding and removing cost a logarithm on average, whatever stands in front, and what has left never takes more room than what is
there, but for a constant.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

SLACK = 64  # entries that may have left before a sweep is worth its price


class Ordered(Protocol):
    """Something that can be sorted and hashed."""

    def __lt__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...


K = TypeVar("K", bound=Ordered)


class Heap(Generic[K]):
    """Ids by a number, or by whatever has an order, smallest first, ties by id."""

    __slots__ = ("_entries", "_live")

    def __init__(self) -> None:
        self._entries: list[tuple[K, str]] = []
        self._live: dict[str, tuple[K, str]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def add(self, id: str, number: K) -> None:
        """Let an id in, or give it another number."""
        if (there := self._live.get(id)) is not None and there[0] == number:
            return
        entry = self._live[id] = (number, id)
        heappush(self._entries, entry)
        self._sweep()

    def discard(self, id: str) -> None:
        """Take an id out; one that is not here is no error."""
        if self._live.pop(id, None) is not None:
            self._sweep()

    def first(self) -> tuple[K, str] | None:
        """The smallest (number, id), left where it is."""
        while self._entries:
            entry = self._entries[0]
            # By identity: the same id may have left and come back with the same number, and must not be there twice.
            if self._live.get(entry[1]) is entry:
                return entry
            heappop(self._entries)
        return None

    def before(self, entry: tuple[K, str], most: int) -> int:
        """How many stand before this (number, id). Looks at none of the others, and at no more than `most`."""
        count, places = 0, [0]
        for _ in range(most):
            if not places:
                break
            place = places.pop()
            if place < len(self._entries) and (found := self._entries[place]) < entry:
                count += self._live.get(found[1]) is found
                places += (child for child in (2 * place + 2, 2 * place + 1) if child < len(self._entries))
        return count

    def _sweep(self) -> None:
        if len(self._entries) > 2 * len(self._live) + SLACK:
            self._entries = list(self._live.values())
            heapify(self._entries)


class Keys(Generic[K]):
    """Keys in order, to look at a stretch of them from any place. Cheap where most come in near the end, as times do."""

    __slots__ = ("_keys", "_live", "_start")

    def __init__(self) -> None:
        self._keys: list[K] = []
        self._live: set[K] = set()
        self._start = 0  # all before it have left: the oldest are taken away first, and looking past them again would add up

    def __contains__(self, key: object) -> bool:
        return key in self._live

    def add(self, key: K) -> None:
        """Let a key in; one that is here already is no error."""
        if key in self._live:
            return
        self._live.add(key)
        place = bisect_left(self._keys, key, self._start)
        if place == len(self._keys) or self._keys[place] != key:  # else it left and is back before it was swept out
            self._keys.insert(place, key)

    def discard(self, key: K) -> None:
        """Take a key out; one that is not here is no error."""
        self._live.discard(key)
        while self._start < len(self._keys) and self._keys[self._start] not in self._live:
            self._start += 1
        if len(self._keys) > 2 * len(self._live) + SLACK:
            self._keys = sorted(self._live)
            self._start = 0

    def stretch(self, most: int | None, *, low: K | None = None, high: K | None = None, backwards: bool = False) -> list[K]:
        """At most so many keys, `low` <= key < `high`, in order. Some of them may have left: the caller asks `in`.

        So what a call costs is bounded by `most`, whatever has left."""
        start = self._start if low is None else bisect_left(self._keys, low, self._start)
        end = len(self._keys) if high is None else bisect_left(self._keys, high, self._start)
        count = max(0, end - start) if most is None else min(most, max(0, end - start))
        return self._keys[end - count : end][::-1] if backwards else self._keys[start : start + count]
