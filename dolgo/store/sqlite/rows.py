"""Rows as this database has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dolgo.store.checks import ATTEMPTS
from dolgo.store.relational.rows import ATTEMPTS_END, attempt_key, from_attempt, task_columns
from dolgo.task.types import Attempt, Error, Outcome

# In one statement with its task, so that both are of one moment; and only where there is something to find.
_HISTORY = (
    "CASE WHEN attempt > (started_at IS NOT NULL) THEN (SELECT '[' || group_concat(value, ',') || ']' FROM (SELECT value "
    f"FROM note WHERE note.task = task.n AND key >= '{ATTEMPTS}' AND key < '{ATTEMPTS_END}' ORDER BY key)) END"
)
TASK_COLUMNS = task_columns("task", _HISTORY)
TASK_FROM = "FROM task JOIN line ON line.n = task.line"


class TaskRow:
    """What a rule needs to know of one task, from the statement `row`."""

    __slots__ = (
        "attempt", "cancel_asked", "deferrals", "error", "failures", "finished_at", "generation", "id", "key", "line", "losses",
        "n", "rank", "run_anyway", "run_at", "started_at", "state", "suspect", "token", "unique_key", "worker",
    )  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        (
            self.n, self.id, self.line, self.key, self.state, self.rank, self.run_at, self.attempt, self.failures, self.losses,
            self.deferrals, self.generation, self.suspect, self.cancel_asked, self.token, self.worker, self.started_at,
            self.finished_at, self.error, self.run_anyway, self.unique_key,
        ) = row  # fmt: skip

    def attempt_ended(self, outcome: Outcome | None, at: float | None, error: Error | None) -> Attempt:
        """The newest attempt, as it is kept once there is another."""
        return Attempt(self.attempt, self.worker, self.started_at, at, outcome, error)


def attempt_note(task: int, ended: Attempt) -> tuple[int, str, str]:
    """The row of a note that tells of an earlier attempt."""
    return (task, attempt_key(ended), from_attempt(ended))
