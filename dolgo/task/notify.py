"""Who hears that a task changed: follows the event log while somebody waits, and costs nothing while nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.base import EventPage, Store
from dolgo.task.epoch import Epoch
from dolgo.task.feed import Channel, Feed, Wanted
from dolgo.task.types import FINAL, End, Event, Settlement

log = logging.getLogger("dolgo.notify")

PAGE = 1_000  # events read at once
PAUSE = 0.5  # seconds before the log is read again after the store could not be read


class Watch:
    """The events of one task, from the moment the watch was set."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._stale = False
        self._for_the_end = False  # whoever waits is not to be woken by anything else
        self._end: End | None = None  # as this process wrote it

    def tell(self, event: Event | None) -> None:
        """An event, or None for "look at the store"."""
        if event is None:
            self._stale = True
        else:
            self._events.append(event)
        if event is None or event.status in FINAL or not self._for_the_end:
            self._wake()

    async def news(self, timeout: float) -> list[Event] | None:
        """What has happened since the last call, waiting up to `timeout` seconds for something; may be empty.

        None: something may have been missed, so look at the store."""
        if not self._events and not self._stale:
            await self._sleep(timeout)
        stale, events = self._stale, self._events
        self.forget()
        return None if stale else events

    def forget(self) -> None:
        """What has been told up to now is known."""
        self._stale, self._events, self._end = False, [], None

    async def ended(self, timeout: float) -> End | None:
        """The end, once it is committed, if a worker of this process wrote it. None: look at the store.

        That is when another process wrote it, it may have been missed, or `timeout` seconds are over."""
        self._for_the_end = True
        if self._end is None and not self._stale and not any(event.status in FINAL for event in self._events):
            await self._sleep(timeout)
        return self._end

    def settled(self, end: End) -> None:
        """The end was committed by this process: nobody needs to read back what it has just written."""
        self._end = end
        self._wake()

    async def _sleep(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Notify:
    """Passes events of the log to those who watch a task, and to the streams."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.epoch = Epoch(store)
        self.feed = Feed()
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)
        self._after = 0
        self._follower: asyncio.Task[None] | None = None
        self._closed = False

    async def watch(self, id: str) -> Watch:
        """A watch on a task: every event committed from now on reaches it. End it with `unwatch`."""
        watch = Watch()
        self._watches[id].add(watch)
        try:
            await self._have_followed()
        except BaseException:
            self.unwatch(id, watch)
            raise
        return watch

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def position(self) -> int:
        """The newest event that was passed on."""
        return self._after

    async def join(self, wanted: Wanted) -> Channel:
        """Where all events that fit come past, from now on. End it with `leave`."""
        if not self._following:
            head = await self._store.head()
            if not self._closed and not self._following:
                self._after = head
        channel = self.feed.join(wanted, self._after)
        if not self._closed and not self._following:
            self._start(self._after)
        return channel

    def leave(self, channel: Channel) -> None:
        self.feed.leave(channel)

    @property
    def _following(self) -> bool:
        return self._follower is not None and not self._follower.done()

    def unwatch(self, id: str, watch: Watch) -> None:
        """Nothing reaches the watch any more. Calling it twice is harmless."""
        watches = self._watches.get(id, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(id, None)

    def settled(self, settlements: Iterable[Settlement]) -> None:
        """These were committed just now: who waits for such an end is handed it."""
        for settlement in settlements if self._watches else ():
            for watch in self._watches.get(settlement.lease.id, ()):
                watch.settled(End(settlement.lease.id, settlement.status, settlement.result, settlement.error))

    def close(self) -> None:
        """Wake everybody: waits answer as things stand. Later watches are woken at once."""
        self._closed = True
        self._tell_all()
        self.feed.close()
        if self._follower is not None:
            self._follower.cancel()

    async def _have_followed(self) -> None:
        """Start the follower unless it is at work, from where the log ends now."""
        if self._closed:
            self._tell_all()
        elif not self._following:
            self._start(await self._store.head())

    def _start(self, head: int) -> None:
        """Unless another watch has done so meanwhile: from another place, and nothing after that must be skipped."""
        if not self._closed and not self._following:
            self._after = head
            self._follower = asyncio.create_task(self._follow(), name="notify")

    async def _follow(self) -> None:
        while self._watches or self.feed:
            rung = self._store.log.count
            try:
                page = await self._store.events(self._after, PAGE)
                if page.reset:
                    await self._begin_anew(page)
            except StoreUnavailable as error:
                log.warning("The event log cannot be read: %s", error, extra=SELDOM)
                await asyncio.sleep(PAUSE)
                continue
            except Exception:  # who knows whether it will pass: those who wait look for themselves meanwhile
                log.exception("The event log cannot be read.")
                self._tell_all()
                await asyncio.sleep(PAUSE)
                continue
            self._pass_on(page)
            if len(page.events) == PAGE:
                await asyncio.sleep(0)  # those who were woken may take theirs before more comes
            elif not page.events:
                await self._store.log.wait(rung)

    async def _begin_anew(self, page: EventPage) -> None:
        """The log does not go on where it was read last: its end is lost, or its beginning was trimmed before it was read."""
        if page.next < self._after:
            log.warning("The event log ends at %d and was read up to %d: its end is lost.", page.next, self._after)
            await self.epoch.renew()
        self._after = await self._store.head()
        self._tell_all()
        self.feed.reset(self._after)

    def _pass_on(self, page: EventPage) -> None:
        if page.reset:
            return
        self._after = page.next
        for event in page.events if self._watches else ():
            for watch in self._watches.get(event.id, ()):
                watch.tell(event)
        self.feed.pass_on(page.events)

    def _tell_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.tell(None)
