"""What clients and handlers alike may ask for of a task, and what queues, types, schedules, tags and keys may be called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, structs

from dolgo.egress.urls import LONGEST as LONGEST_URL
from dolgo.errors import Problem
from dolgo.task.batch import REF
from dolgo.task.callbacks.wish import ENDS, Callback, End
from dolgo.task.intake import Submission
from dolgo.task.types import OnParentFailure

LONGEST_NAME = 100
LONGEST_TAG = 128
MOST_TAGS = 32
LONGEST_KEY = 255
LONGEST_REF = 100
LONGEST_DELAY = 100 * 365 * 86_400.0  # seconds; what is due later than this is a mistake
LONGEST_TIMEOUT = 365 * 86_400.0  # seconds
MOST_RETRIES = 1_000
MOST_PARENTS = 10_000
LATEST = 253_402_300_799.0  # seconds since the epoch: the last one of the year 9999
RESERVED = "dolgo."  # types of dolgo's own begin so; nobody submits them

NAME_RULE = f"a name has letters, digits, `_`, `-` and `.`, at most {LONGEST_NAME}, and begins with a letter, a digit or `_`"
TAG_RULE = f"a tag has 1 to {LONGEST_TAG} characters, none of them a control character"
KEY_RULE = f"a key has 1 to {LONGEST_KEY} characters, none of them a control character"
TIME_RULE = "it must be a time with a zone, such as 2026-01-31T12:00:00Z"
NAME_PATTERN = r"^\w[\w.-]{0,99}$"

KEYS = ("unique_key", "limit_key", "ref")
MOMENTS = ("run_at", "expires_at")

_NAME = re.compile(NAME_PATTERN.strip("^$"))
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, extra_json_schema={"pattern": NAME_PATTERN})]
Priority = Annotated[int, Meta(ge=0, le=9)]
Tag = Annotated[str, Meta(min_length=1, max_length=LONGEST_TAG)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=MOST_TAGS)]
Moment = Annotated[datetime, Meta(tz=True)]
Timeout = Annotated[float, Meta(gt=0, le=LONGEST_TIMEOUT)]
Retries = Annotated[int, Meta(ge=0, le=MOST_RETRIES)]
Keep = Annotated[float, Meta(ge=0, le=LONGEST_DELAY)]
Key = Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)]
Ref = Annotated[str, Meta(min_length=1, max_length=LONGEST_REF)]
Parent = Annotated[str, Meta(min_length=1, max_length=len(REF) + LONGEST_REF)]


Receiver = Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]


class NewCallback(Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told of the ends of a task."""

    url: Annotated[Receiver, Meta(description="Where a signed request is sent to.")]
    on: Annotated[
        Annotated[tuple[End, ...], Meta(min_length=1, max_length=3)] | None, Meta(description="Which ends; all if not given.")
    ] = None


class NewTask(Struct, frozen=True, forbid_unknown_fields=True):
    """A task to be done. An option that is null counts as not given."""

    type: Annotated[Name, Meta(description="What kind of work: one of `GET /types`.")]
    payload: Annotated[Raw | UnsetType, Meta(description="What its handler is given; `{}` if not given.")] = UNSET
    queue: Annotated[Name | None, Meta(description="The line it stands in. If not given, the type's.")] = None
    priority: Annotated[Priority | None, Meta(description="Higher first. If not given, the type's, usually 5.")] = None
    run_at: Annotated[Moment | None, Meta(description="Not to be started before.")] = None
    delay: Annotated[
        Annotated[float, Meta(ge=0, le=LONGEST_DELAY)] | None, Meta(description="Seconds from now, instead of `run_at`.")
    ] = None
    timeout: Annotated[Timeout | None, Meta(description="Seconds that each attempt may take. If not given, the type's.")] = None
    retries: Annotated[Retries | None, Meta(description="Attempts after the first that failed. If not given, the type's.")] = None
    keep: Annotated[Keep | None, Meta(description="Seconds it is kept once it has ended. If not given, the type's.")] = None
    expires_at: Annotated[Moment | None, Meta(description="Cancelled if it has not started by then.")] = None
    depends_on: Annotated[
        Annotated[tuple[Parent, ...], Meta(max_length=MOST_PARENTS)] | None,
        Meta(description="Ids of the tasks it waits for; in a batch also `ref:` and another's `ref`."),
    ] = None
    on_parent_failure: Annotated[
        OnParentFailure | None, Meta(description="What becomes of it if one of these does not end `done`; `cancel` if not given.")
    ] = None
    unique_key: Annotated[
        Key | None, Meta(description="While a task of this type and key has not ended, a submit answers with that one.")
    ] = None
    limit_key: Annotated[Key | None, Meta(description="Tasks of one key share the `max_running_per_key` of a queue or type.")] = (
        None
    )
    tags: Annotated[Tags | None, Meta(description="Words to find it by in `GET /tasks`.")] = None
    ref: Annotated[Ref | None, Meta(description="In a batch: what `depends_on` of others may call it.")] = None

    callback: Annotated[
        Receiver | NewCallback | None, Meta(description="Who is told how it ends: a URL, or which ends as well.")
    ] = None

    def submission(self) -> Submission:
        """What the manager takes."""
        return Submission(  # by place: by name it takes three times as long, and every submit comes by here
            self.type,
            bytes(self.payload or b"{}"),
            self.queue,
            self.priority,
            seconds(self.run_at),
            self.delay or 0.0,
            self.tags or (),
            self.timeout,
            self.retries,
            self.keep,
            seconds(self.expires_at),
            self.depends_on or (),
            self.on_parent_failure or OnParentFailure.CANCEL,
            self.unique_key,
            self.limit_key,
            self.ref,
            None if self.callback is None else wished(self.callback),
        )


def wished(callback: str | NewCallback) -> Callback:
    """What the manager takes."""
    return Callback(callback) if isinstance(callback, str) else Callback(callback.url, callback.on or ENDS)


def is_name(text: str) -> bool:
    """Whether a queue, type or schedule could be called so."""
    return _NAME.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Whether a tag, a key or a ref could read so; its length is not looked at."""
    return _PRINTABLE.fullmatch(text) is not None


def seconds(value: datetime | None) -> float | None:
    """A time as seconds since the epoch."""
    return None if value is None else value.timestamp()


def flaws_of(task: NewTask, at: str = "") -> list[Problem]:
    """What its types cannot say is wrong with a task. Most tasks have no member that would have to be looked at."""
    return list(flaws(structs.asdict(task), at)) if _may_be_flawed(task) else []


def flaws(members: Mapping[str, Any] | Any, at: str) -> Iterator[Problem]:
    """What a type cannot say. Members of a wrong kind are passed over: they have been named."""
    if not isinstance(members, Mapping):
        return
    type, queue = members.get("type"), members.get("queue")
    if isinstance(type, str) and type.startswith(RESERVED):
        yield Problem(f"{at}/type", f"types that begin with `{RESERVED}` are dolgo's own")
    if isinstance(queue, str) and 1 <= len(queue) <= LONGEST_NAME and not is_name(queue):
        yield Problem(f"{at}/queue", NAME_RULE)
    for name in MOMENTS:
        moment = _moment(members.get(name))
        if moment is not None and not 0.0 <= moment <= LATEST:
            yield Problem(f"{at}/{name}", "it must lie between the years 1970 and 9999")
    if members.get("run_at") is not None and members.get("delay") is not None:
        yield Problem(f"{at}/delay", "give `run_at` or `delay`, not both")
    ref = members.get("ref")
    if isinstance(ref, str) and 1 <= len(ref) <= LONGEST_REF and not at:
        yield Problem("/ref", "only the tasks of a batch can name one another")
    yield from _unprintable(members, at)


def _unprintable(members: Mapping[str, Any], at: str) -> Iterator[Problem]:
    """Tags and keys that no page could show."""
    tags = members.get("tags")
    for place, tag in enumerate(tags if isinstance(tags, list | tuple) else ()):
        if isinstance(tag, str) and tag and not is_printable(tag):
            yield Problem(f"{at}/tags/{place}", TAG_RULE)
    for name in KEYS:
        key = members.get(name)
        if isinstance(key, str) and key and not is_printable(key):
            yield Problem(f"{at}/{name}", KEY_RULE)


def _moment(value: Any) -> float | None:
    try:
        return msgspec.convert(value, datetime | None).timestamp()
    except (msgspec.ValidationError, AttributeError):
        return None


def _may_be_flawed(task: NewTask) -> bool:
    """Whether it has a member that `flaws` looks at: most have none."""
    return (
        task.queue is not None
        or task.run_at is not None
        or task.tags is not None
        or task.expires_at is not None
        or task.unique_key is not None
        or task.limit_key is not None
        or task.ref is not None
        or task.type.startswith(RESERVED)
    )
