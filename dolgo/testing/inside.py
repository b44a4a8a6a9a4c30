"""Runs attempts in this process, as a child would: `async def` handlers as tasks of the loop, `def` ones in threads."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Mapping

from msgspec import Struct

from dolgo.errors import Refused
from dolgo.runner.attempt import Attempt, Shared
from dolgo.runner.frames import Answer, Ask, Asks, Job, Kind, Report, Wrote, from_child
from dolgo.runner.notebook import Notebook
from dolgo.runner.notes import Notes
from dolgo.runner.outlet import Outlet
from dolgo.runner.questions import Questions
from dolgo.runner.registry import TaskType
from dolgo.task import notes as kept
from dolgo.task.manager import Manager
from dolgo.task.types import Lease
from dolgo.task.verdict import Ended, stopped

MAX_RESULT = 16 * 2**20  # bytes, as the setting has it if nothing else is said
GRACE = 5.0  # seconds, likewise


class Inside:
    """Attempts that run, and the ends of those that ran."""

    def __init__(self, types: Mapping[str, TaskType], manager: Manager, *, ended: Callable[[], None]) -> None:
        """`ended` is called, on the loop, whenever there is an end to be taken."""
        self._manager = manager
        self._on_end = ended
        self._loop = asyncio.get_running_loop()
        self._frames = from_child(MAX_RESULT)
        self._outlet = _Kept()
        self._questions = Questions(self._asked)
        self._shared = Shared(types, MAX_RESULT, GRACE, True, self._outlet, _AtTheEnd(self._outlet), self._questions)
        self._keys = itertools.count()
        self._aboard: dict[int, _Aboard] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.ends: list[Ended] = []
        self.notes = kept.Notes(manager)
        self.raised: dict[str, BaseException | None] = {}  # what the newest attempt of a task raised, by task

    def __len__(self) -> int:
        return len(self._aboard)

    def begin(self, lease: Lease) -> None:
        """Have an attempt run."""
        key = next(self._keys)
        job = Job(key, math.inf, lease.id, lease.type, lease.hash, lease.queue, lease.payload, lease.attempt, lease.tags,
                  lease.extras)  # fmt: skip
        attempt = _Watched(job, self._shared)
        aboard = self._aboard[key] = _Aboard(lease, attempt)
        attempt.task = self._loop.create_task(attempt.run(self._ended))
        if lease.timeout is not None:
            aboard.timer = self._loop.call_later(lease.timeout, self._time_out, aboard)

    def cancel(self, ids: set[str]) -> None:
        """Ask the handlers of these tasks to stop."""
        for aboard in self._aboard.values():
            if aboard.lease.id in ids:
                aboard.attempt.cancel()

    async def close(self) -> None:
        """Stop what runs; nobody is told how it ends."""
        tasks = [aboard.attempt.task for aboard in self._aboard.values() if aboard.attempt.task is not None]
        for aboard in list(self._aboard.values()):
            aboard.attempt.cancel()
        await asyncio.gather(*tasks, *self._answering, return_exceptions=True)

    def _time_out(self, aboard: _Aboard) -> None:
        aboard.timed_out = True
        aboard.attempt.cancel()

    def _ended(self, report: Report) -> None:
        aboard = self._aboard[report.key]
        if aboard.timer is not None:
            aboard.timer.cancel()
        self._read(self._outlet.take())
        del self._aboard[report.key]
        self.raised[aboard.lease.id] = aboard.attempt.raised
        asked = aboard.attempt.asked or report.kind is Kind.ABANDONED
        self.ends.append((aboard.lease, stopped(report, timed_out=aboard.timed_out) if asked else report))
        self._on_end()

    def _asked(self, data: bytes) -> None:
        """Called in any thread."""
        self._loop.call_soon_threadsafe(self._read, data)

    def _read(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            match frame:
                case Asks():
                    for ask in frame.asks:
                        task = self._loop.create_task(self._answer(ask))
                        self._answering.add(task)
                        task.add_done_callback(self._answering.discard)
                case Wrote():
                    for note in frame.notes:
                        self.notes.wrote(self._aboard[note.key].lease, note)

    async def _answer(self, ask: Ask) -> None:
        if (aboard := self._aboard.get(ask.key)) is None:  # it ended without waiting for the answer
            return
        try:
            answer = Answer(ask.number, await self._manager.ask(aboard.lease, ask))
        except Refused as error:
            answer = Answer(ask.number, None, str(error))
        self._questions.answered([answer])


class _Aboard(Struct):
    """An attempt that runs."""

    lease: Lease
    attempt: _Watched
    timed_out: bool = False
    timer: asyncio.TimerHandle | None = None


class _Watched(Attempt):
    """An attempt that keeps what its handler raised: a report only tells of it."""

    raised: BaseException | None = None

    def _failed(self, error: BaseException, started: float) -> Report:
        self.raised = error
        return super()._failed(error, started)


class _Kept(Outlet):
    """An outlet without a link: frames wait until they are taken."""

    def __init__(self) -> None:
        self._unsent = bytearray()
        self.lock = threading.RLock()

    def take(self) -> bytes:
        """What was put, which is forgotten."""
        with self.lock:
            data, self._unsent = bytes(self._unsent), bytearray()
            return data


class _AtTheEnd(Notes):
    """Notes that are sent when their attempt ends. Nobody looks before."""

    def changed(self, notebook: Notebook) -> None:
        """Nothing is sent yet."""
