"""Pages of tasks: which rows a query looks at, in which order, by which index."""

from __future__ import annotations

from dolgo.store.base import IdPage, Page
from dolgo.store.relational.rows import STATES, to_task
from dolgo.store.sqlite.rows import TASK_COLUMNS, TASK_FROM
from dolgo.store.sqlite.sql import Connection, Row, one_moment
from dolgo.task.types import Query, Status

SCANNED = 10_000  # rows a page looks at, at most

_INDEXES = {  # those that keep a page from looking at tasks of other statuses; SQLite would prefer the one in the order asked for
    Status.WAITING: "INDEXED BY task_few",
    Status.IN_PROGRESS: "INDEXED BY task_held",
    Status.FAILED: "INDEXED BY task_few",
    Status.CANCELLED: "INDEXED BY task_few",
}


def page(connection: Connection, query: Query) -> Page:
    """A keyset page: (time, id) beyond the last row seen, among the first SCANNED rows from there."""
    rows, after = _rows(connection, query, TASK_COLUMNS)
    return Page([to_task(row[2:]) for row in rows], after)


def ids(connection: Connection, query: Query) -> IdPage:
    """As `page`."""
    rows, after = _rows(connection, query, "task.id")
    return IdPage([row[2] for row in rows], after)


def _rows(connection: Connection, query: Query, columns: str) -> tuple[list[Row], tuple[float, str] | None]:
    """Rows of time, id and these columns, and where the page after them begins."""
    time, direction, beyond = _ordering(query.order)
    where, values = _conditions(query)
    window, ends = _window(query, time, direction, beyond)
    sql = (
        f"SELECT {time}, task.id, {columns} {TASK_FROM} WHERE task.n IN ({window.format('?')}) AND {where} "
        f"ORDER BY {time} {direction}, id {direction} LIMIT ?"
    )
    last = f"SELECT {time}, id FROM task WHERE n = ({window.format(f'1 OFFSET {SCANNED - 1}')})"
    with one_moment(connection):  # or tasks that come or go in between would move the edge away from what was looked at
        for scanned in (query.limit, SCANNED):  # most pages are full of the very first rows
            rows = connection.execute(sql, (*ends, scanned, *values, query.limit)).fetchall()
            if len(rows) == query.limit:
                return rows, rows[-1][:2]
        return rows, connection.execute(last, ends).fetchone()


def _window(query: Query, time: str, direction: str, beyond: str) -> tuple[str, list[object]]:
    """The n of the rows from where the page begins, in order, with a place for how many, and the values it asks for."""
    bounds, ends = _bounds(query, time, beyond)
    if time == "created_at":
        order = f"ORDER BY {time} {direction}, id {direction}"
        return f"SELECT n FROM task {_index(query, time)} WHERE {bounds} {order} LIMIT {{}}", ends
    halves = [  # of the index of ended tasks, which keeps apart what is pruned by a time of its own: two walks in step
        f"SELECT n, finished_at AS at, id FROM task WHERE (keep IS NULL AND needed_until IS NULL) = {half} AND {bounds}"
        for half in (0, 1)
    ]
    return f"SELECT n FROM ({' UNION ALL '.join(halves)} ORDER BY at {direction}, id {direction} LIMIT {{}})", ends * 2


def _ordering(order: str) -> tuple[str, str, str]:
    """Column, direction and comparison of an order."""
    column = order.removeprefix("-")
    return (column, "DESC", "<") if order.startswith("-") else (column, "ASC", ">")


def _index(query: Query, time: str) -> str:
    return _INDEXES.get(query.status, "") if time == "created_at" and query.status is not None else ""


def _bounds(query: Query, time: str, beyond: str) -> tuple[str, list[object]]:
    """Conditions that an index on (time, id) answers, so that rows outside cost nothing."""
    parts, values = [f"{time} IS NOT NULL"], list[object]()
    if query.after is not None:
        parts.append(f"({time}, id) {beyond} (?, ?)")
        values += query.after
    if query.created_after is not None and time == "created_at":
        parts.append("created_at > ?")
        values.append(query.created_after)
    if query.created_before is not None and time == "created_at":
        parts.append("created_at < ?")
        values.append(query.created_before)
    if _index(query, time) and query.status is not None:
        parts.append(f"state = {STATES[query.status][0]}")
        if query.status in (Status.FAILED, Status.CANCELLED):
            parts.append("state >= 6")  # in the index's own words, or SQLite cannot know that it may use it
    return " AND ".join(parts), values


def _conditions(query: Query) -> tuple[str, list[object]]:
    parts, values = ["1"], list[object]()
    if query.status is not None:
        parts.append(f"state IN ({', '.join(map(str, STATES[query.status]))})")
    for column, wanted in (("line.type", query.type), ("line.queue", query.queue), ("worker", query.worker)):
        if wanted is not None:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if query.without is not None:
        parts.append("substr(line.type, 1, ?) <> ?")
        values += (len(query.without), query.without)
    if query.tag is not None:
        parts.append("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)")
        values.append(query.tag)
    if query.created_after is not None:
        parts.append("created_at > ?")
        values.append(query.created_after)
    if query.created_before is not None:
        parts.append("created_at < ?")
        values.append(query.created_before)
    return " AND ".join(parts), values
