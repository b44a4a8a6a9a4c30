"""From what a caller asks for to the tasks that are stored: checks, defaults, ids, and in a batch the order they come in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dolgo.egress.addresses import Allowed
from dolgo.egress.urls import flaw_of
from dolgo.errors import InvalidPayload, InvalidRequest, Problem, Refused, TooLarge, UnknownType
from dolgo.task.announced import Announced
from dolgo.task.batch import REF, Batch, arranged
from dolgo.task.callbacks.cursor import UNTOLD, Book
from dolgo.task.callbacks.wish import Callback, kept
from dolgo.task.ids import Ids
from dolgo.task.types import Dependency, NewTask, OnParentFailure, TypeInfo

CHECKED_AT_ONCE = 200  # payloads of a batch checked before others get a turn of the loop
BY_PAYLOAD = "payload:"  # a `unique_key` made from the payload begins so

DEFAULT_QUEUE = "default"
_DEFAULT_PRIORITY = 5

_anything = msgspec.json.Decoder().decode
_sorted = msgspec.json.Encoder(order="sorted").encode


class Rules(Struct, frozen=True):
    """The settings that decide what may be submitted and what becomes of it."""

    ageing: float = 600.0  # seconds of age that one level of priority is worth
    max_payload: int = 1 << 20  # bytes
    max_losses: int = 3
    callback_allow: str = ""  # hosts and networks that callbacks may go to though they are not public


class Submission(Struct, frozen=True, gc=False):
    """One task as a caller asks for it. What is None is taken from its type."""

    type: str
    payload: bytes = b"{}"
    queue: str | None = None
    priority: int | None = None  # 0-9
    run_at: float | None = None
    delay: float = 0.0
    tags: tuple[str, ...] = ()
    timeout: float | None = None  # seconds an attempt may take
    retries: int | None = None  # attempts after the first
    keep: float | None = None  # seconds
    expires_at: float | None = None
    depends_on: tuple[str, ...] = ()  # ids, and "ref:NAME" for others of the batch
    on_parent_failure: OnParentFailure = OnParentFailure.CANCEL
    unique_key: str | None = None
    limit_key: str | None = None
    ref: str | None = None  # what others of the batch call it
    callback: Callback | None = None  # who is told how it ends
    extras: bytes | None = None  # JSON

    def flagged(self, id: str) -> str:
        """The id as it is of a task that somebody is, or is not, to be told of."""
        return id if self.callback is None else Ids.flagged(id)


class Intake:
    """Makes tasks of submissions. Raises what is wrong with them, every member with its pointer."""

    def __init__(self, types: Announced, ids: Ids, rules: Rules, callbacks: Book) -> None:
        self._types = types
        self._callbacks = callbacks
        self._allowed = Allowed(rules.callback_allow)
        self._ids = ids
        self._rules = rules

    async def one(self, submission: Submission, *, id: str | None = None) -> NewTask:
        """The task, under this id if one is given."""
        task = await self._new(submission, "", self._types.monotonic())
        if not submission.depends_on and id is None:
            return task
        depends_on = tuple(Dependency(parent) for parent in dict.fromkeys(submission.depends_on))
        return replace(task, id=id or task.id, depends_on=depends_on)

    async def batch(self, submissions: Sequence[Submission], *, pointed: bool) -> Batch:
        """The tasks, parents before their dependents. `pointed`: pointers start with `/tasks/{place}`."""
        tasks, problems, first = list[NewTask](), list[Problem](), None
        since = self._types.monotonic()
        for place, submission in enumerate(submissions):
            if place % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
            at = f"/tasks/{place}" if pointed else ""
            try:
                tasks.append(await self._new(submission, at, since))
            except (UnknownType, InvalidPayload, InvalidRequest, TooLarge) as error:
                first = first or error
                problems.extend(error.problems)
        if first is not None:
            raise type(first)(first.detail, problems)
        return arranged(tasks, [submission.depends_on for submission in submissions], [s.ref for s in submissions])

    async def _new(self, submission: Submission, at: str, since: float) -> NewTask:
        """The task with its type's defaults, its payload checked."""
        try:
            info = await self._types.find(submission.type, since=since)
        except UnknownType as error:
            raise UnknownType(error.detail, [Problem(f"{at}/type", error.detail)]) from None
        if len(submission.payload) > self._rules.max_payload:
            detail = f"The payload has {len(submission.payload)} bytes; {self._rules.max_payload} are allowed."
            raise TooLarge(detail, [Problem(f"{at}/payload", detail)])
        self._types.shape(info).check(submission.payload, f"{at}/payload")
        if submission.callback is not None:
            await self._expect(submission.callback, at)
        return self._stamped(submission, info)

    async def _expect(self, callback: Callback, at: str) -> None:
        """Have the log followed from here on. Raises InvalidRequest for a receiver that shows that it cannot be reached."""
        if (flaw := flaw_of(callback.url, self._allowed)) is not None:
            raise InvalidRequest.of([Problem(f"{at}/callback", flaw)])
        await self._callbacks.begin()

    def _stamped(self, submission: Submission, info: TypeInfo) -> NewTask:
        options = info.options
        priority = options.get("priority", _DEFAULT_PRIORITY) if submission.priority is None else submission.priority
        retries = options.get("retries", 0) if submission.retries is None else submission.retries
        return NewTask(  # by place: by name it takes three times as long, and every task comes by here
            submission.flagged(self._ids.new()),
            info.name,
            info.hash,
            submission.queue or options.get("queue", DEFAULT_QUEUE),
            submission.payload,
            priority,
            priority * self._rules.ageing,
            submission.run_at,
            submission.delay,
            1 + retries,
            submission.tags,
            options.get("timeout") if submission.timeout is None else submission.timeout,
            _kept(submission, options),
            0.0,
            submission.expires_at,
            (),
            submission.on_parent_failure,
            _unique_key(submission, options),
            submission.limit_key,
            submission.extras if submission.callback is None else kept(submission.callback, submission.extras),
        )


def unknown_parents(ids: Sequence[str], depends_on: Sequence[Sequence[str]], *, pointed: bool) -> Refused:
    """The error for ids in `depends_on` that there are no tasks for."""
    unknown = set(ids)
    problems = [
        Problem(f"{f'/tasks/{place}' if pointed else ''}/depends_on/{number}", _missing(id))
        for place, parents in enumerate(depends_on)
        for number, id in enumerate(parents)
        if id in unknown
    ]
    return InvalidRequest.of(problems)


def _missing(id: str) -> str:
    return "only the tasks of a batch can name one another" if id.startswith(REF) else f"there is no task {id}"


def _kept(submission: Submission, options: Mapping[str, Any]) -> float | None:
    """How long, in seconds; a task with a callback at least so long that it is seen to."""
    keep: float | None = options.get("keep") if submission.keep is None else submission.keep
    return keep if submission.callback is None or keep is None else max(keep, UNTOLD)


def _unique_key(submission: Submission, options: Mapping[str, object]) -> str | None:
    """As it was sent; or, of a type that asks for it, the same for the same payload however it is written."""
    if submission.unique_key is not None or not options.get("unique"):
        return submission.unique_key
    return BY_PAYLOAD + hashlib.sha256(_sorted(_anything(submission.payload))).hexdigest()[:32]
