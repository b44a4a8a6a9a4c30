"""What each reading verb asks of a connection. Every function fetches all it wants and ends."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.base import EventPage, Page
from dolgo.store.sqlite.rows import STATUS, TASK_COLUMNS, TASK_FROM, to_event, to_record, to_task
from dolgo.store.sqlite.sql import Connection, Row, run
from dolgo.store.sqlite.turn import Lines
from dolgo.task.types import Query, QueueCounts, Record, Status, Task

SCANNED = 10_000  # rows a page looks at, at most

_ONE = f"SELECT {TASK_COLUMNS} {TASK_FROM} WHERE id = ?"
_STATES = {status: tuple(n for n, name in enumerate(STATUS) if name is status) for status in Status}


def get(connection: Connection, ids: Sequence[str]) -> list[Task | None]:
    found = []
    for id in ids:
        row = connection.execute(_ONE, (id,)).fetchone()
        found.append(to_task(row) if row else None)
    return found


def asked(connection: Connection, worker: str) -> list[str]:
    return [id for (id,) in run(connection, "asked", worker).fetchall()]


def records(connection: Connection, prefix: str, now: float) -> list[Record]:
    return [to_record(row) for row in run(connection, "records", prefix, prefix + "\U0010ffff", now).fetchall()]


def counts(connection: Connection) -> list[QueueCounts]:
    names = (Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED)
    return [
        QueueCounts(queue, type, hash, dict(zip(names, numbers, strict=True)))
        for queue, type, hash, *numbers in run(connection, "counts").fetchall()
    ]


def oldest(connection: Connection, now: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for queue, run_at in (*run(connection, "oldest").fetchall(), *run(connection, "oldest_due", now).fetchall()):
        if run_at is not None:
            found[queue] = min(run_at, found.get(queue, run_at))
    return found


def head(connection: Connection) -> int:
    return run(connection, "log_ends").fetchone()[1] or 0


def events(connection: Connection, lines: Lines, after: int, limit: int) -> EventPage:
    first, last = run(connection, "log_ends").fetchone()
    if last is None or after > last or after + 1 < first:
        return EventPage([], last or 0, reset=after != (last or 0))
    rows = run(connection, "events", after, limit).fetchall()
    if any(row[3] not in lines.by_number for row in rows):
        lines.read(connection)
    return event_page(rows, lines, after)


def event_page(rows: list[Row], lines: Lines, after: int) -> EventPage:
    return EventPage([to_event(row, lines.by_number[row[3]]) for row in rows], rows[-1][0] if rows else after)


# -- list


def page(connection: Connection, query: Query) -> Page:
    """A keyset page: (time, id) beyond the last row seen, among the first SCANNED rows from there."""
    time, direction, beyond = _ordering(query.order)
    where, values = _conditions(query)
    bounds, ends = _bounds(query, time, beyond)
    window = f"SELECT n FROM task {_index(query, time)} WHERE {bounds} ORDER BY {time} {direction}, id {direction}"
    sql = (
        f"SELECT {TASK_COLUMNS} {TASK_FROM} WHERE task.n IN ({window} LIMIT {SCANNED}) AND {where} "
        f"ORDER BY {time} {direction}, id {direction} LIMIT ?"
    )
    tasks = [to_task(row) for row in connection.execute(sql, (*ends, *values, query.limit)).fetchall()]
    if len(tasks) == query.limit:
        last = tasks[-1]
        at = last.created_at if time == "created_at" else last.finished_at
        return Page(tasks, (at or 0.0, last.id))
    edge = connection.execute(f"SELECT {time}, id FROM task WHERE n = ({window} LIMIT 1 OFFSET {SCANNED - 1})", ends).fetchone()
    return Page(tasks, edge)


def _ordering(order: str) -> tuple[str, str, str]:
    """Column, direction and comparison of an order."""
    column = order.removeprefix("-")
    return (column, "DESC", "<") if order.startswith("-") else (column, "ASC", ">")


def _index(query: Query, time: str) -> str:
    """The index that keeps a page from looking at tasks of other statuses; SQLite would prefer the one in the order asked for."""
    if time == "created_at" and query.status in (Status.FAILED, Status.CANCELLED):
        return "INDEXED BY task_trouble"
    if time == "created_at" and query.status is Status.IN_PROGRESS:
        return "INDEXED BY task_held"
    return ""


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
        parts.append(f"state = {_STATES[query.status][0]}")
        if query.status is not Status.IN_PROGRESS:
            parts.append("state >= 5")  # in the index's own words, or SQLite cannot know that it may use it
    return " AND ".join(parts), values


def _conditions(query: Query) -> tuple[str, list[object]]:
    parts, values = ["1"], list[object]()
    if query.status is not None:
        parts.append(f"state IN ({', '.join(map(str, _STATES[query.status])) or 'NULL'})")
    for column, wanted in (("line.type", query.type), ("line.queue", query.queue), ("worker", query.worker)):
        if wanted is not None:
            parts.append(f"{column} = ?")
            values.append(wanted)
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
