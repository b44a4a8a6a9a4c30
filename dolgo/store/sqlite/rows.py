"""Rows of the database as records, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dolgo.task.types import Attempt, Error, Event, Lease, Outcome, Record, Status, Task

LATER, READY, IN_PROGRESS, DONE, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6  # `queued` is later or ready

STATUS = (Status.WAITING, Status.QUEUED, Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED)
FINAL_STATE = {Status.DONE: DONE, Status.FAILED: FAILED, Status.CANCELLED: CANCELLED}

TASK_COLUMNS = (
    "task.id, line.type, line.hash, line.queue, state, payload, priority, run_at, attempt, max_attempts, failures, losses, "
    "suspect, cancel_asked, tags, created_at, started_at, finished_at, worker, result, error, history"
)
TASK_FROM = "FROM task JOIN line ON line.n = task.line"

_encode = msgspec.json.Encoder().encode
_decode_error = msgspec.json.Decoder(Error).decode
_decode_history = msgspec.json.Decoder(tuple[Attempt, ...]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode

LineKey = tuple[str, str, str]  # queue, type, hash


def to_task(row: tuple[Any, ...]) -> Task:
    """The task of a row of TASK_COLUMNS."""
    (id, type, hash, queue, state, payload, priority, run_at, attempt, max_attempts, failures, losses, suspect, cancel_asked,
     tags, created_at, started_at, finished_at, worker, result, error, history) = row  # fmt: skip
    return Task(
        id=id, type=type, hash=hash, queue=queue, status=STATUS[state], payload=payload, priority=priority, run_at=run_at,
        attempt=attempt, max_attempts=max_attempts, failures=failures, losses=losses, suspect=suspect == 1,
        cancel_asked=cancel_asked == 1, tags=to_tags(tags), created_at=created_at, started_at=started_at,
        finished_at=finished_at, worker=worker, result=result, error=to_error(error), history=to_history(history),
    )  # fmt: skip


def to_lease(row: Sequence[Any], line: LineKey) -> Lease:
    """The lease of a row: id, token, line, payload, attempt, failures, losses, max_attempts, suspect, tags."""
    id, token, _, payload, attempt, failures, losses, max_attempts, suspect, tags = row
    queue, type, hash = line
    return Lease(id, token, type, hash, queue, payload, attempt, failures, losses, max_attempts, suspect == 1, to_tags(tags))


def to_event(row: tuple[Any, ...], line: LineKey) -> Event:
    """The event of a row: seq, time, id, line, state, attempt."""
    seq, time, id, _, state, attempt = row
    return Event(seq, time, id, line[1], line[0], STATUS[state], attempt)


def to_record(row: tuple[Any, ...]) -> Record:
    return Record(*row)


def to_error(text: str | None) -> Error | None:
    return None if text is None else _decode_error(text)


def to_history(text: str | None) -> tuple[Attempt, ...]:
    return () if text is None else _decode_history(text)


def to_tags(text: str | None) -> tuple[str, ...]:
    return () if text is None else _decode_tags(text)


def from_error(error: Error | None) -> str | None:
    return None if error is None else _encode(error).decode()


def from_tags(tags: tuple[str, ...]) -> str | None:
    return _encode(tags).decode() if tags else None


class TaskRow:
    """What a rule needs to know of one task, from the statement `row`."""

    __slots__ = (
        "attempt", "cancel_asked", "error", "failures", "finished_at", "history", "id", "line", "losses", "rank", "run_at",
        "started_at", "state", "suspect", "token", "worker",
    )  # fmt: skip

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.id, self.line, self.state, self.rank, self.run_at, self.attempt, self.failures, self.losses, self.suspect,
            self.cancel_asked, self.token, self.worker, self.started_at, self.finished_at, self.history, self.error,
        ) = row  # fmt: skip

    def with_attempt_ended(self, outcome: Outcome | None, at: float | None, error: Error | None) -> str:
        """The history with the newest attempt added."""
        ended = Attempt(self.attempt, self.worker, self.started_at, at, outcome, error)
        return _encode((*to_history(self.history), ended)).decode()
