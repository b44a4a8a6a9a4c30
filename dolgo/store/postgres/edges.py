"""What the end and the retry of a task do to those that depend on it.

Nobody carries over what a parent was: each step looks at the parents as they are at that moment, so it is right whatever has
happened to them since, and may be done twice. One commit sees to `Turn.budget` dependents; for the rest it leaves rows in
`cascade`, so that at every commit a waiting task has an unfinished parent or a row that leads to it.

Ends are followed by one transaction after the other (`Turn.in_order`); all else here has the store to itself (see `turn.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolgo.store.postgres.rows import TaskRow
from dolgo.store.postgres.sql import Record
from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.rows import CANCELLED, DONE, FAILED, LATER, READY, STATUS, WAITING, from_error, to_error
from dolgo.store.sentences import parent_ended
from dolgo.task.types import Error, ErrorCode

END, REVIVAL = 1, 2  # kinds of cascade
PARENTS_A_STEP = 100  # so many parents looked at weigh as much as one dependent moved

Parents = Sequence[tuple[int, str, int | None]]  # place, id, state; no state: it is gone, and counts as done


async def follow(turn: Turn) -> None:
    """See to the dependents of all that has ended, was retried or revived in this turn. Before the claims, and last of all."""
    if turn.restarted:
        await turn.look_again()  # they may wait for others, and others for them
    if turn.ended and turn.extras.edges:
        await turn.in_order()
        await _follow_ends(turn, turn.ended)
    turn.ended.clear()
    if turn.restarted:
        await _follow_restarts(turn, turn.restarted, [0] * len(turn.restarted))
        turn.restarted.clear()
    await turn.write_keyed()


async def cascade(turn: Turn, calls: Sequence[int]) -> list[int]:
    return [await _cascade(turn, limit) for limit in calls]


async def _cascade(turn: Turn, limit: int) -> int:
    kept, turn.budget = turn.budget, limit
    rows = await turn.run("cascades", limit)
    for kind, parent, after in rows:
        if turn.budget <= 0:
            break
        await turn.run("cascade_gone", kind, parent)
        if kind == END:
            await _follow_ends(turn, [parent])
        else:
            await _follow_restarts(turn, [parent], [after])
    await turn.write_keyed()
    moved, turn.budget = min(limit - turn.budget, limit), kept
    return max(moved, 1) if rows else moved


async def _follow_ends(turn: Turn, parents: Sequence[str]) -> None:
    """Release or cancel, and go on with those that were cancelled."""
    reasons = [from_error(_dependency_failed("{parent}", state)) for state in (FAILED, CANCELLED)]
    ended = list(turn.ended)
    _moved(turn, await turn.run("follow_ends", parents, turn.budget, turn.now, reasons))
    turn.ended = ended  # without those that this ended, which are seen to
    await turn.look_again()


async def _follow_restarts(turn: Turn, parents: Sequence[str], seen: Sequence[int]) -> None:
    """Revive what was cancelled through these, and have wait again what still waits for others."""
    _moved(turn, await turn.run("follow_restarts", parents, seen, turn.budget, turn.now, PARENTS_A_STEP))
    await turn.look_again()


def _moved(turn: Turn, rows: Sequence[Record]) -> None:
    """Tell the turn what one of the functions did, whose last row has what is left of the budget."""
    *moves, (turn.budget, *_) = rows
    for _, id, line, key, before, after, attempt in moves:
        turn.moved(id, line, key, before, after, attempt)
        if after in (LATER, READY):
            turn.joined(line, key)


def _dependency_failed(parent: str, state: int) -> Error:
    return Error(ErrorCode.DEPENDENCY_FAILED, parent_ended(parent, STATUS[state]))


async def end_unstarted(turn: Turn, errors: Mapping[int, Error]) -> int:
    """Waiting or queued → cancelled, each with its error. How many."""
    if not errors:
        return 0
    gone = await turn.run("end_unstarted", list(errors), [from_error(error) for error in errors.values()], turn.now)
    for _, id, line, key, state, attempt in sorted(gone, key=lambda row: row[0]):
        turn.moved(id, line, key, state, CANCELLED, attempt)
    return len(gone)


# -- what a task depends on


async def parents(turn: Turn, child: int) -> Parents:
    return [(place, parent, state) for place, parent, state in await turn.run("parents", child)]


def in_the_way(found: Parents) -> Error | None:
    """Why a task of these parents is not to run, if it minds; None while none has ended without `done`."""
    for _, parent, state in found:
        if state is not None and state > DONE:
            return _dependency_failed(parent, state)
    return None


def by_parent(row: TaskRow) -> bool:
    """Whether it was cancelled because of a task it depends on."""
    error = to_error(row.error)
    return error is not None and error.code is ErrorCode.DEPENDENCY_FAILED


def awaited(found: Parents) -> bool:
    """Whether one of them is unfinished."""
    return any(state is not None and state < DONE for _, _, state in found)


async def unique_taken(turn: Turn, row: TaskRow) -> bool:
    """Whether another unfinished task of its type has its unique key."""
    if row.unique_key is None:
        return False
    _, type, _ = await turn.key(row.line)
    return any(held == type and id != row.id for _, held, id in await turn.run("unique_holders", [row.unique_key]))


# -- beginning anew


async def restart(turn: Turn, row: TaskRow, found: Parents, *, run_at: float) -> int:
    """Final → queued, or waiting by its parents as they are now; its dependents are seen to later in the turn. Its new state."""
    waits = awaited(found)
    state = WAITING if waits else READY if run_at <= turn.now else LATER
    rank = row.rank + (run_at - row.run_at)
    await turn.run("begin_anew", row.n, state, rank, run_at, turn.now)
    turn.moved(row.id, row.line, row.key, row.state, state, row.attempt)
    if waits:
        await turn.run("edges_open", row.n)
    else:
        turn.joined(row.line, row.key)
    turn.restarted.append(row.id)
    return state
