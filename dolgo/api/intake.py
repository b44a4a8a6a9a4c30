"""Bodies read: into what the manager takes, or into everything that is wrong with them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, structs

from dolgo.api.names import KEY_RULE, LONGEST_NAME, NAME_RULE, RESERVED, TAG_RULE, is_name, is_printable
from dolgo.api.schema import LONGEST_REF, Batch, NewTask
from dolgo.errors import InvalidRequest, MalformedJson, Problem
from dolgo.shape import describe
from dolgo.shape.walk import Walker
from dolgo.task.manager import Submission
from dolgo.task.types import OnParentFailure

LATEST = 253_402_300_799.0  # seconds since the epoch: the last one of the year 9999
KEYS = ("unique_key", "limit_key", "ref")
MOMENTS = ("run_at", "expires_at")
NOTHING = b"{}"  # what a body says that may be left out
REFUSALS = (msgspec.MsgspecError, ValueError, RecursionError)  # all that decoding raises for what was sent

S = TypeVar("S", bound=Struct)

_task = msgspec.json.Decoder(NewTask).decode
_batch = msgspec.json.Decoder(Batch).decode
_anything = msgspec.json.Decoder().decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode
_items = msgspec.json.Decoder(list[Raw]).decode


def read_task(raw: bytes | Raw, at: str = "") -> Submission:
    """The task as it is to be submitted. Raises InvalidRequest with all that is wrong but its payload, and MalformedJson."""
    try:
        task = _task(raw)
    except REFUSALS as error:
        value = _parsed(raw, at)
        raise InvalidRequest.of([*_walker(NewTask).walk(value, at), *flaws(value, at)] or [Problem(at, str(error))]) from None
    if _may_be_flawed(task):
        found = list(flaws(structs.asdict(task), at))
        if found:
            raise InvalidRequest.of(found)
    return Submission(
        type=task.type,
        payload=bytes(task.payload or b"{}"),
        queue=task.queue,
        priority=task.priority,
        run_at=seconds(task.run_at),
        delay=task.delay or 0.0,
        tags=task.tags or (),
        timeout=task.timeout,
        retries=task.retries,
        keep=task.keep,
        expires_at=seconds(task.expires_at),
        depends_on=task.depends_on or (),
        on_parent_failure=task.on_parent_failure or OnParentFailure.CANCEL,
        unique_key=task.unique_key,
        limit_key=task.limit_key,
        ref=task.ref,
    )


async def read_batch(body: bytes) -> tuple[list[Raw], list[Problem]]:
    """The items of a batch, unread, and what is wrong around them. Raises MalformedJson.

    Each look at a large body takes a while, so others get their turns in between."""
    try:
        return _batch(body).tasks, []
    except REFUSALS as error:
        wrong = Problem("", str(error))
    await asyncio.sleep(0)
    items: list[Raw] = []
    try:
        members: Any = _members(body)
        await asyncio.sleep(0)
        items = _items(members["tasks"])
        value = {**dict.fromkeys(members), "tasks": [None] * len(items)}  # hollow: there may be many
    except (msgspec.ValidationError, KeyError):
        value = _parsed(body, "")  # no list of tasks, so nothing large
    except REFUSALS as error:
        raise _malformed(error, body, "") from None
    return items, list(_walker(Batch).walk(value, "")) or [wrong]


def read(body: bytes, struct: type[S]) -> S:
    """A body that is read as a whole. Raises InvalidRequest with all that is wrong, and MalformedJson."""
    try:
        return msgspec.json.decode(body, type=struct)
    except REFUSALS as error:
        raise InvalidRequest.of(list(_walker(struct).walk(_parsed(body, ""), "")) or [Problem("", str(error))]) from None


def typed_payload(raw: bytes | Raw) -> tuple[str, bytes] | None:
    """Type and payload of a task that may be wrong elsewhere; None if it names no type."""
    try:
        members = _members(raw)
        type = _text(members["type"])
    except (KeyError, *REFUSALS):
        return None
    known_wrong = type.startswith(RESERVED) or not 1 <= len(type) <= LONGEST_NAME
    return None if known_wrong else (type, bytes(members.get("payload", b"{}")))


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


def seconds(value: datetime | None) -> float | None:
    """A time as seconds since the epoch."""
    return None if value is None else value.timestamp()


@functools.cache
def _walker(struct: type[Struct]) -> Walker:
    return Walker(describe(struct))


def _parsed(raw: bytes | Raw, at: str) -> Any:
    try:
        return _anything(raw)
    except REFUSALS as error:
        raise _malformed(error, bytes(raw), at) from None


def _malformed(error: Exception, raw: bytes, at: str) -> MalformedJson:
    what = f"What stands at {at}" if at else "The body"
    return MalformedJson(f"{what} is not valid JSON: {_reason(error, raw)}.")


def _reason(error: Exception, raw: bytes) -> str:
    if not raw:
        return "it is empty"
    if raw.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if str(error) == "Input data was truncated" and b"\\u" in raw:  # msgspec says the same of both
        return "it ends too early, or half of a surrogate pair stands alone"
    return str(error).removeprefix("JSON is malformed: ").partition(" - at `")[0]
