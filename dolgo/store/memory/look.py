"""What the memory store answers by a look at its tasks, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.base import Page, Submitted
from dolgo.store.memory.parts import LAST
from dolgo.store.memory.rows import Row, matches
from dolgo.store.memory.table import Table, TimeKey
from dolgo.task.types import FINAL, Details, NewTask, Note, Query, Status

MOST_LOOKS = 10_000  # tasks that are looked at: a page whose filter matches nothing must not stop the loop


def in_the_way(table: Table, tasks: Sequence[NewTask], notes: Sequence[Note]) -> Submitted | None:
    """Why none of it may be written."""
    known, unknown, unique = set[str](), dict[str, None](), dict[str, str]()
    taken_by: dict[tuple[str, str], str] = {}
    for task in tasks:
        if task.id not in table.rows:
            unknown |= {one.id: None for one in task.depends_on if one.id not in known and one.id not in table.rows}
            if task.unique_key is not None:
                there = table.has_key(task.type, task.unique_key)
                taken = taken_by.setdefault((task.type, task.unique_key), there or task.id)
                unique |= {} if taken == task.id else {task.id: taken}
        known.add(task.id)
    lost = not all(held_by(table, note) for note in notes)
    return Submitted([], unique=unique, unknown=list(unknown), lost=lost) if unknown or unique or lost else None


def held_by(table: Table, note: Note) -> bool:
    """Whether the token of the note is that of its task in progress."""
    row = table.rows.get(note.id)
    return row is not None and row.task.status is Status.IN_PROGRESS and row.token == note.token


def details_of(table: Table, row: Row) -> Details:
    dependents = tuple(table.dependents.get(row.task.id, ()))
    submitted = [value for key, value in sorted(row.notes.items()) if key.startswith("submitted/")]
    ids = tuple(msgspec.json.decode(value, type=str) for value in submitted)
    awaited = tuple(parent.id for parent in row.parents if (it := table.rows.get(parent.id)) and it.task.status not in FINAL)
    return Details(row.parents, dependents, ids, row.notes.get("progress"), awaited)


def oldest_of(table: Table) -> dict[str, float]:
    heads: dict[str, tuple[float, str]] = {}
    for group in table.groups.values():
        if (head := group.first()) and (group.queue not in heads or head < heads[group.queue]):
            heads[group.queue] = head
    return {queue: table.rows[id].task.run_at for queue, (_, id) in heads.items()}


def page_of(table: Table, query: Query) -> Page:
    index = table.finished if query.order.endswith("finished_at") else table.created
    backwards = query.order.startswith("-")
    low, high = _bounds(query, backwards)
    keys = index.stretch(MOST_LOOKS, low=low, high=high, backwards=backwards)
    tasks = []
    for key in keys:
        if key in index and matches(task := table.rows[key[1]].task, query):
            tasks.append(task)
            if len(tasks) == query.limit:
                return Page(tasks, key)
    return Page(tasks, keys[-1] if len(keys) == MOST_LOOKS else None)


def counted_ahead(table: Table, row: Row) -> int:
    """How many claimable tasks of its queue stand before one, counted up to a bound."""
    count, place = 0, (row.rank, row.task.id)
    for group in table.groups.values():
        if group.queue == row.task.queue:
            count += group.before(place, MOST_LOOKS - count)
    return count


def _bounds(query: Query, backwards: bool) -> tuple[TimeKey | None, TimeKey | None]:
    """From the smallest key of the page on, and before which key: what the cursor and the times of creation allow."""
    low: TimeKey | None = None
    high: TimeKey | None = None
    if not query.order.endswith("finished_at"):
        low = None if query.created_after is None else (query.created_after, LAST)
        high = None if query.created_before is None else (query.created_before, "")
    if query.after is not None and backwards:
        high = min(query.after, high or query.after)
    elif query.after is not None:
        after = (query.after[0], query.after[1] + "\0")  # the smallest key behind it: no id holds NUL
        low = max(after, low or after)
    return low, high
