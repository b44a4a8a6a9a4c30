"""How attempts end: settled under their token, or reclaimed."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.store.checks import check_settlement
from dolgo.store.relational.rows import CANCELLED, FINAL_STATE, IN_PROGRESS, LATER, READY, from_error, to_error
from dolgo.store.sentences import CANCELLED_AGAIN, reclaimed
from dolgo.store.sqlite.rows import TaskRow, attempt_note
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Attempt, Error, ErrorCode, Outcome, Settlement, Status


class Mixed(Exception):
    """Some of these ends did not take: they have to be written one by one."""


def settle(turn: Turn, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Write all final ends at once. Raises Mixed unless every one of them took, as it nearly always does."""
    finals = [item for call in calls for item in call if item.status is not Status.QUEUED]
    changed, _ = run_rows(turn.connection, "settle", [_end_row(turn, item) for item in finals])
    if changed != len(finals):
        raise Mixed
    for item in finals:
        _log_end(turn, item)
    return [[item.status is not Status.QUEUED or _requeue(turn, item) for item in call] for call in calls]


def settle_each(turn: Turn, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """As `settle`, for ends of which some may not take."""
    return [[_settle_one(turn, item) for item in call] for call in calls]


def _settle_one(turn: Turn, item: Settlement) -> bool:
    if item.status is Status.QUEUED:
        return _requeue(turn, item)
    if run_rows(turn.connection, "settle", [_end_row(turn, item)])[0]:
        _log_end(turn, item)
        return True
    row = task_row(turn, item.lease.id)  # the same end told again took already
    return row is not None and row.token == item.lease.token and row.state == FINAL_STATE[item.status]


def _end_row(turn: Turn, item: Settlement) -> Row:
    lease = item.lease
    return (lease.id, lease.token, FINAL_STATE[item.status], item.result, from_error(item.error), item.failures, item.losses,
            item.deferrals, turn.now)  # fmt: skip


def _log_end(turn: Turn, item: Settlement) -> None:
    lease = item.lease
    line = turn.line((lease.queue, lease.type, lease.hash))
    turn.moved(lease.id, line, lease.limit_key or "", IN_PROGRESS, FINAL_STATE[item.status], lease.attempt)


def _requeue(turn: Turn, item: Settlement) -> bool:
    check_settlement(item)
    row = task_row(turn, item.lease.id)
    if row is None or row.token != item.lease.token:
        return False
    if row.state != IN_PROGRESS:  # told again, after a cancel had turned it
        error = to_error(row.error)
        return error is not None and error.message == CANCELLED_AGAIN
    row.failures, row.losses, row.deferrals, row.suspect = item.failures, item.losses, item.deferrals, int(item.suspect)
    ended = None
    if item.started:
        ended = row.attempt_ended(item.outcome, turn.now, item.error)
    else:
        row.attempt, row.worker, row.started_at = row.attempt - 1, None, None
    queue_again(turn, row, run_at=turn.now + item.delay if item.delay else row.run_at, ended=ended, later=item.delay > 0)
    return True


def queue_again(turn: Turn, row: TaskRow, *, run_at: float, ended: Attempt | None, later: bool = False) -> None:
    """From a worker to `queued`, or to `cancelled` if that was asked.

    Unless it is to wait it is claimable at once, though a clock set back may say that its time has not come."""
    if row.cancel_asked:
        call_off(turn, row, CANCELLED_AGAIN)
        return
    state, rank = LATER if later else READY, row.rank + (run_at - row.run_at)
    counts = (row.failures, row.losses, row.deferrals, row.generation, row.suspect)
    run(turn.connection, "requeue", state, rank, run_at, row.attempt, *counts, row.n)
    if ended is not None:
        run_rows(turn.connection, "note", [attempt_note(row.n, ended)])
    turn.moved(row.id, row.line, row.key, row.state, state, row.attempt)
    turn.joined(row.line, row.key, rank, state)


def call_off(turn: Turn, row: TaskRow, sentence: str) -> None:
    """To `cancelled`, with the attempt that ran if one did."""
    error = Error(ErrorCode.CANCELLED, sentence, attempt=row.attempt if row.started_at is not None else 0)
    attempt = (row.attempt, row.token, row.worker, row.started_at, row.failures, row.losses, row.deferrals)
    run(turn.connection, "call_off", turn.now, *attempt, from_error(error), row.n)
    turn.moved(row.id, row.line, row.key, row.state, CANCELLED, row.attempt)


def reclaim(turn: Turn, calls: Sequence[tuple[Sequence[str], int]]) -> list[int]:
    return [_reclaim(turn, dead, limit) for dead, limit in calls]


def _reclaim(turn: Turn, dead: Sequence[str], limit: int) -> int:
    found = dict.fromkeys(id for (id,) in run(turn.connection, "over", turn.now, limit))
    for worker in dead:
        found.update(dict.fromkeys(id for (id,) in run(turn.connection, "held_by", worker, limit)))
    ids = list(found)[:limit]
    for id in ids:
        row = task_row(turn, id)
        assert row is not None
        row.suspect, row.token = 1, None  # nobody settled it: a late end must not pass for one told again
        queue_again(turn, row, run_at=row.run_at, ended=row.attempt_ended(Outcome.LOST, turn.now, reclaimed(row.attempt)))
    return len(ids)


def task_row(turn: Turn, id: str) -> TaskRow | None:
    row = run(turn.connection, "row", id).fetchone()
    return TaskRow(row) if row else None
