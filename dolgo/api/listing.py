"""The list of tasks: filters, order, and a cursor that stays good while tasks come and go."""

from __future__ import annotations

import base64
from math import isfinite
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec.structs import replace

from dolgo.api import views
from dolgo.api.access.limits import narrowed
from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api
from dolgo.api.query import ORDERS, own_unless_named
from dolgo.errors import InvalidRequest, Problem
from dolgo.task.types import Query, Task

AT_ONCE = 50  # tasks fetched in one go: each may hold a payload and a result of many megabytes
MOST_LOOKED_AT = 1_000  # tasks, of which some may not be the caller's: a page may then be short
MOST_BYTES = 16 << 20  # of a page; past it the page ends early

Position = tuple[float, str]  # a task's time, by the order, and its id

_cursor = msgspec.json.Decoder(tuple[str, float, str])


async def list_tasks(api: Api, call: Call) -> Answer:
    """Tasks, newest first if nothing else is asked for.

    Pages are stable: a task that comes or goes meanwhile moves no other to another page."""
    query = _query(call)
    narrower = narrowed(call.caller, query)
    if not narrower:
        return _answer(call, [], None)
    if len(narrower) == 1:
        query = narrower[0]
    shown: list[bytes] = []
    size, looked_at, after = 0, 0, query.after
    while True:
        asked_for = min(AT_ONCE, query.limit - len(shown))
        page = await api.manager.list(replace(query, limit=asked_for, after=after))
        bodies = await views.shown(api.manager, page.tasks, call.query.get("view"))
        for task, body in zip(page.tasks, bodies, strict=True):
            if size < MOST_BYTES:
                if call.caller.sees(task.type, task.queue):
                    shown.append(body)
                    size += len(body)
                after = _position(task, query.order)
        if size < MOST_BYTES:
            after = page.after
        looked_at += len(page.tasks)
        done = len(shown) == query.limit or size >= MOST_BYTES or looked_at >= MOST_LOOKED_AT
        if after is None or len(page.tasks) < asked_for or done:
            return _answer(call, shown, None if after is None else _written(query.order, after))


def _answer(call: Call, shown: list[bytes], cursor: str | None) -> Answer:
    body = b'{"tasks":[%b],"next":%b}' % (b",".join(shown), msgspec.json.encode(cursor))
    if cursor is None:
        return Answer(200, body)
    others = [(name, text) for name, text in parse_qsl(call.query_string.decode("ascii")) if name != "cursor"]
    link = f'<{call.path}?{urlencode([*others, ("cursor", cursor)])}>; rel="next"'
    return Answer(200, body, ((b"link", link.encode()),))


def _query(call: Call) -> Query:
    asked = {name: value for name, value in call.query.items() if name not in ("cursor", "view")}
    order = asked.get("order", ORDERS[0])
    after = _read(call.query["cursor"], order) if "cursor" in call.query else None
    return Query(after=after, without=own_unless_named(call.query), **asked)


def _position(task: Task, order: str) -> Position:
    time = task.finished_at if order.endswith("finished_at") else task.created_at
    return (time or 0.0, task.id)


def _written(order: str, position: Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((order, *position))).rstrip(b"=").decode()


def _read(cursor: str, order: str) -> Position:
    """Raises InvalidRequest for what is no cursor, and for one of another order."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        made_for, time, id = _cursor.decode(raw)
    except (ValueError, RecursionError):  # msgspec's and base64's errors among them
        made_for, time, id = "", 0.0, ""
    if made_for == order and isfinite(time) and id.isascii() and id.isprintable():
        return time, id
    detail = f"it is a cursor of the order {made_for}, not {order}" if made_for in ORDERS else "it is no cursor of this list"
    raise InvalidRequest.of([Problem("/query/cursor", detail)], "query")
