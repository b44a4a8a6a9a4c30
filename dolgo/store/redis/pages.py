"""Pages of tasks, and what else is shown of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from dolgo.store.base import IdPage, Page
from dolgo.store.redis.pack import STATE, STATUSES, Head, to_parents, to_task
from dolgo.task.types import Details, Query, QueueCounts, Status, Task

MOST_LOOKS = 10_000  # tasks that are looked at for one page
AT_ONCE = 500  # of them in one call, so that none holds the server for long
FEW = (Status.WAITING, Status.FAILED, Status.CANCELLED)  # that are kept in an order of their own

Ask = Callable[..., Awaitable[tuple[Any, list[bytes]]]]
Place = tuple[float, str]

_decode_id = msgspec.json.Decoder(str).decode


async def page(ask: Ask, query: Query) -> Page:
    tasks: list[Task] = []
    after = query.after
    for _ in range(MOST_LOOKS // AT_ONCE):
        rows, blobs, after = await _some(ask, query, after, query.limit - len(tasks), bodies=True)
        beside = iter(blobs)
        found = [to_task(row[0], row[1:], beside) for row in rows]
        tasks += [task for task in found if query.tag is None or query.tag in task.tags]
        if after is None or len(tasks) >= query.limit:
            break
    return Page(tasks, after)


async def ids(ask: Ask, query: Query) -> IdPage:
    """As `page`. What a tag asks for is in the bodies of the tasks, and only there."""
    if query.tag is not None:
        found = await page(ask, query)
        return IdPage([task.id for task in found.tasks], found.after)
    ids: list[str] = []
    after = query.after
    for _ in range(MOST_LOOKS // AT_ONCE):
        rows, _, after = await _some(ask, query, after, query.limit - len(ids), bodies=False)
        ids += [row[0] for row in rows]
        if after is None or len(ids) >= query.limit:
            break
    return IdPage(ids, after)


async def _some(
    ask: Ask, query: Query, after: Place | None, limit: int, *, bodies: bool
) -> tuple[list[Head], list[bytes], Place | None]:
    """The rows of one call, the bytes beside them, and where the next call goes on."""
    time, id = (None, "") if after is None else after
    state = None if query.status is None else STATE[query.status]
    (rows, next_time, next_id), blobs = await ask(
        "list", _walk(query), int(query.order.startswith("-")), query.created_after, query.created_before, time, id, state,
        query.type, query.queue, query.worker, limit, AT_ONCE, int(bodies), query.without, again=True,
    )  # fmt: skip
    return rows, blobs, None if next_time is False else (float(next_time), next_id)


def _walk(query: Query) -> str:
    """What to walk along, so that as few as may be are looked at in vain."""
    if query.order.endswith("finished_at"):
        return "finished"
    if query.status in FEW:
        return f"few:{STATE[query.status]}"
    return "leases" if query.status is Status.IN_PROGRESS else "created"


def to_details(row: Head, blobs: Iterator[bytes]) -> Details:
    dependents, awaited, submitted = row
    parents, progress = next(blobs), next(blobs)
    told = tuple(_decode_id(next(blobs)) for _ in range(submitted))
    return Details(to_parents(parents), tuple(dependents), told, progress or None, tuple(awaited))


def to_counts(row: Head) -> QueueCounts:
    queue, type, hash, numbers = row
    counts: dict[Status, int] = {}
    for state, number in enumerate(numbers, start=1):
        status = STATUSES[state]
        if number and status is not None:
            counts[status] = counts.get(status, 0) + number
    return QueueCounts(queue, type, hash, counts)
