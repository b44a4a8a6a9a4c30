"""What the memory store keeps besides tasks: the event log, the records, and which tasks may go when."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.base import EventPage
from dolgo.store.memory.ordered import Heap, Keys
from dolgo.task.types import Event, EventKind, Put, Record, Task

LAST = "\U0010ffff"  # sorts after every id and every other character of a key


class EventLog:
    """The newest events without a gap."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.head = 0  # the newest seq there ever was

    def append(self, now: float, task: Task, kind: EventKind = EventKind.STATUS, data: bytes | None = None) -> None:
        self.head += 1
        self._events.append(Event(self.head, now, task.id, task.type, task.queue, task.status, task.attempt, kind, data))

    def page(self, after: int, limit: int) -> EventPage:
        """What follows; after a reset, what there is, and after one for a place that was never reached, nothing."""
        gone = self.head - len(self._events)  # the newest seq that was trimmed
        reset = not gone <= after <= self.head
        start = 0 if reset else after - gone
        events = self._events[start : start + limit] if after <= self.head else []
        return EventPage(events, events[-1].seq if events else self.head if reset else after, reset)

    def trim(self, before: float, most: int, limit: int, upto: int | None) -> int:
        count = 0
        known = len(self._events) if upto is None else upto - (self.head - len(self._events))
        while count < min(limit, known, len(self._events)) and (
            self._events[count].time < before or len(self._events) - count > most
        ):
            count += 1
        del self._events[:count]
        return count


class Records:
    """Small keyed things with a version and an end."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._keys: Keys[str] = Keys()
        self._ends: Heap[float] = Heap()  # keys by expires_at

    def get(self, key: str, now: float) -> Record | None:
        record = self._records.get(key)
        return None if record is None or (record.expires_at is not None and record.expires_at <= now) else record

    def plan(self, puts: Sequence[Put], now: float) -> Record | list[Record]:
        """The records to `set`; or the one that stands in the way, of version 0 where one was named that does not exist."""
        written: dict[str, Record] = {}
        for put in puts:
            there = written.get(put.key) or self.get(put.key, now) or Record(put.key, b"", 0, now, now, None)
            if put.version is not None and put.version != there.version:
                return there
            expires_at = None if put.keep is None else now + put.keep
            written[put.key] = Record(put.key, put.value, there.version + 1, now, there.first_at, expires_at)
        return list(written.values())

    def set(self, records: Sequence[Record]) -> None:
        for record in records:
            self._records[record.key] = record
            self._keys.add(record.key)
            self._ends.discard(record.key)
            if record.expires_at is not None:
                self._ends.add(record.key, record.expires_at)

    def starting_with(self, prefix: str, now: float) -> list[Record]:
        keys = self._keys.stretch(None, low=prefix, high=prefix + LAST)
        return [record for key in keys if (record := self.get(key, now))]

    def forget(self, key: str) -> None:
        if self._records.pop(key, None) is not None:
            self._keys.discard(key)
            self._ends.discard(key)

    def trim(self, now: float, limit: int) -> int:
        count = 0
        while count < limit and (first := self._ends.first()) and first[0] <= now:
            self.forget(first[1])
            count += 1
        return count


class Kept:
    """Ids of tasks that have ended, by when they may be pruned."""

    def __init__(self) -> None:
        self._usual: Heap[float] = Heap()  # by finished_at: those that say nothing themselves
        self._own: Heap[float] = Heap()  # by the time at which they have been kept as long as they say
        self._needed: Heap[float] = Heap()  # by the time until which they are needed, whatever else is said

    def add(self, task: Task, needed_until: float, now: float) -> None:
        if needed_until > now:
            self._needed.add(task.id, needed_until)
        elif task.keep is None:
            self._usual.add(task.id, task.finished_at or 0.0)
        else:
            self._own.add(task.id, (task.finished_at or 0.0) + task.keep)

    def discard(self, id: str) -> None:
        for heap in (self._usual, self._own, self._needed):
            heap.discard(id)

    def no_longer_needed(self, now: float) -> str | None:
        """Takes out one that was needed until now."""
        first = self._needed.first()
        if first is None or first[0] > now:
            return None
        self._needed.discard(first[1])
        return first[1]

    def oldest(self, now: float, keep: float) -> str | None:
        """Takes out one that has been kept long enough: `keep` seconds, or as long as it says."""
        for heap, latest in ((self._usual, now - keep), (self._own, now)):
            if (first := heap.first()) and first[0] < latest:
                heap.discard(first[1])
                return first[1]
        return None
