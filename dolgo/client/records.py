"""Tasks as a client sees them: frozen records, times as `datetime`s in UTC, durations in seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from dolgo.task.types import FINAL, Status


class Accepted(Struct, frozen=True):
    """A task that was taken up, as it stood then."""

    id: str
    status: Status
    existing: bool = False  # another unfinished task with its `unique_key` stands for it; of a batch: for one of the batch
    replayed: bool = False  # the same request came before, under the same key; nothing new was stored


class ErrorView(Struct, frozen=True):
    """Why a task, or an attempt, did not end `done`."""

    code: str  # handler_error, timeout, worker_lost, cancelled, expired, dependency_failed and others
    message: str  # one sentence
    type: str | None = None  # class of the exception
    traceback: str | None = None
    attempt: int = 0  # the attempt it belongs to; 0 when none was running


class AttemptView(Struct, frozen=True):
    """One run of a handler."""

    number: int  # from 1
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    outcome: str | None = None  # done, failed, retry, timeout, cancelled, lost, given_back; None while it runs
    error: ErrorView | None = None


class ProgressView(Struct, frozen=True):
    """How far a handler says it is."""

    done: float
    total: float | None = None
    note: str = ""


class ReasonView(Struct, frozen=True):
    """Why a task has not started."""

    code: str  # scheduled, parents, queue_paused, no_worker, limit, rate, behind
    text: str


class TaskView(Struct, frozen=True, kw_only=True):
    """All there is to know of a task."""

    id: str
    type: str
    status: Status
    queue: str
    priority: int
    payload: Any
    result: Any = None  # if it is `done`
    error: ErrorView | None = None
    attempt: int = 0  # the newest attempt's number, 0 before the first
    max_attempts: int = 1
    created_at: datetime
    run_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    worker: str | None = None
    progress: ProgressView | None = None
    waiting_for: ReasonView | None = None  # not in a list
    attempts: tuple[AttemptView, ...] = ()  # oldest first
    parents: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()
    submitted: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timeout: float | None = None
    keep: float | None = None
    on_parent_failure: str = "cancel"
    unique_key: str | None = None
    limit_key: str | None = None

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


class LogLine(Struct, frozen=True):
    """A line that a handler wrote."""

    attempt: int
    number: int  # from 1 in each attempt
    time: datetime
    level: str
    text: str


class Event(Struct, frozen=True):
    """Something that happened to a task; or `reset`: some events before this may be missing, so look at the tasks afresh; or
    `lagged`: this reader is too slow, and loses progress and log lines until it has caught up."""

    event: str  # task.status, task.progress, task.log, reset, lagged
    place: str  # where to read on behind it, in this very log
    seq: int = 0  # its number in the log
    id: str = ""
    time: datetime | None = None
    type: str = ""
    queue: str = ""
    status: Status | None = None  # as it was then
    attempt: int = 0
    progress: ProgressView | None = None  # of `task.progress`


Ref = str | Accepted | TaskView  # wherever a task is meant, its id will do


def id_of(task: Ref) -> str:
    """The id of a task."""
    return task if isinstance(task, str) else task.id
