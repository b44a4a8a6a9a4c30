"""Rows of the database as records, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolgo.store.checks import ATTEMPTS
from dolgo.task.types import Attempt, Error, Event, EventKind, Lease, OnParentFailure, Outcome, Record, Status, Task

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

# In one statement with its task, so that both are of one moment; and only where there is something to find.
_HISTORY = (
    "CASE WHEN attempt > (started_at IS NOT NULL)::int THEN (SELECT string_agg(convert_from(value, 'UTF8'), ',' ORDER BY key) "
    f"FROM note WHERE note.task = every_task.n AND key >= '{ATTEMPTS}' AND key < '{ATTEMPTS_END}') END"
)
TASK_COLUMNS = (
    "every_task.id, line.type, line.hash, line.queue, state, payload, priority, run_at, attempt, max_attempts, failures, losses, "
    "deferrals, generation, suspect, cancel_asked, tags, created_at, started_at, finished_at, worker, result, error, timeout, "
    f"keep, expires_at, run_anyway, unique_key, limit_key, extras, {_HISTORY}"
)
TASK_FROM = "FROM every_task JOIN line ON line.n = every_task.line"

_encode = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(Error).decode
_decode_history = msgspec.json.Decoder(tuple[Attempt, ...]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode

LineKey = tuple[str, str, str]  # queue, type, hash
EventRow = tuple[Any, ...]  # id, line, state, attempt; and of a note kind and data


def to_task(row: Sequence[Any]) -> Task:
    """The task of a row of TASK_COLUMNS."""
    (id, type, hash, queue, state, payload, priority, run_at, attempt, max_attempts, failures, losses, deferrals, generation,
     suspect, cancel_asked, tags, created_at, started_at, finished_at, worker, result, error, timeout, keep, expires_at,
     run_anyway, unique_key, limit_key, extras, history) = row  # fmt: skip
    return Task(
        id=id, type=type, hash=hash, queue=queue, status=STATUS[state], payload=payload, priority=priority, run_at=run_at,
        attempt=attempt, max_attempts=max_attempts, failures=failures, losses=losses, deferrals=deferrals, generation=generation,
        suspect=suspect, cancel_asked=cancel_asked, tags=to_tags(tags), created_at=created_at, started_at=started_at,
        finished_at=finished_at, worker=worker, result=result, error=to_error(error), history=to_history(history),
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
    return Lease(id, token, type, hash, queue, payload, attempt, failures, losses, max_attempts, suspect, to_tags(tags),
                 deferrals, generation, timeout, limit_key or None, extras, run_at)  # fmt: skip


def number_of(token: str) -> int:
    """The n of the task that a token was made for; -1: of none, no store of this kind made it."""
    head, dot, _ = token.partition(".")
    try:
        number = int(head, 16) if dot else -1
    except ValueError:
        return -1
    return number if 0 <= number < 2**63 else -1


def to_event(row: Sequence[Any], line: LineKey) -> Event:
    """The event of a row: seq, time, id, line, state, attempt, kind, data."""
    seq, time, id, _, state, attempt, kind, data = row
    return Event(seq, time, id, line[1], line[0], STATUS[state], attempt, KINDS[kind], data)


def to_record(row: Sequence[Any]) -> Record:
    return Record(*row)


def to_error(text: str | None) -> Error | None:
    return None if text is None else _decode_error(text)


def to_history(text: str | None) -> tuple[Attempt, ...]:
    return () if text is None else _decode_history(f"[{text}]")


def to_tags(text: str | None) -> tuple[str, ...]:
    return () if text is None else _decode_tags(text)


def from_error(error: Error | None) -> str | None:
    return None if error is None else _encode(error).decode()


def from_tags(tags: tuple[str, ...]) -> str | None:
    return _encode(tags).decode() if tags else None


class TaskRow:
    """What a rule needs to know of one task, from the statements `rows_locked` and `task_rows`."""

    __slots__ = (
        "attempt", "cancel_asked", "created_at", "deferrals", "error", "expires_at", "failures", "finished_at", "generation",
        "id", "keep", "key", "line", "losses", "n", "needed_until", "rank", "run_anyway", "run_at", "started_at", "state",
        "suspect", "token", "unique_key", "worker",
    )  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        (
            self.n, self.id, self.line, self.key, self.state, self.rank, self.run_at, self.attempt, self.failures, self.losses,
            self.deferrals, self.generation, self.suspect, self.cancel_asked, self.token, self.worker, self.started_at,
            self.finished_at, self.error, self.run_anyway, self.unique_key, self.created_at, self.keep, self.needed_until,
            self.expires_at,
        ) = row  # fmt: skip

    def attempt_ended(self, outcome: Outcome | None, at: float | None, error: Error | None) -> Attempt:
        """The newest attempt, as it is kept once there is another."""
        return Attempt(self.attempt, self.worker, self.started_at, at, outcome, error)


def attempt_note(task: int, ended: Attempt) -> tuple[int, str, bytes]:
    """The row of a note that tells of an earlier attempt: one each, so that a thousand of them are no burden to the next."""
    return (task, f"{ATTEMPTS}{ended.number:08}", _encode(ended))
