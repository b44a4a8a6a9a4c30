"""Tasks as bytes to send. Results and payloads are passed through as they are stored, never read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, Raw

from dolgo.api.schema import FullTask, ShortTask, ShownAttempt
from dolgo.task.types import Attempt, End, Status, Task, last_outcome

View = Callable[[Task], bytes]

_encode = msgspec.json.Encoder().encode


def accepted(id: str, status: Status) -> bytes:
    """A task that was taken up."""
    return b'{"id":"%b","status":"%b"}' % (id.encode(), status.encode())


def short(task: Task | End) -> bytes:
    """The fixed members alone."""
    if task.status is Status.DONE:
        return _encode(ShortTask(task.id, task.status, result=_result(task)))
    if task.error is not None:
        return _encode(ShortTask(task.id, task.status, error=task.error.message))
    return accepted(task.id, task.status)


def full(task: Task) -> bytes:
    """All there is to know of a task."""
    return _encode(
        FullTask(
            id=task.id,
            status=task.status,
            result=_result(task) if task.status is Status.DONE else UNSET,
            error=task.error,
            type=task.type,
            queue=task.queue,
            priority=task.priority,
            payload=Raw(task.payload),
            attempt=task.attempt,
            max_attempts=task.max_attempts,
            created_at=moment(task.created_at),
            run_at=moment(task.run_at),
            started_at=_moment(task.started_at),
            finished_at=_moment(task.finished_at),
            expires_at=None,
            worker=task.worker,
            progress=None,
            attempts=_attempts(task),
            parents=[],
            dependents=[],
            submitted=[],
            tags=task.tags,
            unique_key=None,
            limit_key=None,
        )
    )


def named(view: str | None) -> View:
    """How to show a task when asked for this view."""
    return full if view == "full" else short


def etag(body: bytes) -> bytes:
    """The same for the same bytes, and for no others."""
    return b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()


def moment(seconds: float) -> str:
    """A time as RFC 3339 has it, in UTC and microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def _result(task: Task | End) -> Raw:
    return Raw(task.result or b"null")


def _attempts(task: Task) -> list[ShownAttempt]:
    """Those that are over, and the newest one."""
    attempts = list(task.history)
    if task.started_at is not None:
        outcome = last_outcome(task.status, task.error)
        attempts.append(Attempt(task.attempt, task.worker, task.started_at, task.finished_at, outcome, task.error))
    return [_attempt(attempt) for attempt in attempts]


def _attempt(attempt: Attempt) -> ShownAttempt:
    started_at, finished_at = _moment(attempt.started_at), _moment(attempt.finished_at)
    return ShownAttempt(attempt.number, attempt.worker, started_at, finished_at, attempt.outcome, attempt.error)
