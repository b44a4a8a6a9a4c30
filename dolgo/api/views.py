"""Tasks as bytes to send. Results and payloads are passed through as they are stored, never read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from dolgo.api.call import Answer
from dolgo.api.schema import FullTask, Progress, ShortTask, ShownAttempt, ShownDelivery, Waiting
from dolgo.task.callbacks.wish import Delivery, wish_of
from dolgo.task.manager import Manager
from dolgo.task.types import Attempt, Details, End, Status, Task, last_outcome

_NONE = Details((), (), (), None)  # of a task that was deleted between two looks
_encode = msgspec.json.Encoder().encode
_read_progress = msgspec.json.Decoder(Progress).decode


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


def full(
    task: Task,
    details: Details,
    waiting_for: Waiting | UnsetType | None = UNSET,
    callbacks: list[ShownDelivery] | UnsetType = UNSET,
) -> bytes:
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
            timeout=task.timeout,
            keep=task.keep,
            created_at=moment(task.created_at),
            run_at=moment(task.run_at),
            started_at=_moment(task.started_at),
            finished_at=_moment(task.finished_at),
            expires_at=_moment(task.expires_at),
            worker=task.worker,
            progress=_progress(details.progress),
            waiting_for=waiting_for,
            attempts=_attempts(task),
            parents=[parent.id for parent in details.parents],
            dependents=details.dependents,
            submitted=details.submitted,
            tags=task.tags,
            on_parent_failure=task.on_parent_failure,
            unique_key=task.unique_key,
            limit_key=task.limit_key,
            callbacks=callbacks,
        )
    )


async def shown(manager: Manager, tasks: Sequence[Task], view: str | None) -> list[bytes]:
    """Tasks of a list in the view asked for. Why each has not started is left out: it costs a look into its queue."""
    if view != "full":
        return [short(task) for task in tasks]
    found = await manager.details([task.id for task in tasks])
    return [full(task, details or _NONE) for task, details in zip(tasks, found, strict=True)]


async def shown_alone(manager: Manager, task: Task, view: str | None) -> bytes:
    """One task in the view asked for."""
    if view != "full":
        return short(task)
    (details,) = await manager.details([task.id])
    reason = await manager.waiting_for(task)
    waiting = None if reason is None else Waiting(reason.code, reason.text)
    return full(task, details or _NONE, waiting, await _callbacks(manager, task))


async def _callbacks(manager: Manager, task: Task) -> list[ShownDelivery] | UnsetType:
    """What became of telling its receiver; nothing for a task without a callback."""
    if wish_of(task.extras) is None:
        return UNSET
    return [_delivery(told) for told in await manager.callbacks.deliveries(task)]


def _delivery(told: Task) -> ShownDelivery:
    errors = [attempt.error.message for attempt in told.history if attempt.error is not None]
    errors += [] if told.error is None else [told.error.message]
    end = msgspec.json.decode(told.payload, type=Delivery).status
    return ShownDelivery(told.id, end, told.status, told.attempt, errors[-1] if errors else None)


def answer(value: Struct, status: int = 200) -> Answer:
    """What is not a task, as an answer."""
    return Answer(status, _encode(value))


def etag(body: bytes) -> bytes:
    """The same for the same bytes, and for no others."""
    return b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()


def moment(seconds: float) -> str:
    """A time as RFC 3339 has it, in UTC and microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def _progress(raw: bytes | None) -> Progress | None:
    """None as well for what is no progress: a handler can write to its link what it likes."""
    try:
        return None if raw is None else _read_progress(raw)
    except msgspec.MsgspecError:
        return None


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
