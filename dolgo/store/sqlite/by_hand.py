"""What people do to tasks: cancel, retry, delete. Each answers what it met and did."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.relational.rows import CANCELLED, DONE, FAILED, IN_PROGRESS, STATUS, WAITING, to_error
from dolgo.store.sentences import CANCELLED_QUEUED
from dolgo.store.sqlite import edges
from dolgo.store.sqlite.rows import TaskRow, attempt_note
from dolgo.store.sqlite.settle import call_off, task_row
from dolgo.store.sqlite.sql import run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Change, Refusal, Status, last_outcome

NOT_THERE = Change(None)


def cancel(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Change]]:
    return [[_cancel(turn, row) if (row := task_row(turn, id)) else NOT_THERE for id in ids] for ids in calls]


def _cancel(turn: Turn, row: TaskRow) -> Change:
    before = STATUS[row.state]
    if row.state in (DONE, FAILED):
        return Change(before, before, Refusal.STATUS)
    if row.state == IN_PROGRESS:
        run(turn.connection, "ask_cancel", row.n)
        return Change(before, before, asked=not row.cancel_asked)
    if row.state == CANCELLED and edges.by_parent(row):
        run(turn.connection, "ask_cancel", row.n)  # or the retry of a parent would bring it back
    elif row.state != CANCELLED:
        call_off(turn, row, CANCELLED_QUEUED)
    if row.state == WAITING:
        run(turn.connection, "edges_close", f"[{row.n}]")
    return Change(before, Status.CANCELLED)


def retry(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Change]]:
    return [[_retry(turn, row) if (row := task_row(turn, id)) else NOT_THERE for id in ids] for ids in calls]


def _retry(turn: Turn, row: TaskRow) -> Change:
    before = STATUS[row.state]
    if row.state not in (FAILED, CANCELLED):
        return Change(before, before, Refusal.STATUS)
    if edges.unique_taken(turn, row):
        return Change(before, before, Refusal.UNIQUE)
    found = edges.parents(turn, row.n)
    if not row.run_anyway and edges.in_the_way(found) is not None:
        return Change(before, before, Refusal.PARENTS)
    if row.started_at is not None:  # the newest attempt is on the record, which is to tell of the next
        error = to_error(row.error)
        ended = row.attempt_ended(last_outcome(before, error), row.finished_at, error)
        run_rows(turn.connection, "note", [attempt_note(row.n, ended)])
    edges.restart(turn, row, found, run_at=turn.now)
    return Change(before, Status.WAITING if edges.awaited(found) else Status.QUEUED)


def delete(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Change]]:
    return [[_delete(turn, row) if (row := task_row(turn, id)) else NOT_THERE for id in ids] for ids in calls]


def _delete(turn: Turn, row: TaskRow) -> Change:
    before = STATUS[row.state]
    if row.state < DONE:
        return Change(before, before, Refusal.STATUS)
    if run(turn.connection, "is_awaited", row.id).fetchone()[0]:
        return Change(before, before, Refusal.DEPENDENTS)
    remove(turn, [(row.n, row.line, row.state)])
    return Change(before)


def remove(turn: Turn, tasks: Sequence[tuple[int, int, int]]) -> None:
    """Final tasks (n, line, state) → gone, with their notes and what they depended on."""
    numbers = msgspec.json.encode([n for n, _, _ in tasks]).decode()
    for statement in ("delete", "delete_notes", "delete_edges"):
        run(turn.connection, statement, numbers)
    for _, line, state in tasks:
        turn.counted(line, state, 0)
