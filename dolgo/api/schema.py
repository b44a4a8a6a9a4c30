"""What is sent and answered, as structs: they read, they write, and the OpenAPI document is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dolgo.api.names import LONGEST_NAME, LONGEST_TAG, MOST_TAGS
from dolgo.task.types import Error, Outcome, Status

MOST_IN_BATCH = 10_000
LONGEST_DELAY = 100 * 365 * 86_400.0  # seconds; what is due later than this is a mistake


Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Tag = Annotated[str, Meta(min_length=1, max_length=LONGEST_TAG)]


class NewTask(Struct, frozen=True, forbid_unknown_fields=True):
    """A task to be done. An option that is null counts as not given."""

    type: Annotated[Name, Meta(description="What kind of work: one of `GET /types`.")]
    payload: Annotated[Raw, Meta(description="What its handler is given; it must fit the type's schema.")] = Raw(b"{}")
    queue: Annotated[Name | None, Meta(description="The line it stands in. If not given, the type's.")] = None
    priority: Annotated[
        Annotated[int, Meta(ge=0, le=9)] | None, Meta(description="Higher first. If not given, the type's, usually 5.")
    ] = None
    run_at: Annotated[Annotated[datetime, Meta(tz=True)] | None, Meta(description="Not to be started before.")] = None
    delay: Annotated[
        Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] | None, Meta(description="Seconds from now, instead of `run_at`.")
    ] = None
    tags: Annotated[
        Annotated[tuple[Tag, ...], Meta(max_length=MOST_TAGS)] | None, Meta(description="Words to find it by in `GET /tasks`.")
    ] = None


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to be taken together or not at all. Its items are read one by one, as `NewTask`."""

    tasks: Annotated[list[Raw], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: such a request may as well have no body."""


class ShortTask(Struct, frozen=True, gc=False):
    """How a task stands: exactly these members."""

    id: str
    status: Status
    result: Raw | UnsetType = UNSET  # if done
    error: str | UnsetType = UNSET  # if failed or cancelled


class ShownAttempt(Struct, frozen=True):
    """One run of a handler."""

    number: int
    worker: str | None
    started_at: str | None
    finished_at: str | None
    outcome: Outcome | None
    error: Error | None


class FullTask(Struct, frozen=True, kw_only=True):
    """All there is to know of a task. What is not set is null."""

    id: str
    status: Status
    result: Raw | UnsetType = UNSET  # if done
    error: Error | None
    type: str
    queue: str
    priority: int
    payload: Raw
    attempt: int
    max_attempts: int
    created_at: str
    run_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: None = None
    worker: str | None
    progress: None = None
    attempts: list[ShownAttempt]
    parents: tuple[()] = ()
    dependents: tuple[()] = ()
    submitted: tuple[()] = ()
    tags: tuple[str, ...]
    unique_key: None = None
    limit_key: None = None
