"""Rows as records, and back. Both databases have the same columns, and keep the same JSON in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolgo.store.checks import ATTEMPTS
from dolgo.task.types import Attempt, Error, Event, EventKind, Lease, OnParentFailure, Record, Status, Task

WAITING, LATER, READY, IN_PROGRESS, DONE, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6, 7  # `queued` is later or ready

STATES = {  # no state is 0
    Status.WAITING: (WAITING,),
    Status.QUEUED: (LATER, READY),
    Status.IN_PROGRESS: (IN_PROGRESS,),
    Status.DONE: (DONE,),
    Status.FAILED: (FAILED,),
    Status.CANCELLED: (CANCELLED,),
}
STATUS = {state: status for status, states in STATES.items() for state in states}
FINAL_STATE = {Status.DONE: DONE, Status.FAILED: FAILED, Status.CANCELLED: CANCELLED}
KINDS = (EventKind.STATUS, EventKind.PROGRESS, EventKind.LOG)

ATTEMPTS_END = "attempt0"  # keys of the notes that tell of earlier attempts lie between `ATTEMPTS` and this

_encode = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(Error).decode
_decode_history = msgspec.json.Decoder(tuple[Attempt, ...]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode

LineKey = tuple[str, str, str]  # queue, type, hash


def task_columns(table: str, history: str) -> str:
    """What `to_task` reads, of this table joined with `line`; `history` is the JSON of the earlier attempts, or NULL."""
    return (
        f"{table}.id, line.type, line.hash, line.queue, state, payload, priority, run_at, attempt, max_attempts, failures, "
        "losses, deferrals, generation, suspect, cancel_asked, tags, created_at, started_at, finished_at, worker, result, error, "
        f"timeout, keep, expires_at, run_anyway, unique_key, limit_key, extras, {history}"
    )


def to_task(row: Sequence[Any]) -> Task:
    """The task of a row of `task_columns`."""
    (id, type, hash, queue, state, payload, priority, run_at, attempt, max_attempts, failures, losses, deferrals, generation,
     suspect, cancel_asked, tags, created_at, started_at, finished_at, worker, result, error, timeout, keep, expires_at,
     run_anyway, unique_key, limit_key, extras, history) = row  # fmt: skip
    return Task(
        id=id, type=type, hash=hash, queue=queue, status=STATUS[state], payload=payload, priority=priority, run_at=run_at,
        attempt=attempt, max_attempts=max_attempts, failures=failures, losses=losses, deferrals=deferrals, generation=generation,
        suspect=suspect == 1, cancel_asked=cancel_asked == 1, tags=_tags(tags), created_at=created_at, started_at=started_at,
        finished_at=finished_at, worker=worker, result=result, error=to_error(error), history=_history(history),
        timeout=timeout, keep=keep, expires_at=expires_at,
        on_parent_failure=OnParentFailure.RUN if run_anyway else OnParentFailure.CANCEL,
        unique_key=unique_key, limit_key=limit_key or None, extras=extras,
    )  # fmt: skip


def to_lease(row: Sequence[Any], line: LineKey) -> Lease:
    """The lease of a row: id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals,
    generation, timeout, limit_key, extras, run_at."""
    (id, token, _, payload, attempt, failures, losses, max_attempts, suspect, tags, deferrals, generation, timeout,
     limit_key, extras, run_at) = row  # fmt: skip
    queue, type, hash = line
    return Lease(id, token, type, hash, queue, payload, attempt, failures, losses, max_attempts, suspect == 1, _tags(tags),
                 deferrals, generation, timeout, limit_key or None, extras, run_at)  # fmt: skip


def to_event(row: Sequence[Any], line: LineKey) -> Event:
    """The event of a row: seq, time, id, line, state, attempt, kind, data."""
    seq, time, id, _, state, attempt, kind, data = row
    return Event(seq, time, id, line[1], line[0], STATUS[state], attempt, KINDS[kind], data)


def to_record(row: Sequence[Any]) -> Record:
    return Record(*row)


def to_error(text: str | None) -> Error | None:
    return None if text is None else _decode_error(text)


def _history(text: str | None) -> tuple[Attempt, ...]:
    return () if text is None else _decode_history(text)


def _tags(text: str | None) -> tuple[str, ...]:
    return () if text is None else _decode_tags(text)


def from_error(error: Error | None) -> str | None:
    return None if error is None else _encode(error).decode()


def from_tags(tags: tuple[str, ...]) -> str | None:
    return _encode(tags).decode() if tags else None


def attempt_key(ended: Attempt) -> str:
    """The key of the note that tells of an earlier attempt: one each, so that a thousand are no burden to the next."""
    return f"{ATTEMPTS}{ended.number:08}"


def from_attempt(ended: Attempt) -> str:
    return _encode(ended).decode()
