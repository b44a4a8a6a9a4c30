"""How attempts end: settled under their token, or reclaimed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dolgo.store.postgres import notes
from dolgo.store.postgres.rows import TaskRow, attempt_note, number_of
from dolgo.store.postgres.turn import HIGHEST, Row, Turn, columns
from dolgo.store.relational.rows import CANCELLED, FINAL_STATE, IN_PROGRESS, LATER, READY, LineKey, from_error, to_error
from dolgo.store.sentences import CANCELLED_AGAIN, reclaimed
from dolgo.task.types import Attempt, Error, ErrorCode, Outcome, Settlement, Status

Key = tuple[str, str]  # id and token

RESULT = 4  # its place among the columns of an end


class Again(NamedTuple):
    """A task that leaves its worker to run again."""

    row: TaskRow
    run_at: float
    ended: Attempt | None  # what is kept of the attempt
    later: bool = False  # it is to wait; else it is claimable at once, though a clock set back may say that its time has not come


async def settle(turn: Turn, calls: Sequence[Sequence[Settlement]]) -> list[list[bool]]:
    """Ends first, then what runs again. What did not take, or stands there twice, is looked up: told again it took already."""
    items = [item for call in calls for item in call]
    first: dict[Key, int] = {}  # by whom it is settled, the place of the first that says so
    for place, item in enumerate(items):
        first.setdefault(_key(item), place)
    ends = {key: items[place] for key, place in first.items() if items[place].status is not Status.QUEUED}
    requeues = {key: items[place] for key, place in first.items() if key not in ends}
    settled = await _end(turn, ends) | await _requeue(turn, requeues)
    took = {first[key] for key in settled}
    if len(took) < len(items):
        took |= await _told_again(turn, [(place, item) for place, item in enumerate(items) if place not in took])
    places = iter(range(len(items)))
    return [[next(places) in took for _ in call] for call in calls]


def _key(item: Settlement) -> Key:
    return item.lease.id, item.lease.token


# -- to a final state


async def _end(turn: Turn, ends: Mapping[Key, Settlement]) -> set[Key]:
    """Write the ends; those that took."""
    if not ends:
        return set()
    rows = sorted((number_of(token), id, token, *_outcome(item)) for (id, token), item in ends.items())
    found = await turn.run_rows("settle", rows, _size, turn.now)
    took = {(id, token) for id, token in found} if len(found) < len(ends) else set(ends)
    await turn.lines.numbers(turn.connection, {_line_key(ends[key]) for key in took})
    for key, item in ends.items():
        if key in took:
            lease, line = item.lease, turn.lines.by_key[_line_key(item)]
            turn.moved(lease.id, line, lease.limit_key or "", IN_PROGRESS, FINAL_STATE[item.status], lease.attempt)
    return took


def _size(row: Row) -> int:
    return len(row[RESULT] or b"")


def _outcome(item: Settlement) -> tuple[object, ...]:
    return (FINAL_STATE[item.status], item.result, from_error(item.error), item.failures, item.losses, item.deferrals)


def _line_key(item: Settlement) -> LineKey:
    return (item.lease.queue, item.lease.type, item.lease.hash)


async def _told_again(turn: Turn, items: Sequence[tuple[int, Settlement]]) -> set[int]:
    """The places of those that took already, told again."""
    known = {(id, token): (state, error) for id, token, state, error in await turn.run("settled_as", _numbers(items))}
    return {place for place, item in items if _is_told_again(item, *known.get(_key(item), (0, None)))}


def _is_told_again(item: Settlement, state: int, error: str | None) -> bool:
    if item.status is not Status.QUEUED:
        return state == FINAL_STATE[item.status]
    why = to_error(error)  # a cancel may have turned it
    return state == CANCELLED and why is not None and why.message == CANCELLED_AGAIN


def _numbers(items: Iterable[tuple[object, Settlement]]) -> list[int]:
    return sorted({number_of(item.lease.token) for _, item in items})


# -- to another attempt


async def _requeue(turn: Turn, items: Mapping[Key, Settlement]) -> set[Key]:
    """Those that took."""
    held = await locked_rows(turn, _numbers(items.items()))
    rows = {(row.id, row.token): row for row in held if row.state == IN_PROGRESS}
    again = {key: _again(turn, rows[key], item) for key, item in items.items() if key in rows}
    await queue_again(turn, list(again.values()))
    return set(again)


def _again(turn: Turn, row: TaskRow, item: Settlement) -> Again:
    row.failures, row.losses, row.deferrals, row.suspect = item.failures, item.losses, item.deferrals, item.suspect
    ended = None
    if item.started:
        ended = row.attempt_ended(item.outcome, turn.now, item.error)
    else:
        row.attempt, row.worker, row.started_at = row.attempt - 1, None, None
    return Again(row, turn.now + item.delay if item.delay else row.run_at, ended, later=item.delay > 0)


async def queue_again(turn: Turn, tasks: Sequence[Again]) -> None:
    """From their workers to `queued`, or to `cancelled` if that was asked."""
    await call_off(turn, [task.row for task in tasks if task.row.cancel_asked], CANCELLED_AGAIN)
    queued = [task for task in tasks if not task.row.cancel_asked]
    if not queued:
        return
    rows = []
    for row, run_at, _, later in queued:
        state, rank = LATER if later else READY, row.rank + (run_at - row.run_at)
        rows.append((row.n, state, rank, run_at, row.attempt, row.failures, row.losses, row.deferrals, row.suspect))
        turn.moved(row.id, row.line, row.key, row.state, state, row.attempt)
        turn.joined(row.line, row.key, HIGHEST if later else rank)
    await turn.run("requeue", *columns(rows))
    await notes.keep(turn, [attempt_note(task.row.n, task.ended) for task in queued if task.ended is not None])


async def call_off(turn: Turn, tasks: Sequence[TaskRow], sentence: str) -> None:
    """To `cancelled`, with the attempts that ran if some did."""
    if not tasks:
        return
    rows = []
    for row in tasks:
        error = Error(ErrorCode.CANCELLED, sentence, attempt=row.attempt if row.started_at is not None else 0)
        rows.append((row.n, row.attempt, row.token, row.worker, row.started_at, row.failures, row.losses, row.deferrals,
                     from_error(error)))  # fmt: skip
        turn.moved(row.id, row.line, row.key, row.state, CANCELLED, row.attempt)
    await turn.run("call_off", *columns(rows), turn.now)


async def reclaim(turn: Turn, calls: Sequence[tuple[Sequence[str], int]]) -> list[int]:
    return [await _reclaim(turn, dead, limit) for dead, limit in calls]


async def _reclaim(turn: Turn, dead: Sequence[str], limit: int) -> int:
    numbers = dict.fromkeys(n for (n,) in await turn.run("over", turn.now, limit))
    if dead:
        numbers.update(dict.fromkeys(n for (n,) in await turn.run("held_by", dead, limit)))
    found = await locked_rows(turn, list(numbers)[:limit])
    for row in found:
        row.suspect, row.token = True, None  # nobody settled it: a late end must not pass for one told again
    await queue_again(turn, [
        Again(row, row.run_at, row.attempt_ended(Outcome.LOST, turn.now, reclaimed(row.attempt))) for row in found
    ])  # fmt: skip
    return len(found)


async def locked_rows(turn: Turn, numbers: Sequence[int]) -> list[TaskRow]:
    """Unfinished tasks, which stay as they are until this is committed but for what it does to them."""
    return [TaskRow(row) for row in await turn.run("rows_locked", numbers)] if numbers else []
