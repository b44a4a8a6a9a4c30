"""The loop child: all `async def` handlers, as tasks on one event loop, and `def` handlers in threads beside it.

A handler that blocks the loop, or ends the process, harms this child's jobs only. The counter, written before a job begins, tells
the worker afterwards which ones those were.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

import uvloop

from dolgo.runner.attempt import Attempt, Shared, Types
from dolgo.runner.ending import Terminations, leave
from dolgo.runner.frames import (
    CHUNK,
    LINK_LOST,
    Answers,
    BadFrame,
    Cancel,
    Job,
    Kind,
    Report,
    Run,
    Setup,
    Stop,
    ToChild,
    from_parent,
    pack_ended,
)
from dolgo.runner.notes import Notes
from dolgo.runner.outlet import Outlet
from dolgo.runner.questions import Questions

log = logging.getLogger("dolgo.child")


class LoopChild:
    """Runs at most `slots` handlers at once; further jobs wait in the order they came."""

    def __init__(self, types: Types, setup: Setup, *, link: socket.socket, begun: memoryview, terminations: Terminations) -> None:
        self.outlet = Outlet(link)
        self._questions = Questions(self._send)
        notes = Notes(self.outlet, on_full=self._flush_soon)
        self._shared = Shared(types, setup.max_result, setup.grace, False, self.outlet, notes, self._questions)
        self._free = setup.slots
        self._link = link
        self._begun = begun
        self._terminations = terminations
        self._frames = from_parent()
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Attempt] = {}
        self._reports: list[Report] = []
        self._abandoned: list[threading.Thread] = []
        self._due = math.inf  # when the timer comes, by monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self._finished = False
        self._context = contextvars.copy_context()  # that each job begins with: one is often begun by the end of another

    def run(self) -> None:
        """Returns when the worker has said stop and everything that ran has ended and is reported; or ends the process then, if
        a thread runs on."""
        self._link.setblocking(False)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self._loop = runner.get_loop()
            self._loop.add_reader(self._link.fileno(), self._read)
            while not self._finished:
                try:
                    self._loop.run_forever()
                except (SystemExit, KeyboardInterrupt):
                    pass  # from a task that a handler started: it comes to the handler too, if it waits for its task
            if any(thread.is_alive() for thread in self._abandoned):
                leave()

    def _read(self) -> None:
        try:
            data = self._link.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os._exit(LINK_LOST)  # the worker is gone; nobody would hear how the handlers end
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except BadFrame as error:  # the worker is of another version: better no child than one that misses jobs
            log.critical("the worker sent a malformed frame: %s", error)
            os._exit(LINK_LOST)
        self._fill()

    def _take(self, frame: ToChild) -> None:
        match frame:
            case Run():
                self._waiting.extend(frame.jobs)
                self._wake_by(min((job.start_by for job in frame.jobs), default=math.inf))
            case Cancel():
                self._cancel(frozenset(frame.keys))
            case Answers():
                self._questions.answered(frame.answers)
            case Stop():
                self._stopping = True
                self._terminations.obey()
                self._loop.call_soon(self._flush)  # it sees whether there is anything left to wait for

    def _fill(self) -> None:
        """Begin what waits while there is a slot. Nothing begins while reports wait for the worker to read them: a result it
        cannot take yet needs no company, and the counter must not pass a job whose give-back may be lost with this process."""
        if self._stopping:
            self._give_back(lambda job: True)
        while self._waiting and self._free and not self.outlet.is_full:
            if self._waiting[0].start_by <= monotonic():
                self._give_back_late()
            else:
                self._begin(self._waiting.popleft())

    def _begin(self, job: Job) -> None:
        self._begun[0] = job.key + 1
        self._free -= 1
        attempt = self._running[job.key] = Attempt(job, self._shared)
        attempt.task = self._loop.create_task(attempt.run(self._ended), context=self._context.copy())

    def _ended(self, report: Report) -> None:
        attempt = self._running.pop(report.key)
        if report.kind is Kind.ABANDONED and attempt.thread is not None:
            self._abandoned.append(attempt.thread)
        self._free += 1
        if not self._reports:
            self._loop.call_soon(self._flush)
        self._reports.append(report)
        self._fill()

    def _cancel(self, keys: frozenset[int]) -> None:
        for key in keys & self._running.keys():
            self._running[key].cancel()
        self._give_back(lambda job: job.key in keys)

    def _give_back_late(self) -> None:
        now = monotonic()
        self._give_back(lambda job: job.start_by <= now)

    def _give_back(self, chosen: Callable[[Job], bool]) -> None:
        back = [job for job in self._waiting if chosen(job)]
        if back:
            self._waiting = deque(job for job in self._waiting if not chosen(job))
            self._reports.extend(Report(job.key, Kind.UNSTARTED) for job in back)
            self._flush()

    def _wake_by(self, due: float) -> None:
        """One timer for all that waits: it gives back what is too late even if no slot comes free."""
        if due < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._due = due
            self._timer = self._loop.call_later(max(0.0, due - monotonic()), self._on_due)

    def _on_due(self) -> None:
        self._due, self._timer = math.inf, None
        self._give_back_late()
        if self._waiting:
            self._wake_by(min(job.start_by for job in self._waiting))

    def _send(self, data: bytes) -> None:
        """Send a question, with others that are asked at the same time. Called from any thread."""
        self.outlet.put(data)
        self._flush_soon()

    def _flush_soon(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        """Send what has ended, at once: a crash in the next line of a handler must not take it along. Then what waits for all to
        be sent begins: the last notes of a job stand before its report, and hold up the next one until here."""
        if self._reports:
            self.outlet.put(pack_ended(self._reports))
            self._reports = []
        if not self.outlet.push():
            self._loop.add_writer(self._link.fileno(), self._on_room)
        elif self._stopping and not self._running:
            self._finished = True
            self._loop.stop()
        elif self._waiting and not self._stopping:
            self._fill()

    def _on_room(self) -> None:
        self._loop.remove_writer(self._link.fileno())
        self._flush()
