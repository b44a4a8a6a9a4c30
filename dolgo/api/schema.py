"""What is sent and answered, as structs: they read, they write, and the OpenAPI document is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dolgo.api.names import LONGEST_NAME, LONGEST_TAG, MOST_TAGS, NAME_PATTERN
from dolgo.task.types import Error, Outcome, Status

SCHEMAS = "#/components/schemas/"  # where the OpenAPI document keeps them
MOST_IN_BATCH = 10_000
LONGEST_DELAY = 100 * 365 * 86_400.0  # seconds; what is due later than this is a mistake


Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, extra_json_schema={"pattern": NAME_PATTERN})]
Priority = Annotated[int, Meta(ge=0, le=9)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Tag = Annotated[str, Meta(min_length=1, max_length=LONGEST_TAG)]


class NewTask(Struct, frozen=True, forbid_unknown_fields=True):
    """A task to be done. An option that is null counts as not given."""

    type: Annotated[Name, Meta(description="What kind of work: one of `GET /types`.")]
    payload: Annotated[Raw | UnsetType, Meta(description="What its handler is given; `{}` if not given.")] = UNSET
    queue: Annotated[Name | None, Meta(description="The line it stands in. If not given, the type's.")] = None
    priority: Annotated[Priority | None, Meta(description="Higher first. If not given, the type's, usually 5.")] = None
    run_at: Annotated[Annotated[datetime, Meta(tz=True)] | None, Meta(description="Not to be started before.")] = None
    delay: Annotated[
        Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] | None, Meta(description="Seconds from now, instead of `run_at`.")
    ] = None
    tags: Annotated[
        Annotated[tuple[Tag, ...], Meta(max_length=MOST_TAGS)] | None, Meta(description="Words to find it by in `GET /tasks`.")
    ] = None


UnreadTask = Annotated[Raw, Meta(extra_json_schema={"$ref": f"{SCHEMAS}{NewTask.__name__}"})]


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to be taken together or not at all. Its items are read one by one, as `NewTask`."""

    tasks: Annotated[list[UnreadTask], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: such a request may as well have no body."""


class Accepted(Struct, frozen=True):
    """A task that was taken up: exactly these members."""

    id: str
    status: Status


class AcceptedBatch(Struct, frozen=True):
    """The tasks of a batch, in its order."""

    tasks: list[Accepted]


class ShortTask(Struct, frozen=True, gc=False):
    """How a task stands: exactly these members."""

    id: str
    status: Status
    result: Annotated[Raw | UnsetType, Meta(description="If it is done.")] = UNSET
    error: Annotated[str | UnsetType, Meta(description="If it failed or was cancelled.")] = UNSET


class ShownAttempt(Struct, frozen=True):
    """One run of a handler."""

    number: Annotated[int, Meta(ge=1)]
    worker: str | None
    started_at: Time | None
    finished_at: Time | None
    outcome: Annotated[Outcome | None, Meta(description="null while it runs")]
    error: Error | None


class FullTask(Struct, frozen=True, kw_only=True):
    """All there is to know of a task. What is not set is null."""

    id: str
    status: Status
    result: Annotated[Raw | UnsetType, Meta(description="If it is done.")] = UNSET
    error: Error | None
    type: str
    queue: str
    priority: Priority
    payload: Raw
    attempt: Annotated[int, Meta(ge=0, description="The newest attempt's number, 0 before the first.")]
    max_attempts: int
    created_at: Time
    run_at: Annotated[Time, Meta(description="Not to be started before.")]
    started_at: Annotated[Time | None, Meta(description="When the newest attempt began.")]
    finished_at: Time | None
    expires_at: None
    worker: Annotated[str | None, Meta(description="Who runs or ran the newest attempt.")]
    progress: None
    attempts: Annotated[list[ShownAttempt], Meta(description="Oldest first.")]
    parents: list[str]
    dependents: list[str]
    submitted: list[str]
    tags: tuple[str, ...]
    unique_key: None
    limit_key: None


ShownTask = Annotated[
    Raw, Meta(extra_json_schema={"anyOf": [{"$ref": f"{SCHEMAS}{cls.__name__}"} for cls in (ShortTask, FullTask)]})
]


class TaskPage(Struct, frozen=True):
    """A part of the list of tasks. It may be shorter than asked for, even empty, while there is a next one."""

    tasks: Annotated[list[ShownTask], Meta(description="As `GET /tasks/{id}` shows them.")]
    next: Annotated[str | None, Meta(description="The `cursor` of the next page; null at the end.")]


class ShownType(Struct, frozen=True):
    """A task type that workers have announced."""

    name: str
    description: str
    payload_schema: Annotated[dict[str, Any], Meta(description="JSON Schema 2020-12")]
    result_schema: dict[str, Any] | None
    options: Annotated[dict[str, Any], Meta(description="What a task of this type gets where a submit does not say.")]
    workers: Annotated[int, Meta(ge=0, description="Running workers that have it.")]


class ShownBroken(Struct, frozen=True):
    """A file of task types that a worker could not load."""

    file: str
    worker: str
    error: str


class Types(Struct, frozen=True):
    """Every task type there is."""

    types: list[ShownType]
    broken: list[ShownBroken]


class ShownQueue(Struct, frozen=True, kw_only=True):
    """A queue and what stands in it."""

    name: str
    counts: Annotated[dict[Status, int], Meta(description="Tasks by status.")]
    oldest_age: Annotated[float | None, Meta(description="Seconds that the first in line has waited; null if none waits.")]
    paused: None
    max_running: None
    max_running_per_key: None
    rate: None
    workers: Annotated[int, Meta(ge=0, description="Running workers that serve it.")]


class Queues(Struct, frozen=True):
    """Every queue there is."""

    queues: list[ShownQueue]


class ShownWorker(Struct, frozen=True):
    """A process that runs tasks."""

    id: str
    host: str
    pid: int
    version: str
    state: Annotated[str, Meta(description="`running` or `draining`")]
    queues: Annotated[tuple[str, ...] | None, Meta(description="The queues it serves; null: all.")]
    types: list[str]
    slots: Annotated[int, Meta(ge=0, description="Tasks at most at once.")]
    running: Annotated[list[str], Meta(description="Ids of the tasks it holds.")]
    heartbeat_age: Annotated[float, Meta(description="Seconds since it was last heard of.")]
    started_at: Time


class Workers(Struct, frozen=True):
    """Every worker that has been heard of lately."""

    workers: list[ShownWorker]


class Healthy(Struct, frozen=True):
    """All is well."""

    status: Literal["ok"]
    version: str
    checks: Annotated[dict[str, str], Meta(description="What was looked at; each says `ok`.")]
