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
    RETRY = "retry"  # its handler asked to be tried again; no failure
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOST = "lost"  # its child or its worker died
    GIVEN_BACK = "given_back"  # by a worker that drains, or before it started


class ErrorCode(StrEnum):
    """Why a task is `failed` or `cancelled`."""

    HANDLER_ERROR = "handler_error"
    TIMEOUT = "timeout"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEPENDENCY_FAILED = "dependency_failed"
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
    if status is Status.FAILED and error is not None and error.code in _OUTCOMES:
        return _OUTCOMES[error.code]
    return {Status.DONE: Outcome.DONE, Status.FAILED: Outcome.FAILED, Status.CANCELLED: Outcome.CANCELLED}.get(status)


_OUTCOMES = {ErrorCode.WORKER_LOST: Outcome.LOST, ErrorCode.TIMEOUT: Outcome.TIMEOUT}


class OnParentFailure(StrEnum):
    """What becomes of a task when one it depends on ends without `done`."""

    CANCEL = "cancel"  # it is cancelled with `dependency_failed`
    RUN = "run"  # it runs all the same


class Dependency(Struct, frozen=True):
    """A task that another one waits for."""

    id: str
    ref: str | None = None  # what the dependent called it, if both came in one batch


class NewTask(Struct, frozen=True, gc=False):
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
    timeout: float | None = None  # seconds an attempt may take
    keep: float | None = None  # seconds it is kept once it has ended; None: as all are
    needed: float = 0.0  # seconds from now for which it must not be pruned, whatever `keep` says
    expires_at: float | None = None  # cancelled with `expired` if it has not started by then
    depends_on: tuple[Dependency, ...] = ()
    on_parent_failure: OnParentFailure = OnParentFailure.CANCEL
    unique_key: str | None = None  # at most one unfinished task of a type has it
    limit_key: str | None = None  # those of one key share a limit
    extras: bytes | None = None  # JSON, opaque to stores: what travels with it besides its payload


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
    deferrals: int  # times its handler asked to be tried again, which is no failure
    generation: int  # times it was retried by hand, or revived with its parent
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
    timeout: float | None
    keep: float | None
    expires_at: float | None
    on_parent_failure: OnParentFailure
    unique_key: str | None
    limit_key: str | None
    extras: bytes | None = None


class Details(Struct, frozen=True):
    """What is known of a task besides its record."""

    parents: tuple[Dependency, ...]  # in the order of `depends_on`
    dependents: tuple[str, ...]  # by the time they were submitted
    submitted: tuple[str, ...]  # by its own handler
    progress: bytes | None  # JSON, as its handler said last
    awaited: tuple[str, ...] = ()  # those of its parents that have not ended


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
    deferrals: int = 0
    generation: int = 0
    timeout: float | None = None  # seconds
    limit_key: str | None = None
    extras: bytes | None = None
    run_at: float = 0.0  # from when on it could be claimed


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
    deferrals: int = 0  # the task's new count


class End(Struct, frozen=True):
    """How a task ended, as it was committed."""

    id: str
    status: Status
    result: bytes | None
    error: Error | None


class EventKind(StrEnum):
    """What an event tells."""

    STATUS = "task.status"  # the task came to a status
    PROGRESS = "task.progress"  # its handler said how far it is
    LOG = "task.log"  # its handler wrote lines, which are among its notes


class Note(Struct, frozen=True):
    """Something small that is kept under a task, by key: progress, a piece of its log, the result of a step, what it submitted.

    It is written under the token of the attempt, replaces what was there, and goes with its task."""

    id: str  # of the task
    token: str
    key: str
    value: bytes  # JSON
    event: EventKind | None = None  # log that it was written; the event of PROGRESS bears the value


class Gate(Struct, frozen=True, kw_only=True):
    """What holds back the tasks of a queue or of a type. Without any of it there is no gate."""

    scope: str  # "queue/NAME" or "type/NAME"
    paused: bool = False
    paused_until: float | None = None  # None: until somebody resumes
    reason: str | None = None  # why it is paused
    max_running: int | None = None
    max_running_per_key: int | None = None  # of tasks with one `limit_key`
    rate: float | None = None  # starts a second; at once at most a tenth of a second's, or 1


class HeldUp(Struct, frozen=True):
    """Why a task that is due is not claimed, by the very rules a claim goes by."""

    code: str  # "queue_paused", "limit", "rate", or "behind": nothing but the tasks before it
    scope: str = ""  # the gate: "queue/NAME", "type/NAME"; with "limit" of a key, "queue/NAME/KEY" or "type/NAME/KEY"
    until: float | None = None  # when that is over, if time alone ends it
    ahead: int = 0  # claimable tasks of its queue with a smaller rank, counted up to 10,000


class Event(Struct, frozen=True):
    """One line of the log."""

    seq: int
    time: float
    id: str
    type: str
    queue: str
    status: Status  # as it was then
    attempt: int
    kind: EventKind = EventKind.STATUS
    data: bytes | None = None  # JSON


class Refusal(StrEnum):
    """Why a task is left as it is by a cancel, a retry or a delete."""

    STATUS = "status"  # the one it has forbids it
    UNIQUE = "unique"  # another unfinished task has its `unique_key`
    PARENTS = "parents"  # one it depends on has ended without `done`
    DEPENDENTS = "dependents"  # one that has not ended depends on it


class Change(Struct, frozen=True):
    """What a cancel, a retry or a delete met and did."""

    before: Status | None  # None: there is no such task
    after: Status | None = None  # None: it is gone
    refusal: Refusal | None = None
    asked: bool = False  # its worker is to stop it, and was not told so before


class TypeInfo(Struct, frozen=True):
    """A task type as workers announce it: what the web needs to check, show and submit it."""

    name: str
    hash: str  # of payload and result description and options
    description: str
    payload: dict[str, Any]  # shape description, see `dolgo.shape`
    result: dict[str, Any] | None
    options: dict[str, Any]  # what the type says of itself; what it leaves open is not in it, but queue and priority are


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
    state: str  # "running", "draining" (ends what it runs, claims no more), or "drained" (nothing runs any more)
    queues: tuple[str, ...] | None  # None: all
    types: tuple[tuple[str, str], ...]  # (name, hash)
    broken: tuple[BrokenFile, ...]
    slots: int
    lease: float  # seconds
    started_at: float
    boot: str  # boot id and pid namespace: tells whether a pid can be looked up here
    birth: float  # start time of the process, by its kernel; 0: the kernel does not tell
    unfit: tuple[tuple[str, str], ...] = ()  # (name, hash) of tasks it was given and could not decode: it leaves those to others


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
    without: str | None = None  # tasks whose type begins so are left out
