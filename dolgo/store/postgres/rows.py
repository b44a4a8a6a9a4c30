"""Rows as this database has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dolgo.store.checks import ATTEMPTS
from dolgo.store.relational.rows import ATTEMPTS_END, attempt_key, from_attempt, task_columns
from dolgo.task.types import Attempt, Error, Outcome

# In one statement with its task, so that both are of one moment; and only where there is something to find.
_HISTORY = (
    "CASE WHEN attempt > (started_at IS NOT NULL)::int "
    "THEN (SELECT '[' || string_agg(convert_from(value, 'UTF8'), ',' ORDER BY key) || ']' "
    f"FROM note WHERE note.task = every_task.n AND key >= '{ATTEMPTS}' AND key < '{ATTEMPTS_END}') END"
)
TASK_COLUMNS = task_columns("every_task", _HISTORY)
TASK_FROM = "FROM every_task JOIN line ON line.n = every_task.line"

EventRow = tuple[Any, ...]  # id, line, state, attempt; and of a note kind and data


def number_of(token: str) -> int:
    """The n of the task that a token was made for; -1: of none, no store of this kind made it."""
    head, dot, _ = token.partition(".")
    try:
        number = int(head, 16) if dot else -1
    except ValueError:
        return -1
    return number if 0 <= number < 2**63 else -1


class TaskRow:
    """What a rule needs to know of one task, from the statements `rows_locked` and `task_rows`."""

    __slots__ = (
        "attempt", "cancel_asked", "created_at", "deferrals", "error", "expires_at", "failures", "finished_at", "generation",
        "id", "keep", "key", "line", "losses", "n", "needed_until", "rank", "run_anyway", "run_at", "started_at", "state",
        "suspect", "token", "unique_key", "worker",
    )  # fmt: skip

    def __init__(self, row: Sequence[Any]) -> None:
        (
            self.n, self.id, self.line, self.key, self.state, self.rank, self.run_at, self.attempt, self.failures, self.losses,
            self.deferrals, self.generation, self.suspect, self.cancel_asked, self.token, self.worker, self.started_at,
            self.finished_at, self.error, self.run_anyway, self.unique_key, self.created_at, self.keep, self.needed_until,
            self.expires_at,
        ) = row  # fmt: skip

    def attempt_ended(self, outcome: Outcome | None, at: float | None, error: Error | None) -> Attempt:
        """The newest attempt, as it is kept once there is another."""
        return Attempt(self.attempt, self.worker, self.started_at, at, outcome, error)


def attempt_note(task: int, ended: Attempt) -> tuple[int, str, bytes]:
    """The row of a note that tells of an earlier attempt."""
    return (task, attempt_key(ended), from_attempt(ended).encode())
