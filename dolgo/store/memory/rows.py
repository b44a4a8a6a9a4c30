"""A task in the memory store, the line it stands in, and what is made of it."""

from __future__ import annotations

from typing import Any

from dolgo.store.memory.ordered import Heap
from dolgo.task.types import Attempt, Error, ErrorCode, Lease, NewTask, Outcome, Query, Status, Task


class Line:
    """The tasks of one queue, type and announcement: how many stand at each status, and the claimable ones by rank."""

    __slots__ = ("claimable", "counts", "hash", "queue", "type")

    def __init__(self, queue: str, type: str, hash: str) -> None:
        self.queue, self.type, self.hash = queue, type, hash
        self.claimable = Heap()  # ids by rank
        self.counts: dict[Status, int] = {}

    def count(self, status: Status, change: int) -> None:
        count = self.counts.get(status, 0) + change
        if count:
            self.counts[status] = count
        else:
            del self.counts[status]


class Row:
    """A task and what only the store knows of it."""

    __slots__ = ("due", "lead", "line", "settled", "task", "token", "until")

    def __init__(self, task: Task, lead: float, line: Line) -> None:
        self.task = task
        self.lead = lead  # its rank is run_at less this
        self.line = line
        self.due = False  # its time has come; a clock that is set back afterwards must not hold it up
        self.token: str | None = None  # of the lease; stays when a settlement made the task final
        self.until = 0.0  # when the lease is over
        self.settled: tuple[Status, Outcome] | None = None  # what the holder of the token said

    def lease(self) -> Lease:
        task = self.task
        return Lease(
            id=task.id,
            token=self.token or "",
            type=task.type,
            hash=task.hash,
            queue=task.queue,
            payload=task.payload,
            attempt=task.attempt,
            failures=task.failures,
            losses=task.losses,
            max_attempts=task.max_attempts,
            suspect=task.suspect,
            tags=task.tags,
        )


def submitted(new: NewTask, now: float) -> Task:
    """The task as it begins."""
    return Task(
        id=new.id,
        type=new.type,
        hash=new.hash,
        queue=new.queue,
        status=Status.QUEUED,
        payload=new.payload,
        priority=new.priority,
        run_at=now + new.delay if new.run_at is None else new.run_at,
        attempt=0,
        max_attempts=new.max_attempts,
        failures=0,
        losses=0,
        suspect=False,
        cancel_asked=False,
        tags=new.tags,
        created_at=now,
        started_at=None,
        finished_at=None,
        worker=None,
        result=None,
        error=None,
        history=(),
    )


def with_newest(task: Task, outcome: Outcome | None, finished_at: float | None, error: Error | None) -> tuple[Attempt, ...]:
    """The task's history with its newest attempt, ended like this."""
    return (*task.history, Attempt(task.attempt, task.worker, task.started_at, finished_at, outcome, error))


def called_off(now: float, sentence: str, *, attempt: int) -> dict[str, Any]:
    """What changes when a task becomes `cancelled`."""
    error = Error(ErrorCode.CANCELLED, sentence, attempt=attempt)
    return {"status": Status.CANCELLED, "finished_at": now, "error": error, "suspect": False}


def matches(task: Task, query: Query) -> bool:
    """Whether a list that asks for this shows the task."""
    return (
        query.status in (None, task.status)
        and query.type in (None, task.type)
        and query.queue in (None, task.queue)
        and query.worker in (None, task.worker)
        and (query.tag is None or query.tag in task.tags)
        and (query.created_after is None or task.created_at > query.created_after)
        and (query.created_before is None or task.created_at < query.created_before)
    )
