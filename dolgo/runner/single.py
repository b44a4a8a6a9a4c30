"""A single child: one job at a time, alone in its process, in the main thread.

A `def` handler may block it, use a core, or be killed with it, and harms nobody else. An `async def` handler comes here when it
is suspected of having ended a loop child.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from time import monotonic

import uvloop

from dolgo.runner.attempt import Attempt, Types
from dolgo.runner.frames import (
    CHUNK,
    LINK_LOST,
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

log = logging.getLogger("dolgo.child")


class SingleChild:
    """The main thread runs handlers and reports; a daemon thread reads the link meanwhile."""

    def __init__(
        self, types: Types, setup: Setup, *, link: socket.socket, begun: memoryview, on_stop: Callable[[], None]
    ) -> None:
        self._types = types
        self._max_result = setup.max_result
        self._link = link
        self._begun = begun
        self._on_stop = on_stop
        self._attempts: dict[int, Attempt] = {}  # that wait or run
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._stopping = False
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._loop: asyncio.AbstractEventLoop | None = None  # made for the first `async def` handler, then kept

    def run(self) -> None:
        """Returns when the worker has said stop and the handler that ran has ended and is reported."""
        self._link.setblocking(True)
        threading.Thread(target=self._listen, name="dolgo-link", daemon=True).start()
        while (attempt := self._inbox.get()) is not None:
            report = self._report(attempt)
            del self._attempts[report.key]
            self._send(report)
        self._runner.close()

    def _report(self, attempt: Attempt) -> Report:
        job = attempt.job
        if self._stopping or attempt.asked or job.start_by <= monotonic():
            return Report(job.key, Kind.UNSTARTED)
        self._begun[0] = job.key + 1
        task_type = self._types.get(job.type)
        if task_type is not None and task_type.is_async:
            return self._run(attempt)
        return attempt.call(self._types, self._max_result)

    def _run(self, attempt: Attempt) -> Report:
        loop = self._loop = self._runner.get_loop()
        reports: list[Report] = []
        attempt.task = loop.create_task(attempt.run(self._types, self._max_result, reports.append))
        attempt.task.add_done_callback(lambda task: loop.stop())
        while not attempt.task.done():
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                pass  # from a task that the handler started: it comes to the handler too, if it waits for its task
        return reports[0]

    def _send(self, report: Report) -> None:
        try:
            self._link.sendall(pack_ended([report]))
        except OSError:
            os._exit(LINK_LOST)

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
                    attempt = self._attempts[job.key] = Attempt(job)
                    self._inbox.put(attempt)
            case Cancel():
                for key in frame.keys:
                    self._cancel(self._attempts.get(key))
            case Stop():
                self._stopping = True
                self._on_stop()
                self._inbox.put(None)

    def _cancel(self, attempt: Attempt | None) -> None:
        """Safe at any moment of the main thread: whoever comes late sees `asked`, or is broken into by its own loop."""
        if attempt is not None and not attempt.asked:
            attempt.asked = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(attempt.stop)
