"""Notes: small things that handlers keep under their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dolgo.store.checks import check_note
from dolgo.store.postgres.rows import number_of
from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.rows import IN_PROGRESS, KINDS
from dolgo.task.types import EventKind, Note

Held = dict[tuple[str, str], tuple[int, int, int]]  # id and token, where current → n, line, attempt
Row = tuple[int, str, bytes]  # task, key, value


async def note(turn: Turn, calls: Sequence[Sequence[Note]]) -> list[list[bool]]:
    held = await current(turn, [item for notes in calls for item in notes])
    await write(turn, [item for notes in calls for item in notes], held)
    return [[(item.id, item.token) in held for item in notes] for notes in calls]


async def current(turn: Turn, notes: Sequence[Note]) -> Held:
    """Of the attempts that want to note something, those that may."""
    shown = {(number_of(item.token), item.id, item.token) for item in notes}
    if not shown:
        return {}
    columns = [list(column) for column in zip(*shown, strict=True)]
    return {(id, token): (n, line, attempt) for id, token, n, line, attempt in await turn.run("held_leases", *columns)}


async def write(turn: Turn, notes: Sequence[Note], held: Held) -> None:
    """Keep those of attempts that may, and log what is to be logged."""
    rows: list[Row] = []
    for item in notes:
        check_note(item)
        if (place := held.get((item.id, item.token))) is None:
            continue
        n, line, attempt = place
        rows.append((n, item.key, item.value))
        if item.event is not None:
            data = item.value if item.event is EventKind.PROGRESS else None
            turn.note_events.append((turn.now, item.id, line, IN_PROGRESS, attempt, KINDS.index(item.event), data))
    await keep(turn, rows)


async def keep(turn: Turn, rows: Iterable[Row]) -> None:
    """Write notes; of those with one task and key, the last. In order of both, as all processes do."""
    newest = {(task, key): value for task, key, value in rows}
    if not newest:
        return
    places = sorted(newest)
    await turn.run("note", [task for task, _ in places], [key for _, key in places], [newest[place] for place in places])
