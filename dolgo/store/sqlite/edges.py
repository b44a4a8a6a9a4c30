"""What the end and the retry of a task do to those that depend on it.

Nobody carries over what a parent was: each step looks at the parents as they are at that moment, so it is right whatever has
happened to them since, and may be done twice. One commit sees to `Turn.budget` dependents; for the rest it leaves rows in
`cascade`, so that at every commit a waiting task has an unfinished parent or a row that leads to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.relational.rows import CANCELLED, DONE, LATER, READY, STATUS, WAITING, from_error, to_error
from dolgo.store.sentences import parent_ended
from dolgo.store.sqlite.rows import TaskRow
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Error, ErrorCode

END, REVIVAL = 1, 2  # kinds of cascade
PARENTS_A_STEP = 100  # so many parents looked at weigh as much as one dependent moved

Parents = list[tuple[int, str, int | None]]  # place, id, state; no state: it is gone, and counts as done


def follow(turn: Turn) -> None:
    """See to the dependents of all that has ended, was retried or revived in this turn. Before the claims, and last of all."""
    if turn.ended and turn.extras().edges:
        _follow_ends(turn)
    turn.ended.clear()
    while turn.restarted:
        parents, turn.restarted = turn.restarted, []
        for parent in parents:
            _follow_restart(turn, parent, after=0)
    turn.write_keyed()


def cascade(turn: Turn, calls: Sequence[int]) -> list[int]:
    return [_cascade(turn, limit) for limit in calls]


def _cascade(turn: Turn, limit: int) -> int:
    kept, turn.budget = turn.budget, limit
    rows = run(turn.connection, "cascades", limit).fetchall()
    for kind, parent, after in rows:
        if turn.budget <= 0:
            break
        run(turn.connection, "cascade_gone", kind, parent)
        if kind == END:
            turn.ended.append(parent)
        else:
            _follow_restart(turn, parent, after=after)
    turn.changed()
    follow(turn)
    moved = limit - turn.budget
    turn.budget = kept
    return max(moved, 1) if rows else moved


# -- ends


def _follow_ends(turn: Turn) -> None:
    """Release or cancel, and go on with those that were cancelled."""
    while turn.ended:
        ended, turn.ended = turn.ended, []
        parents = msgspec.json.encode(ended).decode()
        rows = run(turn.connection, "edges_over", parents, max(turn.budget, 0)).fetchall()
        turn.budget -= len(rows)
        if rows:
            run_rows(turn.connection, "edge_close", [row[:2] for row in rows])
            end_unstarted(turn, {
                child: _dependency_failed(parent, state)
                for child, _, parent, state, anyway in rows if not anyway and (state or DONE) > DONE
            })  # fmt: skip
            _release(turn, list({row[0] for row in rows}))
        if turn.budget <= 0:
            run(turn.connection, "cascade_left", parents)
    turn.changed()


def _dependency_failed(parent: str, state: int) -> Error:
    return Error(ErrorCode.DEPENDENCY_FAILED, parent_ended(parent, STATUS[state]))


def end_unstarted(turn: Turn, errors: dict[int, Error]) -> None:
    """Waiting or queued → cancelled, each with its error."""
    if not errors:
        return
    numbers = msgspec.json.encode(list(errors)).decode()
    places = run(turn.connection, "places", numbers).fetchall()
    run_rows(turn.connection, "end_unstarted", [(n, turn.now, from_error(error)) for n, error in errors.items()])
    run(turn.connection, "edges_close", numbers)
    for _, id, line, key, state, attempt in places:
        turn.moved(id, line, key, state, CANCELLED, attempt)


def _release(turn: Turn, children: list[int]) -> None:
    """Waiting → queued, where no parent is left to wait for."""
    rows: list[Row] = []
    for n, id, line, key, rank, run_at, attempt in run(
        turn.connection, "freed", msgspec.json.encode(children).decode()
    ).fetchall():
        at = max(run_at, turn.now)
        state, rank = READY if at <= turn.now else LATER, rank + (at - run_at)
        rows.append((n, state, rank, at))
        turn.moved(id, line, key, WAITING, state, attempt)
        turn.joined(line, key, rank, state)
    run_rows(turn.connection, "release", rows)


# -- what a task depends on


def parents(turn: Turn, child: int) -> Parents:
    return run(turn.connection, "parents", child).fetchall()


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


def unique_taken(turn: Turn, row: TaskRow) -> bool:
    """Whether another unfinished task of its type has its unique key."""
    if row.unique_key is None:
        return False
    held = run(turn.connection, "unique_holders", msgspec.json.encode([row.unique_key]).decode()).fetchall()
    return any(type == turn.key(row.line)[1] and id != row.id for _, type, id in held)


# -- revival


def restart(turn: Turn, row: TaskRow, found: Parents, *, run_at: float) -> None:
    """Final → queued, or waiting by its parents as they are now; its dependents are seen to later in the turn."""
    waits = awaited(found)
    state = WAITING if waits else READY if run_at <= turn.now else LATER
    rank = row.rank + (run_at - row.run_at)
    run(turn.connection, "requeue", state, rank, run_at, row.attempt, 0, 0, 0, row.generation + 1, 0, row.n)
    run(turn.connection, "expires_no_more", row.n, turn.now)
    turn.moved(row.id, row.line, row.key, row.state, state, row.attempt)
    if waits:
        run(turn.connection, "edges_open", row.n)
    else:
        turn.joined(row.line, row.key, rank, state)
    turn.changed()
    turn.restarted.append(row.id)


def _follow_restart(turn: Turn, parent: str, *, after: int) -> None:
    """Revive what was cancelled through this parent, and have wait again what still waits for others."""
    while children := run(turn.connection, "dependents_after", parent, after, max(turn.budget, 1)).fetchall():
        for (child,) in children:
            if turn.budget <= 0:
                run(turn.connection, "revival_left", parent, after)
                return
            turn.budget -= 1
            _revive(turn, child)
            after = child


def _revive(turn: Turn, child: int) -> None:
    row = TaskRow(run(turn.connection, "row_by_number", child).fetchone())
    if row.state == WAITING:
        run(turn.connection, "edges_open", child)
        turn.changed()
        return
    if row.state != CANCELLED or row.cancel_asked or not by_parent(row) or unique_taken(turn, row):
        return
    found = parents(turn, child)
    turn.budget -= len(found) // PARENTS_A_STEP
    if row.run_anyway or in_the_way(found) is None:
        restart(turn, row, found, run_at=max(row.run_at, turn.now))
