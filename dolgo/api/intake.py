"""Bodies read: into what the manager takes, or into everything that is wrong with them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from dolgo.api.schema import Batch
from dolgo.errors import InvalidRequest, MalformedJson, Problem
from dolgo.shape import describe
from dolgo.shape.walk import Walker
from dolgo.task.allowed import LONGEST_NAME, RESERVED, TIME_RULE, NewTask, flaws, flaws_of
from dolgo.task.manager import Submission

NOTHING = b"{}"  # what a body says that may be left out
NO_TIME = ("Invalid RFC3339 encoded datetime", "Expected `datetime` with a timezone component")  # msgspec's words
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
        raise InvalidRequest.of([*_wrong(NewTask, value, at), *flaws(value, at)] or [Problem(at, str(error))]) from None
    if found := flaws_of(task, at):
        raise InvalidRequest.of(found)
    return task.submission()


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
    return items, list(_wrong(Batch, value)) or [wrong]


def read(body: bytes, struct: type[S]) -> S:
    """A body that is read as a whole. Raises InvalidRequest with all that is wrong, and MalformedJson."""
    try:
        return msgspec.json.decode(body, type=struct)
    except REFUSALS as error:
        raise InvalidRequest.of(list(_wrong(struct, _parsed(body, ""))) or [Problem("", str(error))]) from None


def typed_payload(raw: bytes | Raw) -> tuple[str, bytes] | None:
    """Type and payload of a task that may be wrong elsewhere; None if it names no type."""
    try:
        members = _members(raw)
        type = _text(members["type"])
    except (KeyError, *REFUSALS):
        return None
    known_wrong = type.startswith(RESERVED) or not 1 <= len(type) <= LONGEST_NAME
    return None if known_wrong else (type, bytes(members.get("payload", b"{}")))


def _wrong(struct: type[Struct], value: Any, at: str = "") -> Iterator[Problem]:
    """Every member that is wrong; of one that is no time it says how a time looks."""
    for problem in _walker(struct).walk(value, at):
        yield problem._replace(detail=TIME_RULE) if problem.detail in NO_TIME else problem


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
