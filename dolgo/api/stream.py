"""Events as they are sent: as JSON, and as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import logging
from asyncio import sleep
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
from msgspec import UNSET, Raw

from dolgo.api.told import ShownEvent
from dolgo.api.views import moment
from dolgo.errors import NotFound, Refused
from dolgo.logs import SELDOM
from dolgo.task.feed import Passed
from dolgo.task.follow import Batch, Follow, Place, Stream, beginning
from dolgo.task.types import FINAL, Event, EventKind, Task

log = logging.getLogger("dolgo.api")

MEDIA_TYPE = b"text/event-stream"
HEARTBEAT = 15.0  # seconds without an event after which a comment says that the stream is alive
AT_ONCE = 200  # events written at once: as much as a slow reader costs memory
AGAIN = 1.0  # seconds before a store that could not be read is asked again
BEGIN = b"retry: 1000\n"  # milliseconds after which a browser comes back

_encode = msgspec.json.Encoder().encode


def as_shown(event: Event) -> ShownEvent:
    """An event as clients see it."""
    progress = Raw(event.data) if event.kind is EventKind.PROGRESS and event.data is not None else UNSET
    what, time = event.kind, moment(event.time)
    return ShownEvent(event.seq, time, what, event.id, event.type, event.queue, event.status, event.attempt, progress)


def shown(passed: Passed) -> bytes:
    """An event as JSON, made once for all who get it."""
    if passed.shown is None:
        passed.shown = _encode(as_shown(passed.event))
    return passed.shown


async def everything(follow: Follow, stream: Stream) -> AsyncGenerator[bytes]:
    """What is sent of a stream, until the service stops."""
    yield BEGIN + (b"\n" if stream.ready else _heartbeat(stream.place))
    while not stream.over:
        batch = await _next(stream)
        if batch is None:
            yield _heartbeat(stream.place)
        elif text := _text(batch):
            yield text
            await follow.rest(batch)


async def one_task(
    follow: Follow, stream: Stream, look: Callable[[], Awaitable[Task]], *, resumed: bool
) -> AsyncGenerator[bytes]:
    """What is sent of a task's events: how it stands first, then what follows, until it has ended.

    One that is resumed begins with what follows."""
    try:
        yield BEGIN + b"\n"
        begins = not resumed
        while not stream.over:
            batch = await _next(stream) if not begins else await _first(follow, stream, look)
            if batch is None:
                yield _heartbeat(stream.place)
                continue
            begins = batch.reset
            text, ended = _until_the_end(batch)
            if text:
                yield text
            if ended:
                return
    except NotFound:
        return  # deleted before it was looked at


async def _next(stream: Stream) -> Batch | None:
    """What there is to tell; None if there was nothing for a while, or the store cannot be read."""
    try:
        if not stream.ready:
            await stream.wait(HEARTBEAT)
        batch = await stream.take(AT_ONCE)
        return batch if batch.events or batch.reset or batch.lagged or stream.ready else None
    except NotFound:
        raise
    except Refused as error:
        log.warning("A stream cannot go on for now: %s", error, extra=SELDOM)
        await sleep(AGAIN)
        return None


async def _first(follow: Follow, stream: Stream, look: Callable[[], Awaitable[Task]]) -> Batch | None:
    try:
        return Batch(await beginning(follow, stream, look), stream.place)
    except NotFound:
        raise
    except Refused as error:
        log.warning("A stream cannot begin for now: %s", error, extra=SELDOM)
        await sleep(AGAIN)
        return None


def _text(batch: Batch) -> bytes:
    """A batch as server-sent events; empty if there is nothing in it."""
    told = [_told("reset", batch.place)] if batch.reset else []
    if batch.lagged:
        told.append(b'event: lagged\ndata: {"epoch":"%b"}\n\n' % (batch.place.epoch or "").encode())
    epoch = batch.place.epoch or ""
    return b"".join(told + [_one(passed, epoch) for passed in batch.events])


def _one(passed: Passed, epoch: str) -> bytes:
    """An event as a stream has it, made once for all streams."""
    if passed.framed is None or passed.framed[0] != epoch:
        event = passed.event
        id, kind = f"{epoch}-{event.seq}".encode(), event.kind.encode()
        passed.framed = epoch, b"id: %b\nevent: %b\ndata: %b\n\n" % (id, kind, shown(passed))
    return passed.framed[1]


def _until_the_end(batch: Batch) -> tuple[bytes, bool]:
    """The batch as far as the first end of a task in it, and whether there is one."""
    for n, passed in enumerate(batch.events, start=1):
        if passed.event.kind is EventKind.STATUS and passed.event.status in FINAL:
            return _text(Batch(batch.events[:n], batch.place, batch.reset, batch.lagged)), True
    return _text(batch), False


def _told(what: str, at: Place) -> bytes:
    data = b'{"epoch":"%b","next":%d}' % ((at.epoch or "").encode(), at.seq)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(at).encode(), what.encode(), data)


def _heartbeat(at: Place) -> bytes:
    """A comment, and how far the stream is: who reconnects begins there, and not at the last event that was for them."""
    return b": here\nid: %b\n\n" % str(at).encode()
