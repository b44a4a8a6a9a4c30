"""What people do to tasks: cancel, retry, delete. Each answers what it met and did."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.postgres import edges, notes
from dolgo.store.postgres.rows import TaskRow, attempt_note
from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.rows import CANCELLED, DONE, FAILED, IN_PROGRESS, STATUS, from_error, to_error
from dolgo.store.sentences import CANCELLED_QUEUED
from dolgo.task.types import Change, Error, ErrorCode, Refusal, last_outcome

NOT_THERE = Change(None)
BEFORE_START = Error(ErrorCode.CANCELLED, CANCELLED_QUEUED)

Calls = Sequence[Sequence[str]]
Rows = dict[str, TaskRow]  # by id


async def _rows(turn: Turn, calls: Calls) -> Rows:
    found = await turn.run("task_rows", list({id for ids in calls for id in ids}))
    return {row.id: row for row in map(TaskRow, found)}


# -- cancel


async def cancel(turn: Turn, calls: Calls) -> list[list[Change]]:
    rows = await _rows(turn, calls)
    asked: list[int] = []
    ended: dict[int, Error] = {}
    answers = [[_cancel(rows[id], asked, ended) if id in rows else NOT_THERE for id in ids] for ids in calls]
    if asked:
        await turn.run("ask_cancel", asked)
    await edges.end_unstarted(turn, ended)
    return answers


def _cancel(row: TaskRow, asked: list[int], ended: dict[int, Error]) -> Change:
    """What is to be done goes to `asked` and `ended`; the row is as it will be then."""
    before = STATUS[row.state]
    if row.state in (DONE, FAILED):
        return Change(before, before, Refusal.STATUS)
    if row.state == IN_PROGRESS:
        first, row.cancel_asked = not row.cancel_asked, True
        asked.append(row.n)
        return Change(before, before, asked=first)
    if row.state != CANCELLED:
        ended[row.n] = BEFORE_START
        row.state, row.error = CANCELLED, from_error(BEFORE_START)
    elif edges.by_parent(row):
        asked.append(row.n)  # or the retry of a parent would bring it back
    return Change(before, STATUS[CANCELLED])


# -- retry


async def retry(turn: Turn, calls: Calls) -> list[list[Change]]:
    rows = await _rows(turn, calls)
    return [[await _retry(turn, rows[id]) if id in rows else NOT_THERE for id in ids] for ids in calls]


async def _retry(turn: Turn, row: TaskRow) -> Change:
    before = STATUS[row.state]
    if row.state not in (FAILED, CANCELLED):
        return Change(before, before, Refusal.STATUS)
    if await edges.unique_taken(turn, row):
        return Change(before, before, Refusal.UNIQUE)
    found = await edges.parents(turn, row.n)
    if not row.run_anyway and edges.in_the_way(found) is not None:
        return Change(before, before, Refusal.PARENTS)
    if row.started_at is not None:  # the newest attempt is on the record, which is to tell of the next
        error = to_error(row.error)
        ended = row.attempt_ended(last_outcome(before, error), row.finished_at, error)
        await notes.keep(turn, [attempt_note(row.n, ended)])
    row.state = await edges.restart(turn, row, found, run_at=turn.now)
    return Change(before, STATUS[row.state])


# -- delete


async def delete(turn: Turn, calls: Calls) -> list[list[Change]]:
    rows = await _rows(turn, calls)
    awaited = {id for (id,) in await turn.run("awaited", list(rows))} if rows else set()
    gone: list[int] = []
    answers = [[_delete(rows, id, awaited, gone) for id in ids] for ids in calls]
    await remove(turn, gone)
    return answers


def _delete(rows: Rows, id: str, awaited: set[str], gone: list[int]) -> Change:
    """What is to go is taken from `rows` and goes to `gone`."""
    if id not in rows:
        return NOT_THERE
    before = STATUS[rows[id].state]
    if rows[id].state < DONE:
        return Change(before, before, Refusal.STATUS)
    if id in awaited:
        return Change(before, before, Refusal.DEPENDENTS)
    gone.append(rows.pop(id).n)
    return Change(before)


async def remove(turn: Turn, numbers: Sequence[int]) -> int:
    """Final tasks → gone, with their notes and what they depended on. How many were there."""
    gone = await turn.run("remove", numbers) if numbers else []
    for line, state in gone:
        turn.counted(line, state, 0)
    return len(gone)
