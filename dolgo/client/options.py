"""What may be asked for of a task and of a list, and how that is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

import msgspec
from msgspec import Raw

from dolgo.client.records import Ref, id_of
from dolgo.finite import has_not_finite
from dolgo.task.types import Status


class TaskOptions(TypedDict, total=False):
    """The options of a submit; `docs/reference/http.md` describes each. A time needs a zone, durations are in seconds."""

    queue: str
    priority: int
    run_at: datetime | str
    delay: float
    timeout: float
    retries: int
    keep: float
    expires_at: datetime | str
    depends_on: Sequence[Ref]
    on_parent_failure: Literal["cancel", "run"]
    unique_key: str
    limit_key: str
    tags: Sequence[str]
    callback: str | Mapping[str, Any]


class NewTask(TaskOptions, total=False):
    """One task of many."""

    type: Required[str]
    payload: Any
    ref: str  # what `depends_on` of others in the same call names as `ref:NAME`


class Filters(TypedDict, total=False):
    """Which tasks a list has, and in what order."""

    status: Status | str
    type: str
    queue: str
    tag: str
    created_after: datetime | str
    created_before: datetime | str
    order: Literal["-created_at", "created_at", "-finished_at", "finished_at"]


def encoded(value: Any) -> bytes:
    """The value as JSON. Raises `ValueError` for NaN and Infinity, and `TypeError` for what cannot be written."""
    raw = msgspec.json.encode(value)
    if b"null" in raw and not isinstance(value, Raw) and has_not_finite(value):
        raise ValueError("NaN and Infinity are not JSON")
    return raw


def query(filters: Mapping[str, Any]) -> dict[str, str]:
    """Filters as parameters; one that is None counts as not given."""
    return {name: _text(value) for name, value in filters.items() if value is not None}


def task_body(task: Mapping[str, Any]) -> dict[str, Any]:
    """A new task as it is sent: the tasks it depends on by their ids; what is None counts as not given.

    Raises `ValueError` for numbers that JSON has not, and `TypeError` for a type that is not named."""
    if not isinstance(task.get("type"), str):
        raise TypeError(f"a task type is named by text, not by {task.get('type')!r}")
    body = {name: value for name, value in task.items() if value is not None}
    for name, value in body.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which is not JSON")
    if "payload" in body:
        body["payload"] = Raw(encoded(body["payload"]))
    if "depends_on" in body:
        body["depends_on"] = [id_of(parent) for parent in body["depends_on"]]
    return body


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    text = msgspec.json.encode(value)
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()
