"""What a client meets besides a refusal, which is one of `dolgo.errors`.

ClientError
├── Unanswered              no answer in time, or none at all: what was asked may have been done
├── NotDolgo                an answer that dolgo would not give
├── WaitTimeout             the task has not ended in time; also a `TimeoutError`
└── TaskEnded               the task has no result, and will have none
    ├── TaskFailed
    └── TaskCancelled
"""

from __future__ import annotations

from dolgo.client.records import ErrorView, TaskView
from dolgo.errors import DolgoError


class ClientError(DolgoError):
    """A server could not be made use of."""


class Unanswered(ClientError):
    """The server does not answer. What was asked of it may have been done."""


class NotDolgo(ClientError):
    """Something else than dolgo answered."""

    def __init__(self, message: str, status: int, location: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.location = location  # where a redirect, which is not followed, leads


class WaitTimeout(ClientError, TimeoutError):
    """The task has not ended in time. It goes on."""

    def __init__(self, id: str, status: str, timeout: float) -> None:
        super().__init__(f"The task {id} has not ended within {timeout:g} s: it is {status}.")
        self.id = id
        self.status = status


class TaskEnded(ClientError):
    """The task ended without a result. `task` is all there is to know of it, `error` why."""

    def __init__(self, task: TaskView) -> None:
        self.task = task
        self.error = task.error or ErrorView("", "Nobody knows why.")
        super().__init__(f"The task {task.id} ended {task.status}: {self.error.message}")


class TaskFailed(TaskEnded):
    """The task has failed."""


class TaskCancelled(TaskEnded):
    """The task was cancelled: by somebody, because its time ran out, or because of a task it depends on."""
