"""Tasks that exist: how they stand, and what can be done with them by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil

from dolgo.api import asked, views
from dolgo.api.call import Answer, Call, Header
from dolgo.api.intake import NOTHING, read
from dolgo.api.parts import Api
from dolgo.api.schema import Empty
from dolgo.task.types import FINAL, Status, Task

LONGEST_PAUSE = 60  # seconds between two looks that a client is asked to keep
SMALL_BODY = 1 << 12  # bytes


async def get_task(api: Api, call: Call) -> Answer:
    """How a task stands.

    A task that failed is an answer like any other. With `wait` the answer is held back until the task has ended; together with
    `If-None-Match` until it is another than the one the client has."""
    timeout, headers = asked.wait(call)
    if timeout:
        task = await call.while_there(api.manager.wait_until(call.name, timeout, _enough(api, call)))
    else:
        task = await api.manager.get(call.name)
    body = await _body(api, call, task)
    etag = views.etag(body)
    headers = ((b"etag", etag), (b"cache-control", b"no-cache"), *headers, *await _retry_after(api, task))
    return Answer(304, b"", headers) if asked.unless(call, etag) else Answer(200, body, headers)


async def cancel_task(api: Api, call: Call) -> Answer:
    """Cancel a task: at once where it waits, as soon as its worker hears of it where it runs.

    Once answered, the task does not run again. Cancelling it again changes nothing."""
    read(await call.body(SMALL_BODY) or NOTHING, Empty)
    status = await api.manager.cancel(call.name)
    return Answer(200 if status is Status.CANCELLED else 202, views.accepted(call.name, status), _location(call))


async def retry_task(api: Api, call: Call) -> Answer:
    """Run a failed or cancelled task again, under the same id."""
    read(await call.body(SMALL_BODY) or NOTHING, Empty)
    status = await api.manager.retry(call.name)
    return Answer(202, views.accepted(call.name, status), _location(call))


async def delete_task(api: Api, call: Call) -> Answer:
    """Forget a task that has ended."""
    await api.manager.delete(call.name)
    return Answer(204)


async def _body(api: Api, call: Call, task: Task) -> bytes:
    return await views.shown_alone(api.manager, task, call.query.get("view"))


def _enough(api: Api, call: Call) -> Callable[[Task], Awaitable[bool]]:
    """Whether the answer need not be held back any more."""

    async def final(task: Task) -> bool:
        return task.status in FINAL

    async def other(task: Task) -> bool:
        return not asked.unless(call, views.etag(await _body(api, call, task)))

    return other if b"if-none-match" in call.headers else final


async def _retry_after(api: Api, task: Task) -> tuple[Header, ...]:
    """When to look again, while there is something to look for."""
    if task.status in FINAL:
        return ()
    pause = 1
    if task.status is Status.QUEUED and task.run_at > task.created_at:
        pause = max(1, min(LONGEST_PAUSE, ceil(task.run_at - await api.manager.now())))
    return ((b"retry-after", b"%d" % pause),)


def _location(call: Call) -> tuple[Header, ...]:
    return ((b"location", b"/tasks/" + call.name.encode()),)
