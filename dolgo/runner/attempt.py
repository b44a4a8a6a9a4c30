"""One job as it runs in a child: decode, call the handler, say how it ended. The same for both kinds of children."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from time import monotonic
from typing import Any, NamedTuple, NoReturn, TypeVar

from dolgo import tracing
from dolgo.errors import InvalidPayload
from dolgo.runner.context import Context, SyncContext
from dolgo.runner.desk import CURRENT
from dolgo.runner.frames import Fault, Job, Kind, Report, Verb
from dolgo.runner.notebook import Notebook
from dolgo.runner.notes import Notes
from dolgo.runner.outcome import encode_result, fault_of, invalid_payload
from dolgo.runner.outlet import Outlet
from dolgo.runner.questions import Questions
from dolgo.runner.registry import TaskType
from dolgo.runner.signals import Fail, Retry, Stopped

Types = Mapping[str, TaskType]
Ctx = TypeVar("Ctx", Context, SyncContext)


class NotRun(Exception):
    """There is nothing more to be said of it than this report."""

    def __init__(self, report: Report) -> None:
        self.report = report


class Shared(NamedTuple):
    """What all jobs of a child have in common."""

    types: Types
    max_result: int  # bytes
    grace: float  # seconds between asking a thread to stop and giving it up
    is_single: bool
    outlet: Outlet
    notes: Notes
    questions: Questions


class Attempt:
    """A job that waits or runs. Nothing that a handler raises gets past it, `SystemExit` and its like included."""

    # Most of these are never touched in most jobs; those of the class cost a job nothing.
    asked = False  # the worker wants it stopped
    entered = False  # a task that is cancelled before its first step would run no line of ours, and report nothing
    task: asyncio.Task[None] | None = None
    thread: threading.Thread | None = None  # that its handler runs in, if it has one of its own
    _notebook: Notebook | None = None
    _over = False
    _outcome: asyncio.Future[tuple[Any, BaseException | None]] | None = None  # of the thread
    _exposed = False  # its `def` handler runs in the main thread
    _broken_into = False

    def __init__(self, job: Job, shared: Shared) -> None:
        self.job = job
        self._shared = shared

    # -- stopping

    def cancel(self) -> None:
        """Asks the handler to stop: once, because a second `CancelledError` would break into its clean-up."""
        if not self.asked:
            self.asked = True
            self.stop()

    def stop(self) -> None:
        """Breaks into a handler that runs as a task, and gives a thread its grace. Called on the loop."""
        if self.thread is not None:
            self._shared.questions.stop(self.job.key)
            asyncio.get_running_loop().call_later(self._shared.grace, self._abandon)
        elif self.task is not None and self.entered:
            self.task.cancel()

    @property
    def can_be_broken_into(self) -> bool:
        """Whether a `def` handler that is to stop runs in the main thread, and does not know yet."""
        return self.asked and self._exposed and not self._broken_into

    def break_into(self) -> NoReturn:
        """Raises `Stopped`. Called in the main thread, by a signal, once."""
        self._broken_into = True
        raise Stopped

    def _abandon(self) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result((None, NotRun(Report(self.job.key, Kind.ABANDONED))))

    # -- running

    async def run(self, ended: Callable[[Report], None]) -> None:
        """Runs an `async def` handler, or a `def` one in a thread, and tells `ended` how that went. In a context of its own."""
        self.entered = True
        CURRENT.set(self)
        started = monotonic()
        try:
            task_type, arguments = self._prepare()
            if task_type.alone and not self._shared.is_single:  # it would block everybody; the worker knows another version of it
                raise NotRun(Report(self.job.key, Kind.MISMATCH))
            with tracing.running(self.job):
                if task_type.is_async:
                    value = await task_type.call(self._context(Context) if task_type.takes_context else None, arguments)
                else:
                    value = await self._in_thread(task_type, arguments)
        except BaseException as error:  # what escapes a task may end the loop, and with it everybody else's handlers
            report = self._failed(error, started)
        else:
            report = self._done(value, started)
        self._close()
        ended(report)

    def call(self) -> Report:
        """Calls a `def` handler in the main thread, in a context of its own, and says how that went."""
        started = monotonic()
        CURRENT.set(self)
        try:
            value = self._call_exposed()
        except BaseException as error:
            report = self._failed(error, started)
        else:
            report = self._done(value, started)
        self._close()
        return report

    def _call_exposed(self) -> Any:
        try:
            self._exposed = True  # before it is seen whether it is to stop: the signal comes after that has been set
            task_type, arguments = self._prepare()
            with tracing.running(self.job):
                return task_type.call(self._context(SyncContext) if task_type.takes_context else None, arguments)
        finally:
            self._exposed = False

    async def _in_thread(self, task_type: TaskType, arguments: dict[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        ctx = self._context(SyncContext)

        def settle(value: Any, error: BaseException | None) -> None:
            if not outcome.done():  # else it was abandoned, and comes too late
                outcome.set_result((value, error))

        def work() -> None:
            value, error = None, None
            try:
                value = task_type.call(ctx, arguments)
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it
                loop.call_soon_threadsafe(settle, value, error)

        name = f"dolgo-{self.job.id}"
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name=name, daemon=True)
        thread.start()
        self._outcome, self.thread = outcome, thread
        value, error = await outcome
        if error is not None:
            raise error
        if self.asked:  # it saw that it was to stop, and did: what it returns is no result
            raise Stopped
        return value

    def _prepare(self) -> tuple[TaskType, dict[str, Any]]:
        """The type and the handler's arguments. Raises `NotRun`."""
        job = self.job
        task_type = self._shared.types.get(job.type)
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
            desk=self,
            extras=job.extras,
        )

    def _is_asked(self) -> bool:
        return self.asked

    # -- what its handler says meanwhile, from any thread

    def write(self, time: float, level: str, text: str) -> None:
        """Add a line to the log."""
        with self._shared.outlet.lock:
            if (notebook := self._open()) is not None:
                notebook.write(time, level, text)

    def print(self, time: float, stream: str, text: str) -> None:
        """Add to the log what was printed."""
        with self._shared.outlet.lock:
            if (notebook := self._open()) is not None:
                notebook.print(time, stream, text)

    def progress(self, value: bytes) -> None:
        """Replace how far it is."""
        with self._shared.outlet.lock:
            if (notebook := self._open()) is not None:
                notebook.progress(value)

    def ask(self, verb: Verb, *, name: str = "", body: bytes = b"", extras: bytes | None = None) -> Future[bytes]:
        """The worker's answer. Raises `RuntimeError` when the attempt is over, and `Stopped` in a thread that is to stop."""
        if self._over:
            raise RuntimeError("this attempt is over; what it left running can ask for nothing")
        if self.asked and self.thread is not None:
            raise Stopped
        return self._shared.questions.ask(self.job.key, verb, name=name, body=body, extras=extras)

    def _open(self) -> Notebook | None:
        """The notebook, which is about to change; None when there is nobody left to read it."""
        if self._over:
            return None
        if self._notebook is None:
            self._notebook = Notebook(self.job.key, self.job.attempt)
        self._shared.notes.changed(self._notebook)
        return self._notebook

    # -- ending

    def _close(self) -> None:
        self._over = True
        self.task = None  # whose context holds this
        if self._notebook is not None:
            self._shared.notes.close(self._notebook)

    def _failed(self, error: BaseException, started: float) -> Report:
        seconds = monotonic() - started
        match error:
            case NotRun():
                return error.report
            case Retry():
                return self._deferred(error, seconds)
            case Fail():
                return Report(self.job.key, Kind.FAIL, error=fault_of(error), seconds=seconds)
            case asyncio.CancelledError() | Stopped() if self.asked:
                return Report(self.job.key, Kind.CANCELLED, seconds=seconds)
        return Report(self.job.key, Kind.ERROR, error=fault_of(error), seconds=seconds)

    def _deferred(self, error: Retry, seconds: float) -> Report:
        """A class made from `Retry` may have left it without a delay, or with one that nobody has looked at."""
        try:
            delay = Retry(error.delay).delay
        except Exception as wrong:
            return Report(self.job.key, Kind.ERROR, error=fault_of(wrong), seconds=seconds)
        return Report(self.job.key, Kind.RETRY, error=fault_of(error), seconds=seconds, delay=delay)

    def _done(self, value: Any, started: float) -> Report:
        seconds = monotonic() - started
        result = encode_result(value, limit=self._shared.max_result)
        if isinstance(result, Fault):
            return Report(self.job.key, Kind.ERROR, error=result, seconds=seconds)
        return Report(self.job.key, Kind.DONE, result, None, seconds)
