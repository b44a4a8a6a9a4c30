"""The words of dolgo as plain frozen data. Imports nothing of ours."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Status(StrEnum):
    """Where a task stands. The only list of statuses; `docs/states.md` draws the arrows."""

    WAITING = "waiting"  # for other tasks to finish
    QUEUED = "queued"  # may be claimed from `run_at` on
    IN_PROGRESS = "in_progress"  # held by a worker under a lease
    DONE = "done"  # has a result
    FAILED = "failed"  # has an error; attempts are used up
    CANCELLED = "cancelled"  # has an error that says why


FINAL = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its child or its worker died
    GIVEN_BACK = "given_back"  # by a worker that drains, or before it started


class ErrorCode(StrEnum):
    """Why a task is `failed` or `cancelled`."""

    HANDLER_ERROR = "handler_error"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
    RESULT_TOO_LARGE = "result_too_large"
    UNSERIALISABLE_RESULT = "unserialisable_result"
    INVALID_PAYLOAD = "invalid_payload"


class Error(Struct, frozen=True):
    """Why a task did not end `done`."""

    code: ErrorCode
    message: str  # one sentence; the short form of a task shows this alone
    type: str | None = None  # class of the exception
    traceback: str | None = None
    attempt: int = 0  # the attempt it belongs to; 0 when none was running


class Attempt(Struct, frozen=True):
    """One run of a handler."""

    number: int  # from 1, never used twice
    worker: str | None
    started_at: float | None  # seconds since the epoch, as every time here
    finished_at: float | None = None
    outcome: Outcome | None = None  # None while it runs
    error: Error | None = None


def last_outcome(status: Status, error: Error | None) -> Outcome | None:
    """How the newest attempt of a task with this status ended; None while it runs, or if there is none to speak of."""
    if status is Status.FAILED and error is not None and error.code is ErrorCode.WORKER_LOST:
        return Outcome.LOST
    return {Status.DONE: Outcome.DONE, Status.FAILED: Outcome.FAILED, Status.CANCELLED: Outcome.CANCELLED}.get(status)


class NewTask(Struct, frozen=True):
    """A task as it is submitted; the store adds the time."""

    id: str  # UUIDv7, lower case; submitting the same id again changes nothing
    type: str
    hash: str  # of the announcement the payload was checked by
    queue: str
    payload: bytes  # JSON
    priority: int = 5  # 0-9, higher first
    lead: float = 0.0  # seconds of age its priority is worth: rank = run_at - lead
    run_at: float | None = None  # not claimable before; None: `delay` from now
    delay: float = 0.0  # seconds
    max_attempts: int = 1
    tags: tuple[str, ...] = ()


class Task(Struct, frozen=True, kw_only=True):
    """Everything the store knows of one task."""

    id: str
    type: str
    hash: str
    queue: str
    status: Status
    payload: bytes
    priority: int
    run_at: float
    attempt: int  # the newest attempt's number, 0 before the first
    max_attempts: int
    failures: int  # attempts that count against max_attempts
    losses: int  # children that died with this task alone in them
    suspect: bool  # it was in a child that died with several: runs alone next
    cancel_asked: bool
    tags: tuple[str, ...]
    created_at: float
    started_at: float | None
    finished_at: float | None
    worker: str | None
    result: bytes | None  # JSON
    error: Error | None
    history: tuple[Attempt, ...]  # the attempts before the newest


class Lease(Struct, frozen=True):
    """The right to settle one task, and what a child needs to run it."""

    id: str
    token: str  # random, new for each attempt
    type: str
    hash: str
    queue: str
    payload: bytes
    attempt: int
    failures: int
    losses: int
    max_attempts: int
    suspect: bool
    tags: tuple[str, ...] = ()


class Settlement(Struct, frozen=True):
    """What becomes of a lease. `status` is final, or `queued` for another attempt or a give-back."""

    lease: Lease
    status: Status
    outcome: Outcome
    result: bytes | None = None
    error: Error | None = None
    delay: float = 0.0  # seconds until it may be claimed again, if `queued`
    failures: int = 0  # the task's new count
    losses: int = 0  # the task's new count
    suspect: bool = False
    started: bool = True  # False: the attempt number is returned, nothing ran


class End(Struct, frozen=True):
    """How a task ended, as it was committed."""

    id: str
    status: Status
    result: bytes | None
    error: Error | None


class Event(Struct, frozen=True):
    """One line of the log: a task came to a status."""

    seq: int
    time: float
    id: str
    type: str
    queue: str
    status: Status
    attempt: int


class TypeInfo(Struct, frozen=True):
    """A task type as workers announce it: what the web needs to check, show and submit it."""

    name: str
    hash: str  # of payload and result description and options
    description: str
    payload: dict[str, Any]  # shape description, see `dolgo.shape`
    result: dict[str, Any] | None
    options: dict[str, Any]  # the type's defaults: queue, priority


class BrokenFile(Struct, frozen=True):
    """A file of task types that could not be loaded."""

    file: str
    error: str  # its traceback, or the reason


class WorkerInfo(Struct, frozen=True):
    """A worker as it announces itself with every heartbeat."""

    id: str
    host: str
    pid: int
    version: str
    state: str  # "running" or "draining"
    queues: tuple[str, ...] | None  # None: all
    types: tuple[tuple[str, str], ...]  # (name, hash)
    broken: tuple[BrokenFile, ...]
    slots: int
    lease: float  # seconds
    started_at: float
    boot: str  # boot id and pid namespace: tells whether a pid can be looked up here
    birth: float  # start time of the process, by its kernel


class QueueCounts(Struct, frozen=True):
    """How many tasks of one queue and type stand at each status."""

    queue: str
    type: str
    hash: str
    counts: dict[Status, int]


class Record(Struct, frozen=True):
    """A small keyed thing with a version: announcement, worker, idempotency key."""

    key: str
    value: bytes
    version: int  # 1 when new, one more with each write
    written_at: float  # of this version
    first_at: float  # of version 1
    expires_at: float | None


class Put(Struct, frozen=True):
    """A record to write if its version is still the one named (0: if there is none)."""

    key: str
    value: bytes
    version: int | None  # None: whatever is there
    keep: float | None = None  # seconds until it expires; None: never


class Query(Struct, frozen=True):
    """Which tasks to list, and in what order."""

    status: Status | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    worker: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    order: str = "-created_at"  # or created_at, -finished_at, finished_at
    limit: int = 50
    after: tuple[float, str] | None = None  # the last row seen: (time, id)
