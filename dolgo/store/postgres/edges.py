"""What the end and the retry of a task do to those that depend on it.

Nobody carries over what a parent was: each step looks at the parents as they are at that moment, so it is right whatever has
happened to them since, and may be done twice. One commit sees to `Turn.budget` dependents; for the rest it leaves rows in
`cascade`, so that at every commit a waiting task has an unfinished parent or a row that leads to it.

Ends are followed by one transaction after the other (`Turn.in_order`); all else here has the store to itself (see `turn.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dolgo.store.postgres.rows import CANCELLED, DONE, LATER, READY, STATUS, WAITING, TaskRow, from_error, to_error
from dolgo.store.postgres.turn import Turn
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
        await _follow_ends(turn)
    turn.ended.clear()
    if turn.restarted:
        await _follow_restarts(turn)
        await turn.look_again()
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
            turn.ended.append(parent)
        else:
            await _follow_restart(turn, parent, after=after)
    await turn.look_again()
    await follow(turn)
    moved = limit - turn.budget
    turn.budget = kept
    return max(moved, 1) if rows else moved


# -- ends


async def _follow_ends(turn: Turn) -> None:
    """Release or cancel, and go on with those that were cancelled."""
    while turn.ended:
        ended, turn.ended = turn.ended, []
        rows = await turn.run("edges_over", ended, max(turn.budget, 0))
        turn.budget -= len(rows)
        if rows:
            await end_unstarted(turn, {
                child: _dependency_failed(parent, state) for child, parent, state, anyway in rows if not anyway and state > DONE
            })  # fmt: skip
            await _release(turn, {row[0] for row in rows})
        if turn.budget <= 0:
            await turn.run("cascade_left", ended)
    await turn.look_again()


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


async def _release(turn: Turn, children: Iterable[int]) -> None:
    """Waiting → queued, where no parent is left to wait for."""
    freed = await turn.run("release", list(children), turn.now)
    for _, id, line, key, state, attempt in sorted(freed, key=lambda row: row[0]):
        turn.moved(id, line, key, WAITING, state, attempt)
        turn.joined(line, key)


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


# -- revival


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


async def _follow_restarts(turn: Turn) -> None:
    """As far as the budget goes: revived dependents are followed in their turn."""
    while turn.restarted:
        parents, turn.restarted = turn.restarted, []
        for parent in parents:
            await _follow_restart(turn, parent, after=0)


async def _follow_restart(turn: Turn, parent: str, *, after: int) -> None:
    """Revive what was cancelled through this parent, and have wait again what still waits for others."""
    while children := [child for (child,) in await turn.run("dependents_after", parent, after, max(turn.budget, 1))]:
        for child in children:
            if turn.budget <= 0:
                await turn.run("revival_left", parent, after)
                return
            turn.budget -= 1
            await _revive(turn, child)
            after = child


async def _revive(turn: Turn, child: int) -> None:
    row = TaskRow((await turn.run("task_rows_by_number", [child]))[0])
    if row.state == WAITING:
        await turn.run("edges_open", child)
        return
    if row.state != CANCELLED or row.cancel_asked or not by_parent(row) or await unique_taken(turn, row):
        return
    found = await parents(turn, child)
    turn.budget -= len(found) // PARENTS_A_STEP
    if row.run_anyway or in_the_way(found) is None:
        await restart(turn, row, found, run_at=max(row.run_at, turn.now))
