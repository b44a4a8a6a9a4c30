"""Tells a broker of tasks that were stored, so that workers of other processes need not look for them.

Nobody waits for it and nothing depends on it: what cannot be told is found by the workers' own look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from dolgo.logs import SELDOM
from dolgo.metrics.catalog import PUBLISHED, UNPUBLISHED
from dolgo.metrics.tally import Tally
from dolgo.queue.base import Gone, Notice, Queue
from dolgo.task.types import NewTask

log = logging.getLogger("dolgo.queue")

MOST = 100  # notices of one line that wait. A worker that hears of one takes as many tasks as it can: of more, one need not hear
LINES = 1_000  # that something waits for
AT_ONCE = 16  # notices of one line in one go
BREATH = 0.005  # seconds between two goes: a notice costs 150 µs to publish, a submit 20

Line = tuple[str, str]  # queue, type


class Herald:
    """`start` it, and `stop` it in the end; `tell` it from the event loop."""

    def __init__(self, queue: Queue, tally: Tally) -> None:
        self._queue = queue
        self._tally = tally
        self._waiting: dict[Line, deque[str]] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._queue.open()
        self._task = asyncio.create_task(self._run(), name="herald")

    async def stop(self) -> None:
        """What was not told yet is found without. Calling it twice is harmless."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._queue.close()

    def tell(self, tasks: Iterable[NewTask]) -> None:
        """These were committed. Returns at once."""
        for task in tasks:
            line = (task.queue, task.type)
            ids = self._waiting.get(line)
            if ids is None:
                if len(self._waiting) >= LINES:
                    self._tally.count(UNPUBLISHED)
                    continue
                ids = self._waiting[line] = deque()
            if len(ids) < MOST:
                ids.append(task.id)
        self._some.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            notices = self._next()
            if not notices:
                self._some.clear()
                continue
            await self._publish(notices)
            await asyncio.sleep(BREATH)

    def _next(self) -> list[Notice]:
        """Some of every line, the oldest first."""
        notices = list[Notice]()
        for (queue, type), ids in list(self._waiting.items()):
            notices += [Notice(ids.popleft(), queue, type) for _ in range(min(AT_ONCE, len(ids)))]
            if not ids:
                del self._waiting[queue, type]
        return notices

    async def _publish(self, notices: list[Notice]) -> None:
        try:
            await self._queue.publish(notices)
            self._tally.count(PUBLISHED, by=len(notices))
        except Exception as error:  # whatever it is: a herald that ends in silence would be missed much later
            self._tally.count(UNPUBLISHED, by=len(notices))
            unknown = None if isinstance(error, Gone) else error
            log.warning("Workers could not be told of new tasks: %s.", error, exc_info=unknown, extra=SELDOM)
