"""Follows the event log and submits a delivery for each end that somebody wants to hear of.

One process follows at a time. The deliveries of a page and the cursor behind it are one commit, under the cursor's version: so
nothing is lost or doubled, whoever dies and whoever takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from dolgo import tracing
from dolgo.egress.urls import host_of
from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.store.base import Store
from dolgo.task.callbacks.cursor import TOLD, Book, Cursor, put
from dolgo.task.callbacks.wish import HASH, QUEUE, TYPE, Callback, Delivery, wish_of
from dolgo.task.ids import Ids
from dolgo.task.types import FINAL, Event, EventKind, NewTask, Put, Status, Task

log = logging.getLogger("dolgo.callbacks")

PAGE = 1_000  # events read at once
READ = 10  # tasks read at once: a result may have 16 MiB
MOST = 8 << 20  # bytes of payloads in a commit, or few more
LARGEST = 256 << 10  # bytes of a result that is sent; a larger one is linked to
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
        seq, written, until = cursor.seq, cursor.seq, 0.0
        while True:
            rung = self._store.log.count
            page = await self._store.events(seq, PAGE)
            if page.reset:
                log.error("The event log no longer reaches back to event %d: callbacks may be missing.", seq)
            made = await self._deliveries(page.events)
            before, seq, now = seq, page.next if made.upto is None else made.upto, await self._store.now()
            if made.tasks or (seq != written and now >= until - HELD / 2):
                until = now + HELD
                answer = await self._store.submit(made.tasks, [put(Cursor(seq, self._id, until), version), *made.puts])
                if answer.existing is not None:
                    return
                written, version = seq, version + 1
            if made.tasks:
                self._book.begun.ring()
            if seq == before:
                await self._store.log.wait(rung, None if seq == written else HELD / 2)
            elif len(page.events) < PAGE and made.upto is None:
                await asyncio.sleep(BREATH)

    async def _deliveries(self, events: Sequence[Event]) -> _Made:
        """Of the first of these events, as many as go into one commit."""
        made, size = _Made([], []), 0
        for some in _in_parts([event for event in events if is_end(event)]):
            for event, task in zip(some, await self._store.get([event.id for event in some]), strict=True):
                wish = None if task is None else wish_of(task.extras)
                if task is not None and wish is not None and event.status in wish.on:
                    made.add(event, delivery(event, wish, task))
                    size += len(made.tasks[-1].payload)
            if size > MOST:
                return _Made(made.tasks, made.puts, some[-1].seq)
        return made


class _Made(Struct, frozen=True):
    """What a page of events brought."""

    tasks: list[NewTask]
    puts: list[Put]
    upto: int | None = None  # the event that was the last one to be looked at, if not all were

    def add(self, event: Event, task: NewTask) -> None:
        self.tasks.append(task)
        self.puts.append(Put(f"{TOLD}{event.id}/{event.seq:016}", task.id.encode(), None, KEPT))


def _in_parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), READ):
        yield events[start : start + READ]


def is_end(event: Event) -> bool:
    """Whether it may be one that somebody wants to hear of."""
    return event.kind is EventKind.STATUS and event.status in FINAL and Ids.is_flagged(event.id)


def delivery(event: Event, wish: Callback, task: Task) -> NewTask:
    """The task that delivers it. Its id is made of the event's task and number: submitted again it is the same.

    It goes with the trace of its task, and is kept as long once it has ended."""
    id = Ids.derived_at(event.time, f"callback/{event.id}/{event.seq}")
    return NewTask(
        id, TYPE, HASH, QUEUE, _encode(_told(event, wish, task)),
        max_attempts=TRIES, keep=task.keep, limit_key=host_of(wish.url), extras=tracing.passed_on(task.extras),
    )  # fmt: skip


def _told(event: Event, wish: Callback, task: Task) -> Delivery:
    """As the task stands; of one that was retried meanwhile, the end alone."""
    told = Delivery(event.id, Status(event.status), event.time, wish.url, task.type)
    if task.status != event.status:
        return told
    if task.status is not Status.DONE:
        return replace(told, error=UNSET if task.error is None else task.error.message)
    result = task.result or b"null"
    return replace(told, linked=True) if len(result) > LARGEST else replace(told, result=Raw(result))
