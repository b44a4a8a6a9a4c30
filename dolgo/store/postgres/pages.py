"""Pages of tasks: which rows a query looks at, in which order, by which index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dolgo.store.base import IdPage, Page
from dolgo.store.postgres.rows import TASK_COLUMNS
from dolgo.store.postgres.server import Reader
from dolgo.store.relational.rows import STATES, to_task
from dolgo.task.types import Query, Status

SCANNED = 10_000  # rows a page looks at, at most

_FEW = {  # where the tasks of a status are kept apart, so that a page need not look at others
    Status.WAITING: "FROM task WHERE state = 1",
    Status.IN_PROGRESS: "FROM task WHERE state = 4",
    Status.FAILED: "FROM final WHERE state >= 6 AND state = 6",
    Status.CANCELLED: "FROM final WHERE state >= 6 AND state = 7",
}

Place = tuple[float, str]


async def page(reader: Reader, query: Query) -> Page:
    """A keyset page: (time, id) beyond the last row seen, among the first SCANNED rows from there."""
    rows, after = await _rows(reader, query, TASK_COLUMNS)
    return Page([to_task(row) for row in rows], after)


async def ids(reader: Reader, query: Query) -> IdPage:
    """As `page`."""
    rows, after = await _rows(reader, query, "every_task.id")
    return IdPage([row[0] for row in rows], after)


async def _rows(reader: Reader, query: Query, columns: str) -> tuple[list[Sequence[Any]], Place | None]:
    """Rows of these columns, the first of them the id, and where the page after them begins."""
    text, values = _statement(query, columns)
    for scanned in (query.limit, SCANNED):  # most pages are full of the very first rows
        found = await reader.query(text, query.limit, scanned, *values)
        rows = [row for row in found if row[3] is not None]
        if len(rows) == query.limit:
            return [row[3:] for row in rows], (rows[-1][2], rows[-1][3])
    at, id = found[0][:2]
    return [row[3:] for row in rows], None if at is None else (at, id)


def _statement(query: Query, columns: str) -> tuple[str, list[object]]:
    """One statement, so that the rows and the last one looked at are of one moment, and what it asks for besides the limit and
    how many to look at. Each row has that place, its time, and the columns; the only row of an empty page has but the place."""
    values = Values()
    direction = "DESC" if query.order.startswith("-") else "ASC"
    text = f"""
        WITH seen AS MATERIALIZED ({_window(query, values)} ORDER BY at {direction}, id {direction} LIMIT $2)
        SELECT last.at, last.id, found.* FROM (SELECT) AS one
        LEFT JOIN (SELECT at, id FROM seen ORDER BY at {direction}, id {direction} OFFSET $2 - 1 LIMIT 1) AS last ON true
        LEFT JOIN (
            SELECT seen.at, {columns} FROM seen JOIN every_task ON every_task.n = seen.n JOIN line ON line.n = every_task.line
            WHERE {_conditions(query, values)} ORDER BY seen.at {direction}, seen.id {direction} LIMIT $1
        ) AS found ON true
        ORDER BY found.at {direction}, found.id {direction}"""
    return text, values.given


class Values:
    """What a statement asks for, from its third value on."""

    def __init__(self) -> None:
        self.given: list[object] = []

    def add(self, value: object) -> str:
        """The place of the value in the statement."""
        self.given.append(value)
        return f"${len(self.given) + 2}"


def _window(query: Query, values: Values) -> str:
    """The rows from where the page begins: what an index answers, so that rows outside cost nothing."""
    time = query.order.removeprefix("-")
    few = _FEW.get(query.status) if query.status is not None else None
    parts = ["FROM final WHERE true" if time == "finished_at" else few or "FROM body WHERE true"]
    if query.after is not None:
        beyond = "<" if query.order.startswith("-") else ">"
        parts.append(f"({time}, id) {beyond} ({values.add(query.after[0])}, {values.add(query.after[1])})")
    if query.created_after is not None and time == "created_at":
        parts.append(f"created_at > {values.add(query.created_after)}")
    if query.created_before is not None and time == "created_at":
        parts.append(f"created_at < {values.add(query.created_before)}")
    return f"SELECT n, {time} AS at, id {' AND '.join(parts)}"


def _conditions(query: Query, values: Values) -> str:
    parts = ["true"]
    if query.status is not None:
        parts.append(f"state IN ({', '.join(map(str, STATES[query.status]))})")
    for column, wanted in (("line.type", query.type), ("line.queue", query.queue), ("worker", query.worker)):
        if wanted is not None:
            parts.append(f"{column} = {values.add(wanted)}")
    if query.without is not None:
        parts.append(f"NOT starts_with(line.type, {values.add(query.without)})")
    if query.tag is not None:
        parts.append(f"tags::jsonb ? {values.add(query.tag)}")
    if query.created_after is not None:
        parts.append(f"created_at > {values.add(query.created_after)}")
    if query.created_before is not None:
        parts.append(f"created_at < {values.add(query.created_before)}")
    return " AND ".join(parts)
