"""What goes to the functions inside Redis and what comes back, as MessagePack.

Redis's own MessagePack knows no bytes, only text, and looks into neither: so bytes go as text. What comes back as bytes stands
beside the head of an answer as it is. 0, -1 and '' stand for none where `lua/task.lua` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw, Struct

from dolgo.store.base import Renewed, Submitted
from dolgo.task.types import (
    Attempt,
    Change,
    Dependency,
    Error,
    EventKind,
    Gate,
    HeldUp,
    Lease,
    NewTask,
    Note,
    OnParentFailure,
    Outcome,
    Put,
    Record,
    Refusal,
    Settlement,
    Status,
    Task,
)

# `queued` is later or ready: both are shown alike, and asked for by the first.
STATUSES = (
    None, Status.WAITING, Status.QUEUED, Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED,
)  # fmt: skip
STATE = {status: state for state, status in reversed(list(enumerate(STATUSES))) if status is not None}
READY = 3
KINDS = (EventKind.STATUS, EventKind.PROGRESS, EventKind.LOG)
GATE = ("paused", "paused_until", "reason", "max_running", "max_running_per_key", "rate")  # as `lua/gates.lua` counts them from 1

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode
_encode_json = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(Error).decode

Head = list[Any]


def octets(value: bytes) -> Raw:
    """Bytes as text of MessagePack."""
    return Raw(b"\xdb" + len(value).to_bytes(4, "big") + value)


def from_octets(value: Raw) -> bytes:
    """The bytes of a text of MessagePack, which may be no text at all."""
    first = memoryview(value)[0]
    head = 1 if first < 0xD9 else {0xD9: 2, 0xDA: 3, 0xDB: 5}[first]
    return bytes(memoryview(value)[head:])


# -- the body: what of a task only its readers look into


class Body(Struct, frozen=True, array_like=True):
    """Extras stand at the end, and only where there are some: so every body written before there were any is read as well."""

    type: str
    hash: str
    queue: str
    priority: int
    max_attempts: int
    tags: tuple[str, ...]
    timeout: float | None
    payload: bytes
    extras: bytes | None = None


_decode_body = msgspec.msgpack.Decoder(Body).decode


def body_of(new: NewTask) -> bytes:
    extras = () if new.extras is None else (new.extras,)
    return encode((new.type, new.hash, new.queue, new.priority, new.max_attempts, new.tags, new.timeout, new.payload, *extras))


# -- questions


def new_tasks(tasks: Sequence[NewTask], lines: dict[tuple[str, str, str], int]) -> list[Any]:
    """The tasks of a submit. Their lines are named by their place among all lines of the call, from 1."""
    return [_new_task(new, lines.setdefault((new.queue, new.type, new.hash), len(lines) + 1)) for new in tasks]


def _new_task(new: NewTask, line: int) -> list[Any]:
    parents = [part for parent in new.depends_on for part in (parent.id, parent.ref or "")]
    return [
        new.id, line, new.run_at, new.delay, new.lead, -1 if new.keep is None else new.keep, new.needed, new.expires_at or 0,
        int(new.on_parent_failure == OnParentFailure.RUN), new.limit_key or "", new.unique_key or "", parents,
        octets(body_of(new)),
    ]  # fmt: skip


def puts_of(puts: Iterable[Put]) -> list[Any]:
    return [(put.key, octets(put.value), put.version, put.keep) for put in puts]


def notes_of(notes: Iterable[Note]) -> list[Any]:
    return [(note.id, note.token, note.key, octets(note.value), KINDS.index(note.event) if note.event else 0) for note in notes]


def size_of(settlement: Settlement) -> int:
    """About how many bytes of a task are read and written to settle it."""
    return len(settlement.lease.payload) + len(settlement.result or b"")


def parts_of(settlements: Sequence[Settlement], most: int) -> Iterator[list[Settlement]]:
    """All of them in order, in parts of about so many bytes at most."""
    part: list[Settlement] = []
    size = 0
    for settlement in settlements:
        part.append(settlement)
        size += size_of(settlement)
        if size >= most:
            yield part
            part, size = [], 0
    if part:
        yield part


def settlements_of(settlements: Iterable[Settlement]) -> list[Any]:
    return [
        (
            item.lease.id, item.lease.token, READY if item.status is Status.QUEUED else STATE[item.status], item.outcome,
            None if item.result is None else octets(item.result), error_of(item.error), item.delay, item.failures, item.losses,
            item.deferrals, int(item.suspect), int(item.started),
        )
        for item in settlements
    ]  # fmt: skip


def gate_changes(changes: Mapping[str, object]) -> list[Any]:
    """Places of members and their new values, False for none."""
    values = {"paused": int(bool(changes.get("paused")))} if "paused" in changes else {}
    return flat((GATE.index(name) + 1, False if value is None else value) for name, value in {**changes, **values}.items())


def error_of(error: Error | None) -> str:
    return "" if error is None else _encode_json(error).decode()


# -- answers


def to_submitted(answer: Head, blobs: Iterator[bytes]) -> Submitted:
    if answer[0] == 0:
        return Submitted([_status(state) for state in answer[1]])
    if answer[0] == 1:
        return Submitted([], to_record(answer[1], next(blobs)))
    _, unique, unknown, lost = answer
    return Submitted([], unique=dict(zip(unique[::2], unique[1::2], strict=True)), unknown=unknown, lost=lost == 1)


def to_leases(rows: Sequence[Head], bodies: Sequence[bytes]) -> list[Lease]:
    return [to_lease(row, body) for row, body in zip(rows, bodies, strict=True)]


def to_lease(row: Head, body: bytes) -> Lease:
    id, token, attempt, failures, losses, deferrals, generation, suspect, limit_key, run_at = row
    it = _decode_body(body)
    return Lease(id, token, it.type, it.hash, it.queue, it.payload, attempt, failures, losses, it.max_attempts, suspect == 1,
                 it.tags, deferrals, generation, it.timeout, limit_key or None, it.extras, float(run_at))  # fmt: skip


def to_renewed(answer: Head, bodies: Sequence[bytes]) -> Renewed:
    lost, asked, unnamed = answer
    return Renewed(lost, asked, to_leases(unnamed, bodies))


def to_tasks(ids: Sequence[str], rows: Sequence[Head | bool], blobs: Iterator[bytes]) -> list[Task | None]:
    return [to_task(id, row, blobs) if isinstance(row, list) else None for id, row in zip(ids, rows, strict=True)]


def to_task(id: str, row: Head, blobs: Iterator[bytes]) -> Task:
    (state, _, run_at, _, attempt, failures, losses, deferrals, generation, suspect, cancel_asked, run_anyway, _, limit_key,
     unique_key, _, worker, created_at, started_at, finished_at, keep, _, expires_at, history, _, error, _) = row  # fmt: skip
    body, result = _decode_body(next(blobs)), next(blobs)
    return Task(
        id=id, type=body.type, hash=body.hash, queue=body.queue, status=_status(state), payload=body.payload,
        priority=body.priority, run_at=float(run_at), attempt=attempt, max_attempts=body.max_attempts,
        failures=failures, losses=losses, deferrals=deferrals, generation=generation, suspect=suspect == 1,
        cancel_asked=cancel_asked == 1, tags=body.tags,
        created_at=float(created_at), started_at=_time(started_at), finished_at=_time(finished_at), worker=worker or None,
        result=result or None, error=_decode_error(error) if error else None,
        history=tuple(_to_attempt(next(blobs)) for _ in range(history)), timeout=body.timeout,
        keep=None if keep == -1 else float(keep), expires_at=_time(expires_at),
        on_parent_failure=OnParentFailure.RUN if run_anyway else OnParentFailure.CANCEL,
        unique_key=unique_key or None, limit_key=limit_key or None, extras=body.extras,
    )  # fmt: skip


def _to_attempt(note: bytes) -> Attempt:
    number, worker, started_at, finished_at, outcome, error = decode(note)
    return Attempt(number, worker or None, _time(started_at), _time(finished_at), Outcome(outcome) if outcome else None,
                   _decode_error(error) if error else None)  # fmt: skip


def _status(state: int) -> Status:
    status = STATUSES[state]
    assert status is not None
    return status


def _time(value: float) -> float | None:
    return float(value) if value else None


def to_change(row: Head) -> Change:
    before, after, refusal, asked = row
    return Change(STATUSES[before], STATUSES[after], Refusal(refusal) if refusal else None, asked == 1)


def to_record(row: Head, value: bytes) -> Record:
    key, version, first_at, written_at, expires_at = row
    return Record(key, value, version, float(written_at), float(first_at), _time(expires_at))


def to_gate(row: Head) -> Gate:
    scope, paused, until, reason, max_running, per_key, rate = row
    return Gate(
        scope=scope, paused=paused == 1, paused_until=_or_none(until), reason=_or_none(reason), max_running=_or_none(max_running),
        max_running_per_key=_or_none(per_key), rate=_or_none(rate),
    )  # fmt: skip


def to_held_up(row: Head) -> HeldUp | None:
    if row[0] is False:
        return None
    code, scope, until, ahead = row
    return HeldUp(code, scope, _or_none(until), ahead)


def _or_none(value: Any) -> Any:
    return None if value is False else value


def to_parents(stored: bytes) -> tuple[Dependency, ...]:
    flat = decode(stored) if stored else []
    return tuple(Dependency(id, ref or None) for id, ref in zip(flat[::2], flat[1::2], strict=True))


def flat(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    return list(chain.from_iterable(pairs))
