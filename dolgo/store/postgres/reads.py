"""What each reading verb asks of the connection that reads. Nothing here is in a transaction: every statement is one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolgo.store.base import EventPage
from dolgo.store.postgres.gates import Gates
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.rows import TASK_COLUMNS, TASK_FROM
from dolgo.store.postgres.server import Reader
from dolgo.store.relational.gates import is_limit, to_gate
from dolgo.store.relational.rows import LATER, READY, to_event, to_record, to_task
from dolgo.store.relational.tail import PLAIN
from dolgo.task.types import Dependency, Details, Gate, HeldUp, QueueCounts, Record, Status, Task

MOST_AHEAD = 10_000  # tasks that are looked at to say how many stand before one
NEW_LINE = ("", "")  # queue and type of one that was added since the lines were read: no gate of ours
PREFIX_END = "\U0010ffff"  # behind every text with the prefix it is put to

_TASKS = f"SELECT {TASK_COLUMNS} {TASK_FROM} WHERE every_task.id = ANY($1::text[])"

_unpack = msgspec.msgpack.Decoder(list[list[Any]]).decode
_decode_id = msgspec.json.Decoder(str).decode


async def get(reader: Reader, ids: Sequence[str]) -> list[Task | None]:
    found = {row[0]: to_task(row) for row in await reader.query(_TASKS, list(set(ids)))} if ids else {}
    return [found.get(id) for id in ids]


async def asked(reader: Reader, worker: str) -> list[str]:
    return [id for (id,) in await reader.run("asked", worker)]


async def records(reader: Reader, prefix: str, now: float) -> list[Record]:
    return [to_record(row) for row in await reader.run("records", prefix, prefix + PREFIX_END, now)]


async def counts(reader: Reader) -> list[QueueCounts]:
    names = (Status.WAITING, Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED)
    return [
        QueueCounts(queue, type, hash, dict(zip(names, numbers, strict=True)))
        for queue, type, hash, *numbers in await reader.run("counts")
    ]


async def oldest(reader: Reader, now: float) -> dict[str, float]:
    return {row[0]: row[1] for row in await reader.run("oldest", now)}


async def head(reader: Reader) -> int:
    ((newest,),) = await reader.run("head")
    return int(newest)


# -- the log


async def events(reader: Reader, lines: Lines, after: int, limit: int) -> EventPage:
    commits = await reader.run("events", after, limit)
    dropped, newest = commits[0][:2]
    if after > newest:
        return EventPage([], newest, reset=True)
    rows = [row for _, _, first, time, packed in commits if packed is not None for row in _events(first, time, packed)]
    rows = [row for row in rows if row[0] > max(after, dropped)][:limit]
    if any(row[3] not in lines.by_number for row in rows):
        for n, *key in await reader.run("lines_all"):
            lines.add(n, (key[0], key[1], key[2]))
    return event_page(rows, lines, after, reset=after < dropped)


def _events(first: int, time: float, packed: bytes) -> list[tuple[Any, ...]]:
    """The events of one commit: seq, time, id, line, state, attempt, kind, data."""
    return [(seq, time, *event, *PLAIN[len(event) - 4 :]) for seq, event in enumerate(_unpack(packed), start=first)]


def event_page(rows: Sequence[tuple[Any, ...]], lines: Lines, after: int, *, reset: bool = False) -> EventPage:
    return EventPage([to_event(row, lines.by_number[row[3]]) for row in rows], rows[-1][0] if rows else after, reset)


# -- besides the records


async def details(reader: Reader, ids: Sequence[str]) -> list[Details | None]:
    found = {row[0]: _details(row) for row in await reader.run("details", list(set(ids)))} if ids else {}
    return [found.get(id) for id in ids]


def _details(row: Sequence[Any]) -> Details:
    _, progress, submitted, parents, refs, unfinished, dependents = row
    return Details(
        parents=tuple(Dependency(id, ref) for id, ref in zip(parents, refs, strict=True)),
        dependents=tuple(dependents),
        submitted=tuple(map(_decode_id, submitted)),
        progress=progress,
        awaited=tuple(id for id, waits in zip(parents, unfinished, strict=True) if waits),
    )


async def notes(reader: Reader, id: str, prefix: str) -> list[tuple[str, bytes]]:
    return [(key, value) for key, value in await reader.run("notes", id, prefix, prefix + PREFIX_END)]


async def gates(reader: Reader, now: float) -> list[Gate]:
    found = [to_gate(row, now) for row in await reader.run("gates")]
    return [gate for gate in found if gate.paused or is_limit(gate)]


async def held_up(reader: Reader, id: str, now: float) -> HeldUp | None:
    """By the very `Gates` that claims ask."""
    standing = await reader.run("standing", id)
    if not standing:
        return None
    line, key, state, rank, run_at, queue = standing[0]
    if not (state == READY or (state == LATER and run_at <= now)):
        return None
    names = {n: (queue, type) for n, queue, type, _ in await reader.run("lines_all")}
    running = [(n, count) for n, count in await reader.run("lines_running") if n in names]
    gates = await Gates.read(reader.run, lambda n: names.get(n, NEW_LINE), now, running)
    found = gates.held_up(line) or (await gates.key_held_up(line, key) if key else None) or HeldUp("behind")
    ((ahead,),) = await reader.run("ahead", queue, rank, id, MOST_AHEAD, now)
    return msgspec.structs.replace(found, ahead=min(ahead, MOST_AHEAD))
