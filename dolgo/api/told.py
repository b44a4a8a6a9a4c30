"""What is told of what has happened: lines of logs, events, entries of the audit log."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dolgo.api.schema import Time
from dolgo.task.types import EventKind, Status


class ShownLine(Struct, frozen=True):
    """A line that a handler wrote."""

    attempt: int
    number: Annotated[int, Meta(description="Of its attempt, from 1. What is missing was left out.")]
    time: Time
    level: str
    text: str


class Lines(Struct, frozen=True):
    """A part of what a task's handler wrote, oldest first."""

    lines: list[ShownLine]
    next: Annotated[str | None, Meta(description="`after` for what comes next; null while there is nothing.")]


class ShownEvent(Struct, frozen=True, gc=False):
    """Something that happened to a task."""

    seq: Annotated[int, Meta(ge=0, description="Its number in the log: larger than that of all before it.")]
    time: Time
    event: EventKind
    id: str
    type: str
    queue: str
    status: Annotated[Status, Meta(description="As it was then.")]
    attempt: int
    progress: Annotated[Raw | UnsetType, Meta(description="Of `task.progress`: `done, total, note`.")] = UNSET


class Events(Struct, frozen=True):
    """A part of the event log. It may be shorter than asked for, even empty, while there is more."""

    events: Annotated[list[ShownEvent], Meta(description="In order of `seq`.")]
    next: Annotated[int, Meta(ge=0, description="`after` for what comes next.")]
    epoch: Annotated[str, Meta(description="Which log the numbers are of: `EPOCH-SEQ` is a place that no other log has.")]
    reset: Annotated[bool, Meta(description="Events may be missing before `next`: look at the tasks afresh.")]


class ShownEntry(Struct, frozen=True, kw_only=True):
    """Something that was done by hand."""

    seq: Annotated[int, Meta(ge=1)]
    time: Time
    who: Annotated[str, Meta(description="`token/ID`, `jwt/SUBJECT`, `admin_token`, `command_line` or `anonymous`")]
    name: Annotated[str, Meta(description="Of the token, or of the user at the command line.")]
    action: Annotated[
        str, Meta(description="The `operationId` of the request, or `create_token`, `revoke_token`, `forget_token`.")
    ]
    target: Annotated[str, Meta(description="The queue, schedule or worker that was named.")]
    ids: Annotated[tuple[str, ...], Meta(description="Of the tasks, or of the tokens: the first hundred.")]
    changed: Annotated[int | None, Meta(description="Of many tasks, how many were changed.")]
    detail: Annotated[str, Meta(description="Filters, limits, a reason.")]


class AuditPage(Struct, frozen=True):
    """A part of the audit log, oldest first."""

    entries: list[ShownEntry]
    next: Annotated[int, Meta(ge=0, description="`after` for what comes next.")]
