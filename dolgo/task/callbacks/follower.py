"""Follows the event log and submits a delivery for each end that somebody wants to hear of.

One process follows at a time. The deliveries of a page and the cursor behind it are one commit, under the cursor's version: so
nothing is lost or doubled, whoever dies and whoever takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from dolgo.egress.urls import host_of
from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.store.base import Store
from dolgo.task.callbacks.cursor import TOLD, Book, Cursor, put
from dolgo.task.callbacks.wish import HASH, QUEUE, TYPE, Delivery, wish_of
from dolgo.task.ids import Ids
from dolgo.task.types import FINAL, Event, EventKind, NewTask, Put, Status

log = logging.getLogger("dolgo.callbacks")

PAGE = 1_000  # events read at once
HELD = 5.0  # seconds a process follows alone without saying so again: that long deliveries wait if it dies
BREATH = 0.02  # seconds between two pages that are not full: at full load events come in by the hundred
LOOK = 1.0  # seconds between two looks while nobody has asked for a callback, or another process follows
AFTER_A_FAULT = 1.0  # seconds
KEPT = 7 * 86_400.0  # seconds it is known which deliveries a task had
TRIES = 1_000  # more than a day's

_encode = msgspec.json.Encoder().encode


class Follower:
    """Follows as long as it runs. `id` tells this process from others."""

    def __init__(self, store: Store, book: Book, *, id: str) -> None:
        self._store = store
        self._book = book
        self._id = id
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="callbacks")

    async def stop(self) -> None:
        """Calling it twice is harmless."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.step()
            except Refused as error:
                log.warning("Callbacks wait for the store: %s", error, extra=SELDOM)
                await asyncio.sleep(AFTER_A_FAULT)
            except Exception:  # deliveries that are never submitted would be missed much later than a traceback
                log.exception("Callbacks cannot be submitted; it is tried again.")
                await asyncio.sleep(AFTER_A_FAULT)

    async def step(self) -> None:
        """Follow until the cursor is somebody else's; or wait until there may be something to follow."""
        begun = self._book.begun.count
        found = await self._book.read()
        if found is None:
            await self._book.begun.wait(begun, LOOK)
            return
        cursor, version = found
        now = await self._store.now()
        if cursor.holder != self._id and cursor.until > now:
            await asyncio.sleep(min(LOOK, cursor.until - now))
        else:
            await self._follow(cursor, version)

    async def _follow(self, cursor: Cursor, version: int) -> None:
        """Page by page, until a commit meets another version. The cursor is written with deliveries, and now and then."""
        seq, until = cursor.seq, 0.0
        while True:
            rung = self._store.log.count
            page = await self._store.events(seq, PAGE)
            if page.reset:
                log.error("The event log no longer reaches back to event %d: callbacks may be missing.", seq)
            if not page.events and seq == page.next:
                await self._store.log.wait(rung)
                continue
            tasks, puts = await self._deliveries(page.events)
            seq, now = page.next, await self._store.now()
            if tasks or now >= until - HELD / 2:
                until = now + HELD
                answer = await self._store.submit(tasks, [put(Cursor(seq, self._id, until), version), *puts])
                if answer.existing is not None:
                    return
                version += 1
            if tasks:
                self._book.begun.ring()
            if len(page.events) < PAGE:
                await asyncio.sleep(BREATH)

    async def _deliveries(self, events: Sequence[Event]) -> tuple[list[NewTask], list[Put]]:
        ends = [event for event in events if is_end(event)]
        wanted = list(dict.fromkeys(event.id for event in ends))
        found = dict(zip(wanted, await self._store.get(wanted), strict=True)) if wanted else {}
        made: list[NewTask] = []
        puts: list[Put] = []
        for event in ends:
            task = found[event.id]
            wish = None if task is None else wish_of(task.extras)
            if wish is not None and event.status in wish.on:
                made.append(delivery(event, wish.url))
                puts.append(Put(f"{TOLD}{event.id}/{event.seq:016}", made[-1].id.encode(), None, KEPT))
        return made, puts


def is_end(event: Event) -> bool:
    """Whether it may be one that somebody wants to hear of."""
    return event.kind is EventKind.STATUS and event.status in FINAL and Ids.is_flagged(event.id)


def delivery(event: Event, url: str) -> NewTask:
    """The task that delivers it. Its id is made of the event's task and number: submitted again it is the same."""
    id = Ids.derived_at(event.time, f"callback/{event.id}/{event.seq}")
    payload = _encode(Delivery(event.id, Status(event.status), event.time, url))
    return NewTask(id, TYPE, HASH, QUEUE, payload, max_attempts=TRIES, limit_key=host_of(url))
