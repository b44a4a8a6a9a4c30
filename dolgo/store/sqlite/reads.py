"""What each reading verb asks of a connection. Every function fetches all it wants and ends."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dolgo.store.base import EventPage
from dolgo.store.relational.gates import is_limit, to_gate
from dolgo.store.relational.rows import LATER, READY, to_event, to_record, to_task
from dolgo.store.sqlite.gates import Gates
from dolgo.store.sqlite.lines import Lines
from dolgo.store.sqlite.rows import TASK_COLUMNS, TASK_FROM
from dolgo.store.sqlite.sql import Connection, Row, one_moment, run
from dolgo.task.types import Dependency, Details, Gate, HeldUp, QueueCounts, Record, Status, Task

MOST_AHEAD = 10_000  # tasks that are looked at to say how many stand before one

_ONE = f"SELECT {TASK_COLUMNS} {TASK_FROM} WHERE id = ?"


def get(connection: Connection, ids: Sequence[str]) -> list[Task | None]:
    found = []
    for id in ids:
        row = connection.execute(_ONE, (id,)).fetchone()
        found.append(to_task(row) if row else None)
    return found


def asked(connection: Connection, worker: str) -> list[str]:
    return [id for (id,) in run(connection, "asked", worker).fetchall()]


def records(connection: Connection, prefix: str, now: float) -> list[Record]:
    return [to_record(row) for row in run(connection, "records", prefix, prefix + "\U0010ffff", now).fetchall()]


def counts(connection: Connection) -> list[QueueCounts]:
    names = (Status.WAITING, Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED)
    return [
        QueueCounts(queue, type, hash, dict(zip(names, numbers, strict=True)))
        for queue, type, hash, *numbers in run(connection, "counts").fetchall()
    ]


def oldest(connection: Connection, now: float) -> dict[str, float]:
    found: dict[str, float] = {}
    keyed = [row for closed in (0, 1) for row in run(connection, "oldest_keyed", closed).fetchall()]
    for queue, run_at in (*run(connection, "oldest").fetchall(), *keyed, *run(connection, "oldest_due", now).fetchall()):
        if run_at is not None:
            found[queue] = min(run_at, found.get(queue, run_at))
    return found


def head(connection: Connection) -> int:
    return run(connection, "log_ends").fetchone()[1] or 0


def gating(connection: Connection) -> int:
    """A number that another one follows whenever a gate is changed."""
    changes: int = run(connection, "gating").fetchone()[0]
    return changes


def events(connection: Connection, lines: Lines, after: int, limit: int) -> EventPage:
    with one_moment(connection):  # or what is trimmed in between would be missed without a reset
        first, last = run(connection, "log_ends").fetchone()
        if last is None or after > last:
            return EventPage([], last or 0, reset=after != (last or 0))
        rows = run(connection, "events", after, limit).fetchall()
    if any(row[3] not in lines.by_number for row in rows):
        lines.read(connection)
    return event_page(rows, lines, after, reset=after + 1 < first)


def event_page(rows: list[Row], lines: Lines, after: int, *, reset: bool = False) -> EventPage:
    return EventPage([to_event(row, lines.by_number[row[3]]) for row in rows], rows[-1][0] if rows else after, reset)


# -- besides the records


def details(connection: Connection, ids: Sequence[str]) -> list[Details | None]:
    with one_moment(connection):
        return [_details(connection, id) for id in ids]


def _details(connection: Connection, id: str) -> Details | None:
    row = run(connection, "number", id).fetchone()
    if row is None:
        return None
    (n,) = row
    progress = run(connection, "progress", n).fetchone()
    parents = run(connection, "parents_named", n).fetchall()
    return Details(
        parents=tuple(Dependency(id, ref) for id, ref, _ in parents),
        dependents=tuple(dependent for (dependent,) in run(connection, "dependents", id)),
        submitted=tuple(msgspec.json.decode(value, type=str) for (value,) in run(connection, "submitted", n)),
        progress=progress and progress[0],
        awaited=tuple(id for id, _, unfinished in parents if unfinished),
    )


def notes(connection: Connection, id: str, prefix: str) -> list[tuple[str, bytes]]:
    rows: list[tuple[str, bytes]] = run(connection, "notes", id, prefix, prefix + "\U0010ffff").fetchall()
    return rows


def gates(connection: Connection, now: float) -> list[Gate]:
    found = [to_gate(row, now) for row in run(connection, "gates").fetchall()]
    return [gate for gate in found if gate.paused or is_limit(gate)]


def held_up(connection: Connection, id: str, now: float) -> HeldUp | None:
    """By the very `Gates` that claims ask."""
    with one_moment(connection):
        row = run(connection, "standing", id).fetchone()
        if row is None or not (row[2] == READY or (row[2] == LATER and row[4] <= now)):
            return None
        line, key, _, rank, _, queue = row
        lines = Lines()
        standing = Gates(connection, lambda n: lines.key(connection, n)[:2], now, run(connection, "lines_running").fetchall())
        found = standing.held_up(line) or (standing.key_held_up(line, key) if key else None) or HeldUp("behind")
        return msgspec.structs.replace(found, ahead=_ahead(connection, queue, (rank, id), now))


def _ahead(connection: Connection, queue: str, place: tuple[float, str], now: float) -> int:
    """Claimable tasks of the queue that come first; those with a limit key only as far as they are among the first looked at."""
    (plain,) = run(connection, "ahead", queue, *place, MOST_AHEAD).fetchone()
    (keyed,) = run(connection, "ahead_keyed", queue, MOST_AHEAD, *place).fetchone()
    (due,) = run(connection, "ahead_due", now, MOST_AHEAD, queue, *place).fetchone()
    return int(min(plain + keyed + due, MOST_AHEAD))
