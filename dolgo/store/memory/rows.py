"""A task in the memory store, and what is made of it."""

from __future__ import annotations

from typing import Any

from dolgo.store.memory.lines import Group
from dolgo.task.types import Attempt, Error, ErrorCode, Lease, NewTask, Outcome, Query, Settlement, Status, Task


class Row:
    """A task and what only the store knows of it."""

    __slots__ = ("due", "group", "lead", "needed_until", "notes", "parents", "pending", "settled", "task", "token", "until")

    def __init__(self, new: NewTask, group: Group, now: float) -> None:
        self.task = submitted(new, now)
        self.group = group
        self.lead = new.lead  # its rank is run_at less this
        self.needed_until = now + new.needed if new.needed else 0.0  # not to be pruned before
        self.parents = new.depends_on
        self.pending: set[str] = set()  # the parents that it waits for
        self.notes: dict[str, bytes] = {}
        self.due = False  # its time has come; a clock that is set back afterwards must not hold it up
        self.token: str | None = None  # of the lease; stays when a settlement made the task final
        self.until = 0.0  # when the lease is over
        self.settled: tuple[Status, Outcome] | None = None  # what the holder of the token said

    @property
    def rank(self) -> float:
        return self.task.run_at - self.lead

    def expired(self, now: float) -> bool:
        """Whether its time to start is over; what has started once does not expire."""
        return self.task.expires_at is not None and self.task.expires_at <= now and not self.task.attempt

    @property
    def by_parent(self) -> bool:
        """Whether it was cancelled because of a task it depends on."""
        return self.task.error is not None and self.task.error.code is ErrorCode.DEPENDENCY_FAILED

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
            deferrals=task.deferrals,
            generation=task.generation,
            timeout=task.timeout,
            limit_key=task.limit_key,
            extras=task.extras,
            run_at=task.run_at,
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
        deferrals=0,
        generation=0,
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
        timeout=new.timeout,
        keep=new.keep,
        expires_at=new.expires_at,
        on_parent_failure=new.on_parent_failure,
        unique_key=new.unique_key,
        limit_key=new.limit_key,
        extras=new.extras,
    )


def with_newest(task: Task, outcome: Outcome | None, finished_at: float | None, error: Error | None) -> tuple[Attempt, ...]:
    """The task's history with its newest attempt, ended like this."""
    return (*task.history, Attempt(task.attempt, task.worker, task.started_at, finished_at, outcome, error))


def called_off(now: float, sentence: str, code: ErrorCode = ErrorCode.CANCELLED, *, attempt: int = 0) -> dict[str, Any]:
    """What changes when a task becomes `cancelled`."""
    return {
        "status": Status.CANCELLED,
        "finished_at": now,
        "error": Error(code, sentence, attempt=attempt),
        "suspect": False,
    }


def counted(settlement: Settlement) -> dict[str, Any]:
    """The task's counts as the settlement has them."""
    return {name: getattr(settlement, name) for name in ("failures", "losses", "deferrals")}


def matches(task: Task, query: Query) -> bool:
    """Whether a list that asks for this shows the task."""
    return (
        query.status in (None, task.status)
        and query.type in (None, task.type)
        and (query.without is None or not task.type.startswith(query.without))
        and query.queue in (None, task.queue)
        and query.worker in (None, task.worker)
        and (query.tag is None or query.tag in task.tags)
        and (query.created_after is None or task.created_at > query.created_after)
        and (query.created_before is None or task.created_at < query.created_before)
    )
