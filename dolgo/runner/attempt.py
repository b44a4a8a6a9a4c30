"""One job as it runs in a child: decode, call the handler, say how it ended. The same for both kinds of children."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar

from dolgo.errors import InvalidPayload
from dolgo.runner.context import Context, SyncContext
from dolgo.runner.frames import Fault, Job, Kind, Report
from dolgo.runner.outcome import encode_result, fault_of, invalid_payload
from dolgo.runner.registry import TaskType

Types = Mapping[str, TaskType]
Ctx = TypeVar("Ctx", Context, SyncContext)


class NotRun(Exception):
    """There was nothing to call."""

    def __init__(self, report: Report) -> None:
        self.report = report


class Attempt:
    """A job that waits or runs. Nothing that a handler raises gets past it, `SystemExit` and its like included."""

    __slots__ = ("asked", "entered", "job", "task")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.asked = False  # the worker wants it stopped
        self.entered = False  # a task that is cancelled before its first step would run no line of ours, and report nothing
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Asks the handler to stop: once, because a second `CancelledError` would break into its clean-up."""
        if not self.asked:
            self.asked = True
            self.stop()

    def stop(self) -> None:
        """Breaks into a handler that runs as a task."""
        if self.task is not None and self.entered:
            self.task.cancel()

    async def run(self, types: Types, max_result: int, ended: Callable[[Report], None]) -> None:
        """Runs an `async def` handler and tells `ended` how that went."""
        self.entered = True
        started = monotonic()
        try:
            task_type, arguments = self._prepare(types)
            if not task_type.is_async:  # it would block everybody; the worker knows another version of it
                raise NotRun(Report(self.job.key, Kind.MISMATCH))
            value = await task_type.call(self._context(Context), arguments)
        except BaseException as error:  # what escapes a task may end the loop, and with it everybody else's handlers
            report = self._failed(error, started)
        else:
            report = self._done(value, started, max_result)
        ended(report)

    def call(self, types: Types, max_result: int) -> Report:
        """Calls a `def` handler and says how that went."""
        started = monotonic()
        try:
            task_type, arguments = self._prepare(types)
            value = task_type.call(self._context(SyncContext), arguments)
        except BaseException as error:
            return self._failed(error, started)
        return self._done(value, started, max_result)

    def _prepare(self, types: Types) -> tuple[TaskType, dict[str, Any]]:
        """The type and the handler's arguments. Raises `NotRun`."""
        job = self.job
        task_type = types.get(job.type)
        if self.asked:
            raise NotRun(Report(job.key, Kind.UNSTARTED))
        if task_type is None:
            raise NotRun(Report(job.key, Kind.MISMATCH))
        try:
            return task_type, task_type.decode(job.payload)
        except InvalidPayload as error:
            if job.hash != task_type.info.hash:
                raise NotRun(Report(job.key, Kind.MISMATCH)) from error
            raise NotRun(Report(job.key, Kind.ERROR, error=invalid_payload(error))) from error

    def _context(self, cls: type[Ctx]) -> Ctx:
        job = self.job
        return cls(
            job.id,
            type=job.type,
            queue=job.queue,
            payload=job.payload,
            attempt=job.attempt,
            tags=job.tags,
            cancelled=self._is_asked,
        )

    def _is_asked(self) -> bool:
        return self.asked

    def _failed(self, error: BaseException, started: float) -> Report:
        if isinstance(error, NotRun):
            return error.report
        seconds = monotonic() - started
        if self.asked and isinstance(error, asyncio.CancelledError):
            return Report(self.job.key, Kind.CANCELLED, seconds=seconds)
        return Report(self.job.key, Kind.ERROR, error=fault_of(error), seconds=seconds)

    def _done(self, value: Any, started: float, max_result: int) -> Report:
        seconds = monotonic() - started
        result = encode_result(value, limit=max_result)
        if isinstance(result, Fault):
            return Report(self.job.key, Kind.ERROR, error=result, seconds=seconds)
        return Report(self.job.key, Kind.DONE, result, None, seconds)
