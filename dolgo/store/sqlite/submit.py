"""Submitting: plain tasks all at once, and call by call those that others or their own keys may stand in the way of."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.base import Submitted
from dolgo.store.checks import check_task
from dolgo.store.relational.rows import CANCELLED, DONE, LATER, READY, STATUS, WAITING, from_error, from_tags
from dolgo.store.relational.rules import is_checked, is_plain
from dolgo.store.sqlite import notes as noting
from dolgo.store.sqlite import records
from dolgo.store.sqlite.edges import Parents, awaited, in_the_way
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import NewTask, Note, OnParentFailure, Put, Status

Call = tuple[Sequence[NewTask], Sequence[Put], Sequence[Note]]
States = dict[str, int]  # of tasks by id


def submit(turn: Turn, calls: Sequence[Call]) -> list[Submitted]:
    plain: list[Row] = []
    full: list[Row] = []
    answers: list[Submitted] = []
    for tasks, puts, notes in calls:
        if notes or any(map(is_checked, tasks)):
            _insert(turn, plain, full)  # what was submitted before stands before it
            plain, full = [], []
            answers.append(_submit_checked(turn, tasks, puts, notes))
        elif puts and (existing := records.in_the_way(turn, puts)) is not None:
            answers.append(Submitted([], existing))
        else:
            records.write(turn, puts)
            for task in tasks:
                if is_plain(task):
                    plain.append(_plain_row(turn, task))
                else:
                    full.append(_full_row(turn, task))
            answers.append(Submitted([Status.QUEUED] * len(tasks)))
    _insert(turn, plain, full)
    turn.work = True  # claims that wait go with every submit, and count on being rung for
    return answers


def submit_again(turn: Turn, calls: Sequence[Call]) -> list[Submitted]:
    """As `submit`, for tasks of which some exist already: these are left as they are."""
    turn.work = True
    return [_submit_checked(turn, *call) for call in calls]


def _plain_row(turn: Turn, task: NewTask) -> Row:
    run_at = turn.now + task.delay if task.run_at is None else task.run_at
    state = READY if run_at <= turn.now else LATER
    line = turn.line((task.queue, task.type, task.hash))
    return (task.id, line, state, run_at - task.lead, run_at, task.priority, task.max_attempts, turn.now, from_tags(task.tags),
            task.payload)  # fmt: skip


def _full_row(turn: Turn, task: NewTask) -> Row:
    needed_until = turn.now + task.needed if task.needed else None
    anyway = task.on_parent_failure is OnParentFailure.RUN
    return (*_plain_row(turn, task), task.limit_key or "", task.timeout, task.keep, needed_until, task.expires_at, anyway,
            task.unique_key, task.extras, None, None)  # fmt: skip


def _insert(turn: Turn, plain: Sequence[Row], full: Sequence[Row]) -> int:
    """Write the rows and count them; the number of the last."""
    run_rows(turn.connection, "submit", plain)
    _, last = run_rows(turn.connection, "submit_full", full)
    for id, line, state, rank, *_ in plain:
        turn.moved(id, line, "", 0, state, 0)
        turn.joined(line, "", rank, state)
    for row in full:
        id, line, state, rank, key = *row[:4], row[10]
        turn.moved(id, line, key, 0, state, 0)
        if state in (LATER, READY):
            turn.joined(line, key, rank, state)
    return last


# -- call by call


def _submit_checked(turn: Turn, tasks: Sequence[NewTask], puts: Sequence[Put], notes: Sequence[Note]) -> Submitted:
    """All or nothing: look at everything that may stand in the way, and only then write."""
    for task in tasks:
        check_task(task)
    if (existing := records.in_the_way(turn, puts)) is not None:
        return Submitted([], existing)
    states = _states(turn, {task.id for task in tasks} | {parent.id for task in tasks for parent in task.depends_on})
    fresh: dict[str, NewTask] = {}
    for task in tasks:
        if task.id not in states:
            fresh.setdefault(task.id, task)  # of the same id twice, the first
    news = list(fresh.values())
    held = noting.current(turn, notes) if notes else {}
    lost = any((item.id, item.token) not in held for item in notes)
    unique, unknown = _unique_taken(turn, news), _unknown(news, states)
    if lost or unique or unknown:
        return Submitted([], unique=unique, unknown=unknown, lost=lost)
    records.write(turn, puts)
    _write(turn, news, states)
    noting.write(turn, notes, held)
    return Submitted([STATUS[states[task.id]] for task in tasks])


def _states(turn: Turn, ids: set[str]) -> States:
    return {id: state for id, _, state in run(turn.connection, "states", msgspec.json.encode(list(ids)).decode())}


def _unknown(news: Sequence[NewTask], states: States) -> list[str]:
    """Parents that neither exist nor stand before their dependents."""
    known, unknown = set(states), dict[str, None]()
    for task in news:
        unknown.update(dict.fromkeys(parent.id for parent in task.depends_on if parent.id not in known))
        known.add(task.id)
    return list(unknown)


def _unique_taken(turn: Turn, news: Sequence[NewTask]) -> dict[str, str]:
    keyed = [task for task in news if task.unique_key is not None]
    if not keyed:
        return {}
    keys = msgspec.json.encode([task.unique_key for task in keyed]).decode()
    holders = {(type, key): id for key, type, id in run(turn.connection, "unique_holders", keys)}
    taken = {}
    for task in keyed:
        holder = holders.setdefault((task.type, task.unique_key), task.id)
        if holder != task.id:
            taken[task.id] = holder
    return taken


def _write(turn: Turn, news: Sequence[NewTask], states: States) -> None:
    """The tasks with their edges; each stands by its parents as they are now. Adds what they came to to `states`."""
    rows: list[Row] = []
    for task in news:
        found: Parents = [(place, parent.id, states[parent.id]) for place, parent in enumerate(task.depends_on)]
        row = _standing(turn, task, found)
        states[task.id] = row[2]
        rows.append(row)
    first = _insert(turn, (), rows) - len(rows) + 1
    edges: list[Row] = []
    for n, task in enumerate(news, start=first):
        waits = states[task.id] == WAITING
        edges += [
            (n, place, parent.id, parent.ref, waits and states[parent.id] < DONE) for place, parent in enumerate(task.depends_on)
        ]
    run_rows(turn.connection, "edge", edges)


def _standing(turn: Turn, task: NewTask, found: Parents) -> Row:
    row = _full_row(turn, task)
    error = in_the_way(found) if task.on_parent_failure is OnParentFailure.CANCEL else None
    if error is not None:
        return (*row[:2], CANCELLED, *row[3:-2], turn.now, from_error(error))
    return (*row[:2], WAITING, *row[3:]) if awaited(found) else row
