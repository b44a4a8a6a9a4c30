"""Submitting: plain tasks all at once, and call by call those that others or their own keys may stand in the way of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dolgo.store.base import Submitted
from dolgo.store.checks import check_task
from dolgo.store.postgres import notes as noting
from dolgo.store.postgres.edges import Parents, awaited, in_the_way
from dolgo.store.postgres.records import Records
from dolgo.store.postgres.turn import HIGHEST, Row, Turn, columns
from dolgo.store.relational.rows import CANCELLED, DONE, LATER, READY, STATUS, WAITING, from_error, from_tags
from dolgo.store.relational.rules import is_checked, is_plain
from dolgo.task.types import NewTask, Note, OnParentFailure, Put, Status

Call = tuple[Sequence[NewTask], Sequence[Put], Sequence[Note]]
States = dict[str, int]  # of tasks by id

PLAIN_COLUMNS = 9


async def submit(turn: Turn, calls: Sequence[Call]) -> list[Submitted]:
    """An id that exists already is an error of the database here: then `submit_again` is to do it, call by call."""
    await _name_lines(turn, calls)
    records = await Records.read(turn, [put for _, puts, _ in calls for put in puts])
    gathered: list[NewTask] = []
    answers: list[Submitted] = []
    for tasks, puts, notes in calls:
        if notes or any(map(is_checked, tasks)):
            await _insert_unchecked(turn, gathered)  # what was submitted before stands before it
            gathered = []
            answers.append(await _submit_checked(turn, records, tasks, puts, notes))
        elif puts and (existing := records.in_the_way(puts)) is not None:
            answers.append(Submitted([], existing))
        else:
            records.put(puts)
            gathered += tasks
            answers.append(Submitted([Status.QUEUED] * len(tasks)))
    await _insert_unchecked(turn, gathered)
    await records.write()
    turn.work = True  # claims that wait go with every submit, and count on being rung for
    return answers


async def submit_again(turn: Turn, calls: Sequence[Call]) -> list[Submitted]:
    """As `submit`, for tasks of which some exist already: these are left as they are."""
    await _name_lines(turn, calls)
    records = await Records.read(turn, [put for _, puts, _ in calls for put in puts])
    answers = [await _submit_checked(turn, records, *call) for call in calls]
    await records.write()
    turn.work = True
    return answers


async def _name_lines(turn: Turn, calls: Sequence[Call]) -> None:
    await turn.lines.numbers(turn.connection, {(task.queue, task.type, task.hash) for tasks, _, _ in calls for task in tasks})


# -- rows: id, line, state, rank, run_at, priority, max_attempts, tags, payload; and of a full one the rest


def _plain_row(turn: Turn, task: NewTask) -> Row:
    run_at = turn.now + task.delay if task.run_at is None else task.run_at
    state = READY if run_at <= turn.now else LATER
    line = turn.lines.by_key[task.queue, task.type, task.hash]
    return (
        task.id,
        line,
        state,
        run_at - task.lead,
        run_at,
        task.priority,
        task.max_attempts,
        from_tags(task.tags),
        task.payload,
    )


def _full_row(turn: Turn, task: NewTask, state: int | None = None) -> Row:
    plain = _plain_row(turn, task)
    needed_until = turn.now + task.needed if task.needed else None
    anyway = task.on_parent_failure is OnParentFailure.RUN
    return (*plain[:2], plain[2] if state is None else state, *plain[3:], task.limit_key or "", task.timeout, task.keep,
            needed_until, task.expires_at, anyway, task.unique_key, task.extras)  # fmt: skip


async def _insert_unchecked(turn: Turn, tasks: Sequence[NewTask]) -> None:
    plain = [_plain_row(turn, task) for task in tasks if is_plain(task)]
    if plain:
        plain.sort(key=_id)
        await turn.run_rows("submit", plain, _size, turn.now)
        _inserted(turn, plain)
    if len(plain) < len(tasks):
        await _insert_full(turn, [_full_row(turn, task) for task in tasks if not is_plain(task)])


async def _insert_full(turn: Turn, rows: Sequence[Row]) -> list[int]:
    """The numbers of the new tasks, in the order of the rows."""
    if not rows:
        return []
    numbers = await turn.run_rows("submit_full", rows, _size, turn.now)
    _inserted(turn, rows)
    return [n for (n,) in numbers]


def _id(row: Row) -> Any:
    return row[0]


def _size(row: Row) -> int:
    return len(row[PLAIN_COLUMNS - 1])


def _inserted(turn: Turn, rows: Sequence[Row]) -> None:
    for row in rows:
        id, line, state, rank = row[:4]
        key = row[PLAIN_COLUMNS] if len(row) > PLAIN_COLUMNS else ""
        turn.moved(id, line, key, 0, state, 0)
        if state in (LATER, READY):
            turn.joined(line, key, rank if state == READY else HIGHEST)


# -- call by call


async def _submit_checked(
    turn: Turn, records: Records, tasks: Sequence[NewTask], puts: Sequence[Put], notes: Sequence[Note]
) -> Submitted:
    """All or nothing: look at everything that may stand in the way, and only then write."""
    for task in tasks:
        check_task(task)
    if (existing := records.in_the_way(puts)) is not None:
        return Submitted([], existing)
    held = await noting.current(turn, notes) if notes else {}
    states = await _states(turn, {task.id for task in tasks} | {parent.id for task in tasks for parent in task.depends_on})
    fresh: dict[str, NewTask] = {}
    for task in tasks:
        if task.id not in states:
            fresh.setdefault(task.id, task)  # of the same id twice, the first
    news = list(fresh.values())
    lost = any((item.id, item.token) not in held for item in notes)
    unique, unknown = await _unique_taken(turn, news), _unknown(news, states)
    if lost or unique or unknown:
        return Submitted([], unique=unique, unknown=unknown, lost=lost)
    records.put(puts)
    await _write(turn, news, states)
    await noting.write(turn, notes, held)
    return Submitted([STATUS[states[task.id]] for task in tasks])


async def _states(turn: Turn, ids: set[str]) -> States:
    return {row[0]: row[1] for row in await turn.run("states", list(ids))} if ids else {}


def _unknown(news: Sequence[NewTask], states: States) -> list[str]:
    """Parents that neither exist nor stand before their dependents."""
    known, unknown = set(states), dict[str, None]()
    for task in news:
        unknown.update(dict.fromkeys(parent.id for parent in task.depends_on if parent.id not in known))
        known.add(task.id)
    return list(unknown)


async def _unique_taken(turn: Turn, news: Sequence[NewTask]) -> dict[str, str]:
    keyed = [task for task in news if task.unique_key is not None]
    if not keyed:
        return {}
    await turn.in_order()  # or another might write the same key, and neither would see it
    found = await turn.run("unique_holders", list({task.unique_key for task in keyed}))
    holders = {(type, key): id for key, type, id in found}
    taken = {}
    for task in keyed:
        holder = holders.setdefault((task.type, task.unique_key), task.id)
        if holder != task.id:
            taken[task.id] = holder
    return taken


async def _write(turn: Turn, news: Sequence[NewTask], states: States) -> None:
    """The tasks with their edges; each stands by its parents as they are now. Adds what they came to to `states`."""
    rows: list[Row] = []
    errors: list[str | None] = []  # of those that are cancelled at once
    for task in news:
        found: Parents = [(place, parent.id, states[parent.id]) for place, parent in enumerate(task.depends_on)]
        error = in_the_way(found) if task.on_parent_failure is OnParentFailure.CANCEL else None
        state = CANCELLED if error is not None else WAITING if awaited(found) else None
        row = _full_row(turn, task, state)
        states[task.id] = row[2]
        rows.append(row)
        errors.append(from_error(error))
    numbers = await _insert_full(turn, rows)
    ended = [(n, error) for n, error in zip(numbers, errors, strict=True) if error is not None]
    if ended:
        await turn.run("born_final", [n for n, _ in ended], [error for _, error in ended], turn.now)
    await _write_edges(turn, zip(numbers, news, strict=True), states)


async def _write_edges(turn: Turn, tasks: Iterable[tuple[int, NewTask]], states: States) -> None:
    edges: list[Row] = []
    for n, task in tasks:
        waits = states[task.id] == WAITING
        edges += [
            (n, place, parent.id, parent.ref, waits and states[parent.id] < DONE) for place, parent in enumerate(task.depends_on)
        ]
    if edges:
        await turn.run("edge", *columns(edges))
        await turn.look_again()
