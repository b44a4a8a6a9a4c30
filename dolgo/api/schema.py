"""What is sent and answered, as structs: they read, they write, and the OpenAPI document is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from dolgo.task.allowed import (
    LONGEST_KEY,
    Keep,
    Key,
    Moment,
    Name,
    NewCallback,
    NewTask,
    Priority,
    Receiver,
    Retries,
    Tags,
    Timeout,
)
from dolgo.task.types import Error, OnParentFailure, Outcome, Status

SCHEMAS = "#/components/schemas/"  # where the OpenAPI document keeps them
MOST_IN_BATCH = 10_000
MOST_RUNNING = 1_000_000
FEWEST_STARTS = 1e-6  # a second: one in eleven days; who wants fewer is better off with a schedule
MOST_STARTS = 1_000_000.0  # a second
LONGEST_REASON = 1_000
LONGEST_EVERY = 366 * 86_400.0  # seconds

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Reason = Annotated[str, Meta(max_length=LONGEST_REASON)]
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


class Progress(Struct, frozen=True):
    """How far a handler said it is."""

    done: int | float
    total: int | float | None = None
    note: str = ""


class Waiting(Struct, frozen=True):
    """Why a task has not started."""

    code: Annotated[str, Meta(description="`scheduled, parents, queue_paused, no_worker, limit, rate` or `behind`")]
    text: Annotated[str, Meta(description="One sentence.")]


class ShownDelivery(Struct, frozen=True):
    """What became of telling a receiver how the task ended."""

    id: Annotated[str, Meta(description="Of the task that delivers.")]
    end: Annotated[str, Meta(description="The status that is told.")]
    status: Status
    attempts: Annotated[int, Meta(ge=0)]
    error: Annotated[str | None, Meta(description="Of the newest attempt that failed.")]


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
    max_attempts: Annotated[int, Meta(description="How many may fail before the task has failed: its `retries` and one.")]
    timeout: Annotated[float | None, Meta(description="Seconds that each attempt may take.")]
    keep: Annotated[float | None, Meta(description="Seconds it is kept once it has ended; null: as the server keeps all.")]
    created_at: Time
    run_at: Annotated[Time, Meta(description="Not to be started before.")]
    started_at: Annotated[Time | None, Meta(description="When the newest attempt began.")]
    finished_at: Time | None
    expires_at: Annotated[Time | None, Meta(description="Cancelled if it has not started by then.")]
    worker: Annotated[str | None, Meta(description="Who runs or ran the newest attempt.")]
    progress: Annotated[Progress | None, Meta(description="As its handler said last.")]
    waiting_for: Annotated[
        Waiting | UnsetType | None,
        Meta(description="While it has not started: why. Not in a list."),
    ] = UNSET
    attempts: Annotated[list[ShownAttempt], Meta(description="Oldest first.")]
    parents: Annotated[list[str], Meta(description="Ids of the tasks it depends on.")]
    dependents: Annotated[tuple[str, ...], Meta(description="Ids of the tasks that depend on it.")]
    submitted: Annotated[tuple[str, ...], Meta(description="Ids of the tasks that its handler submitted.")]
    tags: tuple[str, ...]
    on_parent_failure: OnParentFailure
    unique_key: str | None
    limit_key: str | None
    callbacks: Annotated[
        list[ShownDelivery] | UnsetType, Meta(description="Of a task with a callback, oldest first. Not in a list.")
    ] = UNSET


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


class Paused(Struct, frozen=True):
    """Why and until when nothing of a queue is started."""

    reason: str | None
    until: Annotated[Time | None, Meta(description="null: until somebody resumes it.")]


class ShownQueue(Struct, frozen=True, kw_only=True):
    """A queue and what stands in it."""

    name: str
    counts: Annotated[dict[Status, int], Meta(description="Tasks by status.")]
    oldest_age: Annotated[float | None, Meta(description="Seconds that the first in line has waited; null if none waits.")]
    paused: Annotated[Paused | None, Meta(description="null while its tasks are started.")]
    max_running: Annotated[int | None, Meta(description="Tasks at most at once.")]
    max_running_per_key: Annotated[int | None, Meta(description="Tasks of one `limit_key` at most at once.")]
    rate: Annotated[float | None, Meta(description="Starts a second at most.")]
    workers: Annotated[int, Meta(ge=0, description="Running workers that serve it.")]


class Queues(Struct, frozen=True):
    """Every queue there is."""

    queues: list[ShownQueue]


Limit = Annotated[int, Meta(ge=1, le=MOST_RUNNING)]


class NewPause(Struct, frozen=True, forbid_unknown_fields=True):
    """That nothing of a queue is to be started."""

    reason: Annotated[Reason | None, Meta(description="Shown to whoever wonders.")] = None
    until: Annotated[Moment | None, Meta(description="If not given, until somebody resumes it.")] = None


class NewLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a queue that change; null lifts one."""

    max_running: Annotated[Limit | UnsetType | None, Meta(description="Tasks at most at once, over all workers.")] = UNSET
    max_running_per_key: Annotated[Limit | UnsetType | None, Meta(description="The same for the tasks of one `limit_key`.")] = (
        UNSET
    )
    rate: Annotated[
        Annotated[float, Meta(ge=FEWEST_STARTS, le=MOST_STARTS)] | UnsetType | None, Meta(description="Starts a second at most.")
    ] = UNSET


class ShownWorker(Struct, frozen=True):
    """A process that runs tasks."""

    id: str
    host: str
    pid: int
    version: str
    state: Annotated[str, Meta(description="`running`, `draining` or `drained`")]
    queues: Annotated[tuple[str, ...] | None, Meta(description="The queues it serves; null: all.")]
    types: list[str]
    slots: Annotated[int, Meta(ge=0, description="Tasks at most at once.")]
    running: Annotated[list[str], Meta(description="Ids of the tasks it holds.")]
    heartbeat_age: Annotated[float, Meta(description="Seconds since it was last heard of.")]
    started_at: Time


class Workers(Struct, frozen=True):
    """Every worker that has been heard of lately."""

    workers: list[ShownWorker]


class TaskOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """Options that each task of a schedule is submitted with, as in `POST /tasks`."""

    queue: Name | None = None
    priority: Priority | None = None
    timeout: Timeout | None = None
    retries: Retries | None = None
    keep: Keep | None = None
    tags: Tags | None = None
    unique_key: Key | None = None
    limit_key: Key | None = None
    callback: Receiver | NewCallback | None = None


class NewSchedule(Struct, frozen=True, forbid_unknown_fields=True):
    """When to submit a task again and again. Either `cron` or `every` is given."""

    type: Annotated[Name, Meta(description="What kind of work: one of `GET /types`.")]
    cron: Annotated[
        Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)] | None,
        Meta(description="Minute, hour, day of month, month, day of week; of six fields the first is the second."),
    ] = None
    every: Annotated[Annotated[float, Meta(ge=1, le=LONGEST_EVERY)] | None, Meta(description="Seconds between two runs.")] = None
    timezone: Annotated[
        Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)] | None,
        Meta(description="The clock that `cron` goes by, such as `Europe/Berlin`; UTC if not given."),
    ] = None
    payload: Annotated[Raw | UnsetType, Meta(description="What its handler is given; `{}` if not given.")] = UNSET
    options: Annotated[
        TaskOptions | None,
        Meta(description=f"`{', '.join(TaskOptions.__struct_fields__)}`, as in `POST /tasks`. If not given, the type's."),
    ] = None
    missed: Annotated[
        Literal["skip", "once"] | None,
        Meta(description="What becomes of runs that nobody was there for; `skip` if not given."),
    ] = None
    overlap: Annotated[
        Literal["allow", "skip"] | None,
        Meta(description="Whether a run is due while the task of the last one has not ended; `allow` if not given."),
    ] = None
    paused: Annotated[bool | None, Meta(description="Whether it rests; it can still be run by hand.")] = None


class LastRun(Struct, frozen=True):
    """The newest task of a schedule."""

    time: Time
    id: str


class ShownSchedule(Struct, frozen=True, kw_only=True):
    """A schedule, when it runs next, and what became of its last run."""

    name: str
    cron: str | None
    every: float | None
    timezone: str
    type: str
    payload: Raw
    options: TaskOptions
    missed: Literal["skip", "once"]
    overlap: Literal["allow", "skip"]
    paused: bool
    next: Annotated[list[Time], Meta(description="Up to five; none while it is paused.")]
    last_run: LastRun | None
    last_error: Annotated[str | None, Meta(description="Why its last run has no task.")]


class Schedules(Struct, frozen=True):
    """Every schedule there is."""

    schedules: list[ShownSchedule]


class Changed(Struct, frozen=True):
    """What was done to many tasks."""

    matched: Annotated[int, Meta(ge=0, description="Tasks that the filters let through and that were looked at.")]
    changed: Annotated[int, Meta(ge=0, description="Those of them that are otherwise now; 0 with `dry_run`.")]
    more: Annotated[bool, Meta(description="There are more than one request looks at: ask again.")]


class Healthy(Struct, frozen=True):
    """All is well."""

    status: Literal["ok"]
    version: str
    checks: Annotated[dict[str, str], Meta(description="What was looked at; each says `ok`.")]
