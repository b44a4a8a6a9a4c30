"""The sentences a store writes by itself, where a rule must be atomic. Every store writes the same ones."""

from dolgo.task.types import Error, ErrorCode, Status

CANCELLED_QUEUED = "Cancelled before it started."  # a cancel met a task that was waiting or queued
CANCELLED_AGAIN = "Cancelled; it does not run again."  # a task that was asked to be cancelled would have been queued again
EXPIRED = "It had not started when its time to start was over."


def reclaimed(attempt: int) -> Error:
    """How an attempt ended that nobody settled."""
    return Error(ErrorCode.WORKER_LOST, "Its worker died, or was not heard of for a whole lease.", attempt=attempt)


def parent_ended(parent: str, status: Status) -> str:
    """Why a dependent of this parent is cancelled."""
    return f"The task {parent} it depends on ended {status}."
