"""The newest events, as the bell told them: whoever follows the log need not read it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from dolgo.store.redis.pack import KINDS, STATUSES
from dolgo.task.types import Event

KEPT = 10_000  # events; about a second of the fastest worker

Chunk = tuple[int, float, list[list[Any]]]  # the first event's number, the time of all, and each: id, line, state, attempt, …
Line = tuple[str, str]  # queue and type

decode_chunk = msgspec.msgpack.Decoder(Chunk).decode


class Tail:
    """Entries of the log as far back as they are without a gap. They stay as they came: most are never read."""

    def __init__(self) -> None:
        self.head = 0  # the newest number
        self._first = 1  # the number of the first event here
        self._chunks: deque[tuple[int, bytes]] = deque()  # each with the number of its last event

    def add(self, first: int, last: int, chunks: Iterable[tuple[int, bytes]]) -> None:
        """The events of one commit, in entries that bear the number of their last; without entries if they did not come along."""
        entries = list(chunks)
        if first != self.head + 1 or not entries:
            self._chunks.clear()
            self._first = first if entries else last + 1
        self._chunks += entries
        self.head = last
        while self._chunks and self._chunks[0][0] <= last - KEPT:
            self._first = self._chunks.popleft()[0] + 1

    def forget(self) -> None:
        """The bell was not heard for a while: from here on nothing is known."""
        self._chunks.clear()
        self.head, self._first = -1, 0

    def after(self, seq: int) -> Iterator[bytes] | None:
        """The entries with a larger number, the first of them perhaps with some that are not; None if they have to be read."""
        if seq + 1 < self._first or seq > self.head:
            return None
        return (chunk for last, chunk in self._chunks if last > seq)


def events_of(chunks: Iterable[bytes], lines: dict[int, Line], after: int, limit: int) -> list[Event]:
    """The events of entries, as many as are wanted. Raises KeyError for a line that is not known."""
    return list(islice(_events(chunks, lines, after), limit))


def _events(chunks: Iterable[bytes], lines: dict[int, Line], after: int) -> Iterator[Event]:
    for chunk in chunks:
        first, time, events = decode_chunk(chunk)
        for seq, event in enumerate(events, start=first):
            if seq > after:
                yield _event(seq, time, event, lines)


def _event(seq: int, time: float, event: list[Any], lines: dict[int, Line]) -> Event:
    id, line, state, attempt, *note = event
    queue, type = lines[line]
    status = STATUSES[state]
    assert status is not None
    kind, data = note or (0, None)
    return Event(seq, time, id, type, queue, status, attempt, KINDS[kind], data.encode() if isinstance(data, str) else None)
