"""A single child: one job at a time, alone in its process, in the main thread.

A `def` handler may block it, use a core, or be killed with it, and harms nobody else. It is stopped by a SIGTERM to the group of
the process, so that what it has started hears of it as well, and the process ends with it. An `async def` handler comes here when
its type asks for it, or when it is suspected of having ended a loop child.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import queue
import signal
import socket
import threading
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

AGAIN = 0.01  # seconds until a signal that came at the wrong moment is sent again

log = logging.getLogger("dolgo.child")


class SingleChild:
    """The main thread runs handlers and reports; a daemon thread reads the link meanwhile."""

    def __init__(self, types: Types, setup: Setup, *, link: socket.socket, begun: memoryview, terminations: Terminations) -> None:
        self.outlet = Outlet(link)
        self._questions = Questions(self._ask)
        self._shared = Shared(types, setup.max_result, setup.grace, True, self.outlet, Notes(self.outlet), self._questions)
        self._link = link
        self._begun = begun
        self._terminations = terminations
        terminations.tell_first(self._break_into)
        self._attempts: dict[int, Attempt] = {}  # that wait or run
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._stopping = False
        self._current: Attempt | None = None  # whose `def` handler is called
        self._leaving = False  # the group was told to terminate
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._loop: asyncio.AbstractEventLoop | None = None  # made for the first `async def` handler, then kept

    def run(self) -> None:
        """Returns when the worker has said stop and the handler that ran has ended and is reported; ends the process when a
        handler that was told to stop has."""
        self._link.setblocking(True)
        threading.Thread(target=self._listen, name="dolgo-link", daemon=True).start()
        while (attempt := self._inbox.get()) is not None:
            self._end(attempt, self._report(attempt))
            if self._leaving:
                self._leave()
        self._runner.close()

    def _report(self, attempt: Attempt) -> Report:
        job = attempt.job
        if self._stopping or attempt.asked or job.start_by <= monotonic():
            return Report(job.key, Kind.UNSTARTED)
        self._begun[0] = job.key + 1
        task_type = self._shared.types.get(job.type)
        if task_type is not None and task_type.is_async:
            return self._run(attempt)
        self._current = attempt
        report = contextvars.copy_context().run(attempt.call)
        self._current = None
        return report

    def _end(self, attempt: Attempt, report: Report) -> None:
        del self._attempts[attempt.job.key]
        self.outlet.put(pack_ended([report]))
        self.outlet.drain()

    def _leave(self) -> None:
        """Nobody knows what the handler has left half done in this process, or a signal in what it started."""
        while True:
            try:
                attempt = self._inbox.get_nowait()
            except queue.Empty:
                break
            if attempt is not None:
                self._end(attempt, Report(attempt.job.key, Kind.UNSTARTED))
        leave()

    def _run(self, attempt: Attempt) -> Report:
        loop = self._loop = self._runner.get_loop()
        reports: list[Report] = []
        task = attempt.task = loop.create_task(attempt.run(reports.append))
        task.add_done_callback(lambda task: loop.stop())
        while not task.done():
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                pass  # from a task that the handler started: it comes to the handler too, if it waits for its task
        return reports[0]

    def _ask(self, data: bytes) -> None:
        self.outlet.put(data)
        self.outlet.drain()

    def _listen(self) -> None:
        """Runs in its own thread: a handler that blocks does not keep the end of the link from ending the process."""
        frames = from_parent()
        try:
            while data := self._link.recv(CHUNK):
                for frame in frames.feed(data):
                    self._take(frame)
        except BadFrame as error:  # the worker is of another version: better no child than one that misses jobs
            log.critical("the worker sent a malformed frame: %s", error)
        except OSError:
            pass  # as good as its end
        os._exit(LINK_LOST)

    def _take(self, frame: ToChild) -> None:
        match frame:
            case Run():
                for job in frame.jobs:
                    attempt = self._attempts[job.key] = Attempt(job, self._shared)
                    self._inbox.put(attempt)
            case Cancel():
                for key in frame.keys:
                    self._cancel(self._attempts.get(key))
            case Answers():
                self._questions.answered(frame.answers)
            case Stop():
                self._stopping = True
                self._terminations.obey()
                self._inbox.put(None)

    def _cancel(self, attempt: Attempt | None) -> None:
        """Safe at any moment of the main thread: whoever comes late sees `asked`, or is broken into by a signal or its loop."""
        if attempt is None or attempt.asked:
            return
        attempt.asked = True
        if attempt is self._current:
            self._leaving = True
            os.killpg(os.getpgrp(), signal.SIGTERM)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(attempt.stop)

    def _break_into(self) -> bool:
        """A SIGTERM has come: in the main thread, between any two lines of what runs there. Whether it is to come again."""
        if self._current is None or not self._current.can_be_broken_into:
            return False
        if not self.outlet.is_held:
            self._current.break_into()
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGTERM))
        again.daemon = True
        again.start()
        return True
