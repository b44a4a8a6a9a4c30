"""What each writing verb does inside a transaction. One function a verb: (turn, arguments of all callers) → their answers.

Every transition is conditional on id, state and token. Within a transaction nobody else writes, so a look and a write are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dolgo.store.base import Claim, Claimed, Renewed, Submitted
from dolgo.store.sentences import CANCELLED_AGAIN, CANCELLED_QUEUED
from dolgo.store.sqlite.rows import (
    CANCELLED,
    FAILED,
    FINAL_STATE,
    IN_PROGRESS,
    LATER,
    READY,
    STATUS,
    TaskRow,
    from_error,
    from_tags,
    to_error,
    to_lease,
    to_record,
)  # fmt: skip
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Error, ErrorCode, Lease, NewTask, Outcome, Put, Record, Settlement, Status, last_outcome

MOST_DUE = 500  # tasks a claim moves into their lines before it takes some


# -- submit


def submit(turn: Turn, calls: Sequence[tuple[Sequence[NewTask], Sequence[Put]]]) -> list[Submitted]:
    rows: list[Row] = []
    answers = []
    for tasks, puts in calls:
        existing = put(turn, [puts])[0] if puts else None
        if existing is not None:
            answers.append(Submitted([], existing))
            continue
        rows.extend(_new_row(turn, task) for task in tasks)
        answers.append(Submitted([Status.QUEUED] * len(tasks)))
    run_rows(turn.connection, "submit", rows)
    for row in rows:
        turn.moved(row[0], row[1], 0, row[2], 0)
        turn.joined(row[1], row[3], row[2])
    return answers


def submit_again(turn: Turn, calls: Sequence[tuple[Sequence[NewTask], Sequence[Put]]]) -> list[Submitted]:
    """As `submit`, for tasks of which some exist already: these are left as they are."""
    ((tasks, puts),) = calls
    known = {task.id: row for task in tasks if (row := _row(turn, task.id)) is not None}
    fresh = {task.id: task for task in reversed(tasks) if task.id not in known}  # of the same id twice, the first
    answer = submit(turn, [(list(fresh.values())[::-1], puts)])[0]
    if answer.existing is not None:
        return [answer]
    return [Submitted([STATUS[known[task.id].state] if task.id in known else Status.QUEUED for task in tasks])]


def _new_row(turn: Turn, task: NewTask) -> Row:
    run_at = turn.now + task.delay if task.run_at is None else task.run_at
    state = READY if run_at <= turn.now else LATER
    line = turn.line((task.queue, task.type, task.hash))
    return (task.id, line, state, run_at - task.lead, run_at, task.priority, task.max_attempts, turn.now, from_tags(task.tags),
            task.payload)  # fmt: skip


# -- claim, renew


def claim(turn: Turn, calls: Sequence[Claim]) -> list[Claimed]:
    next_at = _move_due(turn)
    answers: list[Claimed] = []
    unmet: Claim | None = None  # a claim that got less than it asked for
    for call in calls:
        leases = [] if unmet is not None and _within(call, unmet) else _claim(turn, call)
        unmet = call if len(leases) < call.limit else unmet
        answers.append(Claimed(leases, next_at))
    return answers


def _within(call: Claim, wider: Claim) -> bool:
    """True if this claim can get nothing where the wider one, just made, went short."""
    return call.types <= wider.types and call.queues == wider.queues and call.avoid == wider.avoid


def _move_due(turn: Turn) -> float | None:
    """Tasks whose time has come join their lines; when the next one's will come. No event: they were `queued` and still are."""
    next_at: float | None = run(turn.connection, "next_due").fetchone()[0]
    if next_at is None or next_at > turn.now:
        return next_at
    due = run(turn.connection, "due", turn.now, MOST_DUE).fetchall()
    run_rows(turn.connection, "make_ready", [(n,) for n, _, _ in due])
    for _, line, rank in due:
        turn.counted(line, LATER, READY)
        turn.joined(line, rank, READY)
    later: float | None = run(turn.connection, "next_due").fetchone()[0]
    return later


def _claim(turn: Turn, call: Claim) -> list[Lease]:
    leases = []
    for _, *row in _take(turn, call, [n for _, _, n in _first_of_lines(turn, call)]):
        id, _, line, _, attempt, *_ = row
        turn.moved(id, line, READY, IN_PROGRESS, attempt)
        leases.append(to_lease(row, turn.lines.by_number[line]))
    return leases


def _first_of_lines(turn: Turn, call: Claim) -> list[tuple[float, str, int]]:
    """The first tasks by (rank, id) over all lines the claim fits.

    Lines come by their heads, so the walk ends at the first line whose head is behind all that was found: what a claim costs
    depends on its limit, not on how many lines there are or how long they are."""
    picks: list[tuple[float, str, int]] = []
    for head, line in turn.open_lines() if call.limit > 0 else ():
        if len(picks) == call.limit and head > picks[-1][0]:
            break
        if _fits(call, turn.lines.key(turn.connection, line)):
            found = run(turn.connection, "line_first", line, call.limit).fetchall()
            picks = sorted(picks + found)[: call.limit] if picks else found
            turn.looked_into(line)
    return picks


def _fits(call: Claim, key: tuple[str, str, str]) -> bool:
    queue, type, hash = key
    return type in call.types and (call.queues is None or queue in call.queues) and (type, hash) not in call.avoid


def _take(turn: Turn, call: Claim, numbers: list[int]) -> list[Row]:
    if not numbers:
        return []
    chosen = msgspec.json.encode(numbers).decode()
    rows = run(turn.connection, "claim", call.worker, turn.now, turn.now + call.lease, chosen).fetchall()
    rows.sort(key=lambda row: (row[0], row[1]))
    return rows


def renew(turn: Turn, calls: Sequence[tuple[str, dict[str, str], float]]) -> list[Renewed]:
    answers = []
    for worker, tokens, lease in calls:
        held = {row[0]: row for row in run(turn.connection, "held", worker)}
        kept = [id for id, token in tokens.items() if id in held and held[id][1] == token]
        run(turn.connection, "renew", turn.now + lease, worker, msgspec.json.encode(kept).decode())
        unnamed = [
            to_lease(row[:-1], turn.lines.key(turn.connection, row[2])) for id, row in held.items() if tokens.get(id) != row[1]
        ]
        answers.append(
            Renewed(
                lost=[id for id in tokens if id not in held or held[id][1] != tokens[id]],
                cancel_asked=[id for id in kept if held[id][-1]],
                unnamed=unnamed,
            )
        )
    return answers


# -- settle


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
    row = _row(turn, item.lease.id)  # the same end told again took already
    return row is not None and row.token == item.lease.token and row.state == FINAL_STATE[item.status]


def _end_row(turn: Turn, item: Settlement) -> Row:
    lease = item.lease
    return (lease.id, lease.token, FINAL_STATE[item.status], item.result, from_error(item.error), item.failures, item.losses,
            turn.now)  # fmt: skip


def _log_end(turn: Turn, item: Settlement) -> None:
    lease = item.lease
    line = turn.line((lease.queue, lease.type, lease.hash))
    turn.moved(lease.id, line, IN_PROGRESS, FINAL_STATE[item.status], lease.attempt)


def _requeue(turn: Turn, item: Settlement) -> bool:
    row = _row(turn, item.lease.id)
    if row is None or row.token != item.lease.token:
        return False
    if row.state != IN_PROGRESS:  # told again, after a cancel had turned it
        error = to_error(row.error)
        return error is not None and error.message == CANCELLED_AGAIN
    row.failures, row.losses, row.suspect = item.failures, item.losses, int(item.suspect)
    if item.started:
        history = row.with_attempt_ended(item.outcome, turn.now, item.error)
    else:
        row.attempt, row.worker, row.started_at = row.attempt - 1, None, None
        history = row.history
    _queue_again(turn, row, run_at=turn.now + item.delay if item.delay else row.run_at, history=history, later=item.delay > 0)
    return True


def _queue_again(turn: Turn, row: TaskRow, *, run_at: float, history: str | None, later: bool = False) -> None:
    """To `queued`, or to `cancelled` if that was asked: the one place where a task becomes claimable again.

    Unless it is to wait it is claimable at once, though a clock set back may say that its time has not come."""
    if row.cancel_asked:
        _call_off(turn, row, CANCELLED_AGAIN)
        return
    state, rank = LATER if later else READY, row.rank + (run_at - row.run_at)
    run(turn.connection, "requeue", state, rank, run_at, row.attempt, row.failures, row.losses, row.suspect, history, row.id)
    turn.moved(row.id, row.line, row.state, state, row.attempt)
    turn.joined(row.line, rank, state)


# -- cancel, retry, delete


def _call_off(turn: Turn, row: TaskRow, sentence: str) -> None:
    error = Error(ErrorCode.CANCELLED, sentence, attempt=row.attempt if row.started_at is not None else 0)
    attempt = (row.attempt, row.token, row.worker, row.started_at, row.failures, row.losses)
    run(turn.connection, "call_off", turn.now, *attempt, from_error(error), row.id)
    turn.moved(row.id, row.line, row.state, CANCELLED, row.attempt)


def cancel(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Status | None]]:
    return [[_cancel(turn, id) for id in ids] for ids in calls]


def _cancel(turn: Turn, id: str) -> Status | None:
    row = _row(turn, id)
    if row is None:
        return None
    if row.state in (LATER, READY):
        _call_off(turn, row, CANCELLED_QUEUED)
    elif row.state == IN_PROGRESS:
        run(turn.connection, "ask_cancel", id)
    return STATUS[row.state]


def retry(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Status | None]]:
    return [[_retry(turn, id) for id in ids] for ids in calls]


def _retry(turn: Turn, id: str) -> Status | None:
    row = _row(turn, id)
    if row is None:
        return None
    if row.state in (FAILED, CANCELLED):
        history = row.history
        if row.started_at is not None:
            error = to_error(row.error)
            history = row.with_attempt_ended(last_outcome(STATUS[row.state], error), row.finished_at, error)
        row.cancel_asked = row.failures = row.losses = row.suspect = 0
        _queue_again(turn, row, run_at=turn.now, history=history)
    return STATUS[row.state]


def delete(turn: Turn, calls: Sequence[Sequence[str]]) -> list[list[Status | None]]:
    return [[_delete(turn, id) for id in ids] for ids in calls]


def _delete(turn: Turn, id: str) -> Status | None:
    row = _row(turn, id)
    if row is None:
        return None
    if STATUS[row.state] in FINAL_STATE:
        run(turn.connection, "delete", id)
        turn.counted(row.line, row.state, 0)
    return STATUS[row.state]


# -- upkeep


def reclaim(turn: Turn, calls: Sequence[tuple[Sequence[str], int]]) -> list[int]:
    return [_reclaim(turn, dead, limit) for dead, limit in calls]


def _reclaim(turn: Turn, dead: Sequence[str], limit: int) -> int:
    found = dict.fromkeys(id for (id,) in run(turn.connection, "expired", turn.now, limit))
    for worker in dead:
        found.update(dict.fromkeys(id for (id,) in run(turn.connection, "held_by", worker, limit)))
    ids = list(found)[:limit]
    for id in ids:
        row = _row(turn, id)
        assert row is not None
        row.suspect, row.token = 1, None  # nobody settled it: a late end must not pass for one told again
        lost = row.with_attempt_ended(Outcome.LOST, turn.now, None)
        _queue_again(turn, row, run_at=row.run_at, history=lost)
    return len(ids)


def clamp(turn: Turn, calls: Sequence[float]) -> list[int]:
    return [run(turn.connection, "clamp", turn.now + lease, turn.now + lease).rowcount for lease in calls]


def prune(turn: Turn, calls: Sequence[tuple[float, int]]) -> list[int]:
    return [_prune(turn, keep, limit) for keep, limit in calls]


def _prune(turn: Turn, keep: float, limit: int) -> int:
    ids = [id for (id,) in run(turn.connection, "finished_before", turn.now - keep, limit)]
    delete(turn, [ids])
    return len(ids)


def trim(turn: Turn, calls: Sequence[tuple[float, int, int]]) -> list[int]:
    return [_trim(turn, keep, most, limit) for keep, most, limit in calls]


def _trim(turn: Turn, keep: float, most: int, limit: int) -> int:
    first, last = run(turn.connection, "log_ends").fetchone()
    gone = 0
    if first is not None:
        old = run(turn.connection, "log_old", turn.now - keep, limit).fetchone()[0]
        cut = min(max(last - most, old or 0), first + limit - 1, last - 1)  # the last one stays: its seq is the counter
        gone = run(turn.connection, "log_trim", cut).rowcount
    return gone + run(turn.connection, "records_expired", turn.now, limit).rowcount


# -- records


def put(turn: Turn, calls: Sequence[Sequence[Put]]) -> list[Record | None]:
    return [_put_all(turn, puts) for puts in calls]


def _put_all(turn: Turn, puts: Sequence[Put]) -> Record | None:
    found = [_record(turn, item.key) for item in puts]
    for item, record in zip(puts, found, strict=True):
        if item.version is not None and item.version != (record.version if record else 0):
            return record or Record(item.key, b"", 0, turn.now, turn.now, None)
    for item, record in zip(puts, found, strict=True):
        expires_at = None if item.keep is None else turn.now + item.keep
        version, first_at = (record.version + 1, record.first_at) if record else (1, turn.now)
        run(turn.connection, "record_put", item.key, item.value, version, first_at, turn.now, expires_at)
    return None


def _record(turn: Turn, key: str) -> Record | None:
    row = run(turn.connection, "record", key).fetchone()
    record = to_record(row) if row else None
    return None if record is None or (record.expires_at is not None and record.expires_at <= turn.now) else record


def forget(turn: Turn, calls: Sequence[Sequence[str]]) -> list[None]:
    for key in [key for keys in calls for key in keys]:
        run(turn.connection, "record_forget", key)
    return [None] * len(calls)


def _row(turn: Turn, id: str) -> TaskRow | None:
    row = run(turn.connection, "row", id).fetchone()
    return TaskRow(row) if row else None


Verb = Callable[[Turn, Sequence[Any]], Sequence[Any]]

# In the order they run within a commit: leases first, claims last, so that a claim sees what its commit brings.
VERBS: dict[str, Verb] = {
    "renew": renew, "put": put, "forget": forget, "submit": submit, "settle": settle, "cancel": cancel, "retry": retry,
    "delete": delete, "reclaim": reclaim, "clamp": clamp, "prune": prune, "trim": trim, "claim": claim,
}  # fmt: skip
