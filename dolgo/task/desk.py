"""Answers what handlers ask while they run: stored steps, tasks of their own, the tasks they depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from dolgo import tracing
from dolgo.errors import Conflict, InvalidRequest, NotFound, summary
from dolgo.runner.link import Ask, Verb
from dolgo.store.base import Store
from dolgo.task.allowed import NewTask, flaws_of
from dolgo.task.ids import Ids
from dolgo.task.intake import Submission
from dolgo.task.types import Dependency, Lease, Note, Put, Status

MOST_STEP = 1 << 20  # bytes of a step's result
LONGEST_NAME = 200  # characters of the name of a step, or of a call
STEP = "step/"  # what notes are called
SUBMITTED = "submitted/"
MANY = 50  # parents of a task; so many and fewer are quickly read
REMEMBERED = 20  # tasks whose many parents are kept at hand


class SubmitAs(Protocol):
    """Stores a task under a given id, with notes in the same commit; None if a token was not current."""

    async def __call__(
        self, submission: Submission, *, id: str, puts: Sequence[Put] = (), notes: Sequence[Note] = ()
    ) -> str | None: ...


class ShownParent(Struct, frozen=True):
    """A task that the handler's task depended on."""

    id: str
    ref: str | None
    type: str
    status: Status
    result: Raw
    error: str | None


_decode = msgspec.json.Decoder(NewTask).decode
_anything = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Desk:
    """Where the worker brings its handlers' questions."""

    def __init__(self, store: Store, submit_as: SubmitAs) -> None:
        self._store = store
        self._submit_as = submit_as
        self._parents: dict[str, tuple[Dependency, ...]] = {}  # of the tasks that asked last and have many, by id

    async def answer(self, lease: Lease, ask: Ask) -> bytes:
        """The answer as JSON. Raises Refused with a sentence for the handler, which can ask what it likes."""
        if len(ask.name) > LONGEST_NAME + len("/00000000") or "\0" in ask.name:
            raise InvalidRequest(f"A step is called by at most {LONGEST_NAME} characters.")
        match ask.verb:
            case Verb.STEPS:
                return await self._steps(lease)
            case Verb.STEP:
                return await self._keep_step(lease, ask)
            case Verb.SUBMIT:
                return await self._submit(lease, ask)
            case Verb.PARENT:
                return await self._parent(lease, int(ask.name) if ask.name.isdecimal() else 0)

    async def _steps(self, lease: Lease) -> bytes:
        steps = await self._store.notes(lease.id, STEP)
        return _encode({key.removeprefix(STEP): Raw(value) for key, value in steps})

    async def _keep_step(self, lease: Lease, ask: Ask) -> bytes:
        if len(ask.body) > MOST_STEP or not _is_json(ask.body):
            raise InvalidRequest(f"The result of a step is JSON of at most {MOST_STEP:,} bytes.")
        (took,) = await self._store.note([Note(lease.id, lease.token, STEP + ask.name, ask.body)])
        if not took:
            raise _lost(lease)
        return b"null"

    async def _submit(self, lease: Lease, ask: Ask) -> bytes:
        """Its id is made of the task, its generation and the name of the call: so a later attempt submits nothing twice."""
        submission = _submission(ask.body)
        id = submission.flagged(Ids.derived(lease.id, f"{lease.generation}/{ask.name}"))
        note = Note(lease.id, lease.token, f"{SUBMITTED}{lease.generation}/{ask.name}", _encode(id))
        if (before := dict(await self._store.notes(lease.id, note.key)).get(note.key)) is not None:
            return before  # by an attempt before this one; the task may have ended and been deleted since
        submission = replace(submission, extras=tracing.passed_on(ask.extras) or tracing.passed_on(lease.extras))
        stored = await self._submit_as(submission, id=id, notes=[note])
        if stored is None:
            raise _lost(lease)
        return _encode(stored)

    async def _parent(self, lease: Lease, place: int) -> bytes:
        parents = await self._parents_of(lease.id)
        if place >= len(parents):
            return b"null"
        parent = parents[place]
        (task,) = await self._store.get([parent.id])
        if task is None:
            raise NotFound(f"The task {parent.id}, which this one depends on, has been deleted.")
        error = None if task.error is None else task.error.message
        return _encode(ShownParent(task.id, parent.ref, task.type, task.status, Raw(task.result or b"null"), error))

    async def _parents_of(self, id: str) -> tuple[Dependency, ...]:
        """They never change, and a task of 10,000 asks for one after the other: so many are read once for all places."""
        if (known := self._parents.get(id)) is not None:
            return known
        (details,) = await self._store.details([id])
        parents = () if details is None else details.parents
        if len(parents) > MANY:
            self._parents[id] = parents
            if len(self._parents) > REMEMBERED:
                del self._parents[next(iter(self._parents))]
        return parents


def _submission(body: bytes) -> Submission:
    try:
        asked = _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidRequest(f"The task cannot be submitted: {error}.") from None
    if found := flaws_of(asked):
        raise InvalidRequest(f"The task cannot be submitted: {summary(found)}", found)
    return asked.submission()


def _is_json(body: bytes) -> bool:
    try:
        _anything(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _lost(lease: Lease) -> Conflict:
    return Conflict(f"Attempt {lease.attempt} of task {lease.id} is not the one in force any more: it may change nothing.")
