"""The event log: pages of it, and streams of what happens."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

from dolgo.api import stream as sse
from dolgo.api.call import Answer, Call, Reply, Streamed
from dolgo.api.parts import Api
from dolgo.api.told import Events
from dolgo.api.views import answer
from dolgo.errors import InvalidRequest, Problem
from dolgo.task.feed import Wanted
from dolgo.task.follow import Batch, Place, beginning, place
from dolgo.task.types import FINAL, Task

NOWHERE = Place(0, "none")  # what no log has: who asks for it is told `reset`
LIMIT = 100  # events of a page, if nothing else is asked for

_UNCACHED = ((b"cache-control", b"no-cache"),)
_STREAM = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))  # the latter has nginx pass on what it gets


async def get_events(api: Api, call: Call) -> Reply:
    """What happens to tasks, in order.

    A page of the log, or with `Accept: text/event-stream` a stream: `id` is the place of each event, `Last-Event-ID` goes on
    behind it, over reconnects and restarts, from any server of the store. `event: reset` says that events may be missing;
    `event: lagged` that the reader is too slow and loses progress and log lines until it has caught up. With `wait` a page with
    nothing in it is held back until there is something."""
    asked = call.query
    caller = call.caller
    wanted = Wanted(None, asked.get("type"), asked.get("queue"), asked.get("status"), caller.types, caller.queues)
    if _streams(call):
        stream = await api.follow.open(wanted, _resumed(call) or asked.get("after"))
        return Streamed(sse.everything(api.follow, stream), stream.close, sse.MEDIA_TYPE, _STREAM)
    page = api.follow.page(wanted, asked.get("after") or Place(0), asked.get("limit", LIMIT), asked.get("wait", 0.0))
    return _page(await call.while_there(page))


async def get_task_events(api: Api, call: Call) -> Reply:
    """What happens to one task: how it stands first, then what follows.

    As `GET /events`. The stream ends after the task has, and to come back to it then is answered with `204`, at which a browser
    stops coming back."""
    look = functools.partial(api.manager.get, call.name)
    task = await look()
    wanted = Wanted(call.name)
    if not _streams(call):
        return _page(await call.while_there(_task_page(api, call, wanted, look)))
    after = _resumed(call) or call.query.get("after")
    if after is not None and task.status in FINAL and not await api.follow.has_missed(task, after):
        return Answer(204)
    stream = await api.follow.open(wanted, after)
    pieces = sse.one_task(api.follow, stream, look, resumed=after is not None)
    return Streamed(pieces, stream.close, sse.MEDIA_TYPE, _STREAM)


async def _task_page(api: Api, call: Call, wanted: Wanted, look: Callable[[], Awaitable[Task]]) -> Batch:
    limit = call.query.get("limit", LIMIT)
    if "after" in call.query:
        return await api.follow.page(wanted, call.query["after"], limit, call.query.get("wait", 0.0))
    stream = await api.follow.open(wanted, None)
    try:
        events = (await beginning(api.follow, stream, look))[:limit]
        return Batch(events, Place(events[-1].event.seq, stream.place.epoch))
    finally:
        stream.close()


def _streams(call: Call) -> bool:
    """Whether a stream is asked for. Raises InvalidRequest for parameters that are for pages."""
    accepted = call.headers.get(b"accept", b"").lower()
    if sse.MEDIA_TYPE not in accepted:
        return False
    problems = [
        Problem(f"/query/{name}", "it is for pages, not for a stream") for name in ("limit", "wait") if name in call.query
    ]
    if problems:
        raise InvalidRequest.of(problems, "query")
    return True


def _resumed(call: Call) -> Place | None:
    """Where `Last-Event-ID` says that the client has come to. What is no place of ours may be one of another log."""
    sent = call.headers.get(b"last-event-id", b"").strip()
    return (place(sent.decode("latin-1")) or NOWHERE) if sent else None


def _page(batch: Batch) -> Answer:
    page = Events([sse.as_shown(passed.event) for passed in batch.events], batch.place.seq, batch.place.epoch or "", batch.reset)
    given = answer(page)
    return Answer(given.status, given.body, _UNCACHED)
