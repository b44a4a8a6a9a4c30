"""Streams of events, and pages of them: from a place in the log on, without loss or repetition, whoever wrote them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from dolgo.store.base import EventPage, Store
from dolgo.task.feed import Channel, Passed, Wanted
from dolgo.task.notify import Notify
from dolgo.task.types import FINAL, Event, EventKind, Task

PAGE = 1_000  # events read from the store at once
MOST_BEHIND = 10_000  # events a stream may fall behind before it loses progress and log lines
MOST_READ = 100_000  # events looked at for one page
MANY = 16  # events of a batch after which a stream rests: they come faster than it can be woken for each
REST = 0.0002  # seconds a stream leaves to everybody else after a batch, for each that does so at the same time
SLACK = 1.0  # seconds by which times in the log may not be in order
BEYOND = 10**18 - 1  # more events than any log will have
GLANCE = 0.02  # seconds between two looks whether the log was read far enough
PAUSE = 0.5  # seconds before the store is asked again for what it did not have

_PLACE = re.compile(r"(?:([0-9a-f]{1,32})-)?(\d{1,18})", re.ASCII)


class Place(Struct, frozen=True):
    """Behind which event somebody reads on. 0 is the beginning."""

    seq: int
    epoch: str | None = None  # of the log it was in; None: the one there is

    def __str__(self) -> str:
        return str(self.seq) if self.epoch is None else f"{self.epoch}-{self.seq}"


def place(text: str) -> Place | None:
    """The place a text names, `SEQ` or `EPOCH-SEQ`; None if it names none."""
    found = _PLACE.fullmatch(text)
    return None if found is None else Place(int(found[2]), found[1])


class Batch(Struct, frozen=True):
    """What a stream has to tell next: that something is missing, and events."""

    events: Sequence[Passed]
    place: Place  # behind all of it
    reset: bool = False  # events may be missing, so look at everything afresh: what follows is what comes after this
    lagged: bool = False  # the reader is too slow: progress and log lines are left out until it has caught up


class Stream:
    """The events that fit what is wanted, in order, from a place in the log on. `close` it."""

    def __init__(self, store: Store, notify: Notify, channel: Channel, epoch: str, cursor: int) -> None:
        self._store = store
        self._notify = notify
        self._channel = channel
        self._epoch = epoch
        self._cursor = cursor
        self._resets = notify.feed.resets
        self._broken = False  # nothing is behind the place asked for, or something between is gone
        self._was_level = False  # it had all there was
        self._lossy = False

    @property
    def place(self) -> Place:
        return Place(self._cursor, self._epoch)

    @property
    def over(self) -> bool:
        """The service stops: nothing more will come."""
        return self._notify.closed

    @property
    def ready(self) -> bool:
        """Whether there may be something to take."""
        return (
            self._broken
            or self._resets != self._notify.feed.resets
            or self._cursor < self._channel.since
            or bool(self._channel.after(self._cursor))
        )

    def break_off(self) -> None:
        """The place asked for is not in this log: the next batch says so."""
        self._broken = True

    async def take(self, limit: int = PAGE) -> Batch:
        """What there is by now, perhaps nothing. Raises StoreUnavailable: then nothing is lost, take it again."""
        if self._broken or self._resets != self._notify.feed.resets:
            return await self._begin_anew()
        lagged = self._falls_behind()
        if self._cursor < self._channel.since:
            page = await self._store.events(self._cursor, limit if self._channel.wanted == Wanted() else PAGE)
            if page.reset and self._cursor > 0:
                return await self._begin_anew()
            fitting = self._fitting(page)
            if not page.events:  # the store does not have yet what this process has heard of
                await asyncio.sleep(PAUSE)
            return self._batch(fitting, page.next, limit, lagged)
        found = [passed for passed in self._channel.after(self._cursor) if self._keeps(passed)]
        self._was_level, self._lossy = True, False
        return self._batch(found, max(self._cursor, self._notify.position), limit, lagged)

    async def wait(self, timeout: float) -> None:
        """Return when there may be something to take, and after `timeout` seconds."""
        if self.ready or self.over:
            return
        waiter = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = asyncio.get_running_loop().call_later(timeout, wake)
        self._channel.call(wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._channel.forget(wake)

    def call(self, wake: Callable[[], None]) -> None:
        """Call this once there may be something to take. For those who wait for several streams."""
        self._channel.call(wake)

    def close(self, wake: Callable[[], None] | None = None) -> None:
        """Let go of it; `wake` is not called any more."""
        if wake is not None:
            self._channel.forget(wake)
        self._notify.leave(self._channel)

    def _falls_behind(self) -> bool:
        """Whether it does so now, having been level before."""
        behind = self._was_level and self._notify.position - self._cursor > MOST_BEHIND and self._cursor < self._channel.since
        if behind:
            self._was_level, self._lossy = False, True
        return behind

    def _keeps(self, passed: Passed) -> bool:
        return not self._lossy or passed.event.kind is EventKind.STATUS

    def _fitting(self, page: EventPage) -> list[Passed]:
        fits = self._channel.wanted.fits
        return [passed for event in page.events if fits(event) and self._keeps(passed := Passed(event))]

    def _batch(self, found: list[Passed], upto: int, limit: int, lagged: bool) -> Batch:
        if len(found) > limit:
            found = found[:limit]
            upto = found[-1].event.seq
        self._cursor = upto
        return Batch(found, self.place, lagged=lagged)

    async def _begin_anew(self) -> Batch:
        resets = self._notify.feed.resets
        self._epoch = await self._notify.epoch.get()
        self._cursor, self._resets, self._broken, self._lossy = self._notify.position, resets, False, False
        return Batch((), self.place, reset=True)


class Follow:
    """Opens streams, and answers pages."""

    def __init__(self, store: Store, notify: Notify) -> None:
        self._store = store
        self._notify = notify
        self._resting = 0

    async def open(self, wanted: Wanted, after: Place | None) -> Stream:
        """A stream of what comes after a place, or from now on. Raises StoreUnavailable."""
        channel = await self._notify.join(wanted)
        try:
            epoch = await self._notify.epoch.get()
            cursor = self._notify.position if after is None else after.seq
            stream = Stream(self._store, self._notify, channel, epoch, cursor)
            if after is not None and not await self._is_there(after, epoch):
                stream.break_off()
        except BaseException:
            self._notify.leave(channel)
            raise
        return stream

    async def page(self, wanted: Wanted, after: Place, limit: int, timeout: float) -> Batch:
        """Events after a place, at most `limit`; if there are none yet, as soon as there are, or none after `timeout` seconds.

        `place` is where to read on. It may be short, even empty, while there is more: many events are looked at for one page,
        but not all there may be."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        stream = await self.open(wanted, after)
        try:
            most, upto = after.seq + MOST_READ, await self.head()
            while True:
                batch = await stream.take(limit)
                left = deadline - loop.time()
                level = batch.place.seq >= upto and not stream.ready
                if batch.events or batch.reset or batch.place.seq >= most or stream.over or (level and left <= 0):
                    return batch
                await stream.wait(max(0.0, left) if level else GLANCE)
        finally:
            stream.close()

    async def rest(self, batch: Batch) -> None:
        """A pause after a large batch: the longer, the more streams have one, so that they leave time for other work."""
        if len(batch.events) < MANY:
            return
        self._resting += 1
        try:
            await asyncio.sleep(REST * self._resting)
        finally:
            self._resting -= 1

    async def has_missed(self, task: Task, after: Place) -> bool:
        """Whether there may be events of a task that has ended behind a place: none are if its end was told before.

        Reads the log from there as far as the task's end, and no more."""
        if not await self._is_there(after, await self._notify.epoch.get()):
            return True
        end = (task.finished_at or 0.0) + SLACK
        before = max(0, after.seq - 1)  # what was told last may have been the very end
        while True:
            page = await self._store.events(before, PAGE)
            if page.reset:
                return True
            for event in page.events:
                if event.id == task.id and (event.seq > after.seq or _is_end(event, task)):
                    return event.seq > after.seq
            if not page.events or page.events[-1].time > end:
                return False
            before = page.next

    @property
    def over(self) -> bool:
        """The service stops: nothing more will come."""
        return self._notify.closed

    def at_close(self, wake: Callable[[], None]) -> None:
        """Call this when the service stops. End with `not_at_close`."""
        self._notify.feed.at_close(wake)

    def not_at_close(self, wake: Callable[[], None]) -> None:
        self._notify.feed.not_at_close(wake)

    async def head(self) -> int:
        """The newest event of all, whoever wrote it. Raises StoreUnavailable.

        `Store.head` is what this process has heard of; a store that is asked for what no log has looks where its log ends."""
        return (await self._store.events(BEYOND, 1)).next

    async def _is_there(self, after: Place, epoch: str) -> bool:
        """Whether a place is in this log; whether the log still reaches back to it shows when it is read."""
        if after.epoch not in (None, epoch):
            return False
        return after.seq <= self._notify.position or not (await self._store.events(after.seq, 1)).reset


async def beginning(follow: Follow, stream: Stream, look: Callable[[], Awaitable[Task]]) -> list[Passed]:
    """How a task stands, as an event, and those that have come since. Raises what `look` raises.

    A change that is committed while this looks is either in the first or behind it, never in both."""
    task = await look()
    upto = await follow.head()
    found: list[Passed] = []
    while True:
        found += (await stream.take()).events
        if stream.place.seq >= upto or stream.over:
            break
        await stream.wait(GLANCE)
    known = [n for n, passed in enumerate(found, start=1) if _tells(passed.event, task)]
    later = found[known[-1] :] if known else found
    seq = later[0].event.seq - 1 if later else stream.place.seq
    time = task.finished_at or task.started_at or task.created_at
    return [Passed(Event(seq, time, task.id, task.type, task.queue, task.status, task.attempt)), *later]


def _tells(event: Event, task: Task) -> bool:
    return event.kind is EventKind.STATUS and (event.status, event.attempt) == (task.status, task.attempt)


def _is_end(event: Event, task: Task) -> bool:
    return event.status in FINAL and event.time >= (task.finished_at or 0.0)
