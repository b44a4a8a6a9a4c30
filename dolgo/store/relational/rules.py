"""Rules that ask nothing of the database."""

from __future__ import annotations

from dolgo.store.base import Claim
from dolgo.task.types import NewTask, OnParentFailure


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two times, if there is any."""
    return other if one is None else one if other is None else min(one, other)


def within(call: Claim, wider: Claim) -> bool:
    """True if this claim can get nothing where the wider one, just made, went short."""
    return (
        call.types <= wider.types
        and call.queues == wider.queues
        and call.avoid == wider.avoid
        and (call.ahead or not wider.ahead)
    )


def is_checked(task: NewTask) -> bool:
    """Whether something may stand in its way."""
    return task.unique_key is not None or len(task.depends_on) > 0


def is_plain(task: NewTask) -> bool:
    """Whether it uses none of the columns that most tasks leave empty."""
    return (
        task.timeout is task.keep is task.expires_at is None
        and task.limit_key is None
        and task.extras is None
        and not task.needed
        and task.on_parent_failure is OnParentFailure.CANCEL
    )
