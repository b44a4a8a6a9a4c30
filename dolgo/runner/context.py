"""What a handler is given: the task it runs for, and what it can have done meanwhile."""

from __future__ import annotations

import inspect
import logging
import sys
from asyncio import wrap_future
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar, overload

import msgspec

from dolgo import tracing
from dolgo.runner.desk import Desk
from dolgo.runner.frames import Verb
from dolgo.runner.outcome import clip
from dolgo.runner.parents import AsyncParents, Parent, Parents
from dolgo.runner.steps import Steps, encode

MOST_NOTE = 1000  # characters of a progress note; of a longer one the middle is left out
MOST_SUBMIT = 32 * 2**20  # bytes of a submit: what the service refuses, but not before it has read it, may be less

P = ParamSpec("P")
R = TypeVar("R")

_payload = msgspec.json.Decoder()
_id = msgspec.json.Decoder(str)
_json = msgspec.json.Encoder()


class _Base:
    """The members that read the same in `async def` and in `def`."""

    __slots__ = (
        "_cancelled",
        "_desk",
        "_extras",
        "_log",
        "_parents",
        "_payload",
        "_raw",
        "_steps",
        "attempt",
        "id",
        "queue",
        "tags",
        "type",
    )

    def __init__(
        self,
        id: str,
        *,
        type: str,
        queue: str,
        payload: bytes,
        attempt: int,
        tags: tuple[str, ...] = (),
        cancelled: Callable[[], bool] = lambda: False,
        parents: Sequence[Parent] = (),
        desk: Desk | None = None,
        extras: bytes | None = None,
    ) -> None:
        """Without a `desk` it belongs to no child, as in a test of a handler: `progress` does nothing, `step` runs what it is
        given and stores nothing, `parents` are those given, and `submit` is an error."""
        self.id: str = id
        self.type: str = type
        self.queue: str = queue
        self.attempt: int = attempt  # from 1
        self.tags: tuple[str, ...] = tags
        self._raw = payload
        self._payload: dict[str, Any] | None = None
        self._log: logging.Logger | None = None
        self._cancelled = cancelled
        self._parents = parents
        self._desk = desk
        self._extras = extras
        self._steps: Steps | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """The payload as it was sent: members that the handler does not take are here as well, defaults are not."""
        if self._payload is None:
            self._payload = _payload.decode(self._raw)
        return self._payload

    @property
    def traceparent(self) -> str | None:
        """W3C's `traceparent` as it was submitted with the task, for what the handler calls."""
        return tracing.of(self._extras).traceparent

    @property
    def log(self) -> logging.Logger:
        """A logger whose lines belong to this task: each record has the task's id in `task_id`."""
        if self._log is None:
            self._log = _TaskLogger(self.type, self.id, self._desk)
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether this attempt is to stop: the task is cancelled, or has run out of time."""
        return self._cancelled()

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far it is: so many of so many. Costs little: what follows within a fifth of a second replaces it.

        Raises `ValueError` for what is no finite number."""
        told = {"done": _plain(done), "total": None if total is None else _plain(total), "note": clip(str(note), MOST_NOTE)}
        if self._desk is not None:
            self._desk.progress(_json.encode(told))

    def _get_steps(self) -> Steps:
        if self._steps is None:
            self._steps = Steps(self._desk, attempt=self.attempt)
        return self._steps

    def _submitted(self, type: str, payload: Any, options: dict[str, Any]) -> Future[bytes]:
        """The id of a task that the worker is asked to submit, once it has."""
        if self._desk is None:
            raise RuntimeError("there is no worker to submit to: this context was made by hand")
        task = {"type": type, "payload": {} if payload is None else payload, **options}
        number, body = self._get_steps().number(), encode(task, limit=MOST_SUBMIT, what="what is submitted")
        return self._desk.ask(Verb.SUBMIT, name=number, body=body, extras=tracing.submitted(None, type))


class Context(_Base):
    """What an `async def` handler is given as `ctx`."""

    __slots__ = ()

    @overload
    async def step(self, name: str, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def step(self, name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def step(self, name: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What `fn(*args)` returns, run and stored once: a later attempt, or call, of this name is given the same.

        `fn` may be `async def`. The result comes back as JSON gives it, so a tuple becomes a list. Several steps may run at once.
        Raises `ValueError` for a name that cannot be used, and for a result that is not JSON or longer than 1 MiB."""
        steps = self._get_steps()
        with steps.running(name):
            if not steps.fetched:
                steps.take(await wrap_future(steps.fetch()))
            if not steps.is_known(name):
                value = fn(*args, **kwargs)
                if inspect.isawaitable(value):
                    value = await value
                raw = steps.encode(name, value)
                if (stored := steps.store(name, raw)) is not None:
                    await wrap_future(stored)
                steps.keep(name, raw)
            return steps.result(name)

    async def submit(self, type: str, payload: Any = None, **options: Any) -> str:
        """The id of a new task. `options` are those of `POST /tasks`.

        When the handler runs again, the n-th call, or the n-th in the same step, is given the task of the first time and submits
        nothing. Raises `dolgo.errors.Refused` with the reason if it is refused."""
        answer = await wrap_future(self._submitted(type, payload, options))
        return _id.decode(answer)

    @property
    def parents(self) -> AsyncParents:
        """The tasks that this one waited for: `async for parent in ctx.parents`."""
        return AsyncParents(self._desk, self._parents)


class SyncContext(_Base):
    """What a `def` handler is given as `ctx`."""

    __slots__ = ()

    def step(self, name: str, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What `fn(*args)` returns, run and stored once: a later attempt, or call, of this name is given the same.

        The result comes back as JSON gives it, so a tuple becomes a list. Several steps may run at once, in threads.
        Raises `ValueError` for a name that cannot be used, and for a result that is not JSON or longer than 1 MiB."""
        steps = self._get_steps()
        with steps.running(name):
            if not steps.fetched:
                steps.take(steps.fetch().result())
            if not steps.is_known(name):
                raw = steps.encode(name, fn(*args, **kwargs))
                if (stored := steps.store(name, raw)) is not None:
                    stored.result()
                steps.keep(name, raw)
            result: R = steps.result(name)
            return result

    def submit(self, type: str, payload: Any = None, **options: Any) -> str:
        """The id of a new task. `options` are those of `POST /tasks`.

        When the handler runs again, the n-th call, or the n-th in the same step, is given the task of the first time and submits
        nothing. Raises `dolgo.errors.Refused` with the reason if it is refused."""
        return _id.decode(self._submitted(type, payload, options).result())

    @property
    def parents(self) -> Parents:
        """The tasks that this one waited for: `for parent in ctx.parents`."""
        return Parents(self._desk, self._parents)


def _plain(number: Any) -> float:
    """As JSON has it: numbers of other libraries inherit from Python's. Raises `ValueError` for what is no finite number."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
        raise ValueError(f"progress is told in numbers, not {number!r}")
    return int(number) if isinstance(number, int) else float(number)


class _TaskLogger(logging.Logger):
    """Stamps each record with the task. Unlike those of `getLogger` it is not kept for ever, so a task costs no memory."""

    def __init__(self, type: str, task_id: str, desk: Desk | None) -> None:
        super().__init__(f"dolgo.task.{type}")
        self.parent = logging.getLogger(self.name)
        self._task_id = task_id
        self._desk = desk

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = super().makeRecord(*args, **kwargs)
        record.task_id = self._task_id
        record.dolgo_desk = self._desk  # a thread that has the context alone may write to it
        return record
