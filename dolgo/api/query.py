"""Query parameters: what there is, how each is read, and every one that is wrong at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from dolgo.errors import InvalidRequest, Problem
from dolgo.task.allowed import LONGEST_TAG, NAME_RULE, RESERVED, TAG_RULE, is_name, is_printable
from dolgo.task.callbacks.wish import QUEUE
from dolgo.task.follow import Place, place
from dolgo.task.types import Status

LONGEST_WAIT = 60.0  # seconds
MOST_LISTED = 1000

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_NONE: Mapping[str, Any] = {}


class Param(Struct, frozen=True):
    """A parameter: `read` makes its value of its text, or raises ValueError with a sentence."""

    name: str
    read: Callable[[str], Any]
    schema: dict[str, Any]
    help: str


def read_query(params: Sequence[Param], raw: bytes) -> Mapping[str, Any]:
    """The values by name. Raises InvalidRequest with every parameter that is unknown, repeated or wrong."""
    if not raw:
        return _NONE
    known = {param.name: param for param in params}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, text in _pairs(raw):
        try:
            if name not in known:
                raise ValueError(f"there is no such parameter here{_known(known)}")
            if name in values:
                raise ValueError("it is given more than once")
            values[name] = None
            values[name] = known[name].read(text)
        except ValueError as error:
            problems.append(Problem(f"/query/{_escaped(name)}", str(error)))
    if problems:
        raise InvalidRequest.of(problems, "query")
    return values


def own_unless_named(values: Mapping[str, Any]) -> str | None:
    """How the types begin that a list leaves out: dolgo's own, unless the query names their type or queue."""
    return None if values.get("type", "").startswith(RESERVED) or values.get("queue") == QUEUE else RESERVED


def seconds(text: str) -> float:
    """How long to wait."""
    if not _NUMBER.fullmatch(text) or float(text) > LONGEST_WAIT:
        raise ValueError(f"it must be a number of seconds from 0 to {LONGEST_WAIT:g}")
    return float(text)


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:  # bytes that are no text
        detail = "The query must be percent-encoded UTF-8."
        raise InvalidRequest(detail, [Problem("/query", detail)]) from None


def _known(known: Mapping[str, Param]) -> str:
    return f"; known are {', '.join(known)}" if known else "; this address takes none"


def _escaped(name: str) -> str:
    return name[:100].replace("~", "~0").replace("/", "~1")


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= MOST_LISTED:
        raise ValueError(f"it must be a whole number from 1 to {MOST_LISTED}")
    return int(text)


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise ValueError(f"it must be one of {', '.join(Status)}") from None


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(NAME_RULE)
    return text


def _tag(text: str) -> str:
    if not is_printable(text) or not 1 <= len(text) <= LONGEST_TAG:
        raise ValueError(TAG_RULE)
    return text


def _time(text: str) -> float:
    try:
        moment: datetime = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
        return moment.timestamp()
    except msgspec.ValidationError:
        raise ValueError("it must be a time such as 2026-01-31T12:00:00Z, a `+` in it written as %2B") from None


def _truth(text: str) -> bool:
    return _choice("true", "false")(text) == "true"


def _attempt(text: str) -> int:
    if not re.fullmatch(r"\d{1,8}", text, re.ASCII) or int(text) < 1:
        raise ValueError("it must be the number of an attempt, from 1")
    return int(text)


def _entry(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError("it must be a whole number, the `next` of the part before")
    return int(text)


def _place(text: str) -> Place:
    found = place(text)
    if found is None:
        raise ValueError("it must be the number of an event, or EPOCH-NUMBER")
    return found


def _choice(*values: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"it must be one of {', '.join(values)}")
        return text

    return read


ORDERS = ("-created_at", "created_at", "-finished_at", "finished_at")
VIEWS = ("short", "full")
_TEXT = {"type": "string", "minLength": 1, "maxLength": 100}
_TIME = {"type": "string", "format": "date-time"}

WAIT = Param(
    "wait",
    seconds,
    {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
    "Seconds to hold the answer back for.",
)
VIEW = Param("view", _choice(*VIEWS), {"type": "string", "enum": list(VIEWS), "default": "short"}, "`full` shows all there is.")
FILTERS = (
    Param("status", _status, {"type": "string", "enum": list(Status)}, "Only tasks of this status."),
    Param("type", _name, _TEXT, "Only tasks of this type."),
    Param("queue", _name, _TEXT, "Only tasks in this queue."),
    Param("tag", _tag, {"type": "string", "minLength": 1, "maxLength": LONGEST_TAG}, "Only tasks with this tag."),
    Param("created_after", _time, _TIME, "Only tasks submitted after this time."),
    Param("created_before", _time, _TIME, "Only tasks submitted before this time."),
)
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MOST_LISTED}
LIST = (
    *FILTERS,
    Param("order", _choice(*ORDERS), {"type": "string", "enum": list(ORDERS), "default": ORDERS[0]}, "`-` is newest first."),
    Param("limit", _limit, {**_LIMIT, "default": 50}, "Tasks at most."),
    Param("cursor", str, {"type": "string"}, "The `next` of the page before."),
    VIEW,
)
BULK = (*FILTERS, Param("dry_run", _truth, {"type": "boolean", "default": False}, "`true`: count, and change nothing."))
LINES = (
    Param("attempt", _attempt, {"type": "integer", "minimum": 1, "maximum": 99_999_999}, "Only lines of this attempt."),
    Param("after", str, {"type": "string"}, "The `next` of the part before."),
    Param("limit", _limit, {**_LIMIT, "default": MOST_LISTED}, "Lines at most."),
)
AUDIT = (
    Param(
        "after", _entry, {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "default": 0}, "The `next` of the part before."
    ),
    Param("limit", _limit, {**_LIMIT, "default": MOST_LISTED}, "Entries at most."),
)

AFTER = Param(
    "after", _place, {"type": "string", "pattern": "^([0-9a-f]{1,32}-)?[0-9]{1,18}$"},
    "Only what comes after this event; 0 is the beginning of the log. Without it, a page begins there, and a stream now.",
)  # fmt: skip
_PAGED = (AFTER, Param("limit", _limit, {**_LIMIT, "default": 100}, "Events at most, of a page."), WAIT)
TASK_EVENTS = _PAGED
EVENTS = (*_PAGED, *FILTERS[:3])
