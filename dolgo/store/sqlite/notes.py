"""Notes: small things that handlers keep under their tasks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.checks import check_note
from dolgo.store.relational.rows import IN_PROGRESS, KINDS
from dolgo.store.sqlite.sql import Row, run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import EventKind, Note

Held = dict[tuple[str, str], tuple[int, int, int]]  # id and token, where current → n, line, attempt


def note(turn: Turn, calls: Sequence[Sequence[Note]]) -> list[list[bool]]:
    held = current(turn, [item for notes in calls for item in notes])
    for notes in calls:
        write(turn, notes, held)
    return [[(item.id, item.token) in held for item in notes] for notes in calls]


def current(turn: Turn, notes: Sequence[Note]) -> Held:
    """Of the attempts that want to note something, those that may."""
    shown = msgspec.json.encode(list({(item.id, item.token) for item in notes})).decode()
    return {(id, token): (n, line, attempt) for id, token, n, line, attempt in run(turn.connection, "held_leases", shown)}


def write(turn: Turn, notes: Sequence[Note], held: Held) -> None:
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
    run_rows(turn.connection, "note", rows)
