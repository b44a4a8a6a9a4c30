"""The newest events, sorted by who wants them. Who asks for the same shares what is held, so many cost little more than one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, takewhile

from msgspec import Struct

from dolgo.task.types import Event, Status

HELD = 1_000  # events of a channel; who is farther behind reads the log
AT_ONCE = 100  # of those who wait, woken in one turn of the loop
RESERVED = "dolgo."  # types of our own, told of to those alone who name them


class Wanted(Struct, frozen=True):
    """Which events somebody wants: those for which all that is named holds."""

    id: str | None = None
    type: str | None = None
    queue: str | None = None
    status: Status | None = None
    types: frozenset[str] | None = None  # those of which there may be any; None: all
    queues: frozenset[str] | None = None

    def fits(self, event: Event) -> bool:
        """Whether the event is among them."""
        return (
            (self.status is None or self.status is event.status)
            and (self.id is None or self.id == event.id)
            and (self.type is None or self.type == event.type)
            and (self.queue is None or self.queue == event.queue)
            and (self.types is None or event.type in self.types)
            and (self.queues is None or event.queue in self.queues)
            and (self.type is not None or self.id is not None or not event.type.startswith(RESERVED))
        )


class Passed:
    """An event on its way, and what the web makes of it: once for all who get it."""

    __slots__ = ("event", "framed", "shown")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.shown: bytes | None = None  # as JSON
        self.framed: tuple[str, bytes] | None = None  # with the epoch, as a stream has it


class Channel:
    """The newest events that fit what is wanted."""

    def __init__(self, wanted: Wanted, since: int) -> None:
        self.wanted = wanted
        self.since = since  # every later event that fits is held
        self.members = 0
        self._held: deque[Passed] = deque()
        self._waiting: set[Callable[[], None]] = set()

    def put(self, passed: Passed) -> None:
        """One more event, which fits."""
        self._held.append(passed)
        if len(self._held) > HELD:
            self.since = self._held.popleft().event.seq
        if self._waiting:
            self._wake()

    def after(self, seq: int) -> list[Passed]:
        """The events held that have a larger number. From before `since` some are missing."""
        found = list(takewhile(lambda passed: passed.event.seq > seq, reversed(self._held)))
        found.reverse()
        return found

    def begin_anew(self, since: int) -> None:
        """What is held is no part of the log any more, or something between is missing."""
        self._held.clear()
        self.since = since
        self._wake()

    def call(self, wake: Callable[[], None]) -> None:
        """Call this once, at the next event."""
        self._waiting.add(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        self._waiting.discard(wake)

    def _wake(self) -> None:
        waiting, self._waiting = list(self._waiting), set()
        _wake_some(waiting)


def _wake_some(waiting: list[Callable[[], None]]) -> None:
    """Wake so many, and the others in later turns of the loop: what they do then must not keep everybody else waiting."""
    for wake in waiting[:AT_ONCE]:
        wake()
    if len(waiting) > AT_ONCE:
        asyncio.get_running_loop().call_soon(_wake_some, waiting[AT_ONCE:])


class Feed:
    """The channels there are, by what tells most of them apart."""

    def __init__(self) -> None:
        self.resets = 0  # times that what was told did not go on without a gap
        self.closed = False
        self._at_close: set[Callable[[], None]] = set()
        self._channels: dict[Wanted, Channel] = {}
        self._places: dict[str, dict[str, list[Channel]]] = {"id": {}, "type": {}, "queue": {}, "other": {}}

    def __bool__(self) -> bool:
        return bool(self._channels)

    def join(self, wanted: Wanted, since: int) -> Channel:
        """The channel of what is wanted; a new one holds what comes after `since`. End with `leave`."""
        channel = self._channels.get(wanted)
        if channel is None:
            channel = self._channels[wanted] = Channel(wanted, since)
            kind, name = _place(wanted)
            self._places[kind].setdefault(name, []).append(channel)
        channel.members += 1
        return channel

    def leave(self, channel: Channel) -> None:
        channel.members -= 1
        if not channel.members:
            del self._channels[channel.wanted]
            kind, name = _place(channel.wanted)
            self._places[kind][name].remove(channel)
            if not self._places[kind][name]:
                del self._places[kind][name]

    def pass_on(self, events: Iterable[Event]) -> None:
        """Each event to the channels it may fit."""
        if not self._channels:
            return
        ids, types, queues = self._places["id"], self._places["type"], self._places["queue"]
        others = self._places["other"].get("", ())
        for event in events:  # of all of them, so whatever can be looked up is not compared
            passed: Passed | None = None
            found = ids.get(event.id, ()), types.get(event.type, ()), queues.get(event.queue, ()), others
            for channel in chain.from_iterable(found):
                if channel.wanted.fits(event):
                    passed = passed or Passed(event)
                    channel.put(passed)

    def reset(self, since: int) -> None:
        """The log does not go on where it was read last: it goes on after `since`."""
        self.resets += 1
        for channel in self._all():
            channel.begin_anew(since)

    def close(self) -> None:
        """Wake everybody, for the last time."""
        self.closed = True
        for channel in self._all():
            channel.begin_anew(channel.since)
        for wake in self._at_close:
            wake()

    def at_close(self, wake: Callable[[], None]) -> None:
        """Call this when nothing more will come. End with `not_at_close`."""
        self._at_close.add(wake)

    def not_at_close(self, wake: Callable[[], None]) -> None:
        self._at_close.discard(wake)

    def _all(self) -> Iterator[Channel]:
        return iter(tuple(self._channels.values()))


def _place(wanted: Wanted) -> tuple[str, str]:
    """By what events for it are looked up."""
    if wanted.id is not None:
        return "id", wanted.id
    if wanted.type is not None:
        return "type", wanted.type
    return ("other", "") if wanted.queue is None else ("queue", wanted.queue)
