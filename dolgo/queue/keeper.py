"""Keeps a session with a broker: begun anew whenever it has ended, after pauses that grow while it fails."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from dolgo.logs import SELDOM
from dolgo.queue.base import Gone

log = logging.getLogger("dolgo.queue")

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between two tries
CANCEL_AGAIN = 0.2  # seconds
LASTS = 5.0  # seconds a session has to last, or the pauses go on growing

# Returns or raises Gone when the session is over; calls its argument once it is of use.
Session = Callable[[Callable[[], None]], Awaitable[None]]


class Keeper:
    """`start` it, and `stop` it in the end."""

    def __init__(self, session: Session, *, what: str, shown: str) -> None:
        """`what` it is good for and which broker it is with, for the log."""
        self._session = session
        self._what = what
        self._shown = shown
        self.trouble: str | None = "it is not connected yet"
        self._down = False  # and that was said
        self._up_at = float("inf")  # of this session, on the loop's clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="queue")

    async def stop(self) -> None:
        """Calling it twice is harmless."""
        if self._task is not None:
            await put_an_end_to(self._task)
            self._task = None
        self.trouble = "it is closed"

    async def _run(self) -> None:
        tries = 0
        while True:
            self._up_at = float("inf")
            self._ended(await self._reason())
            lasted = asyncio.get_running_loop().time() - self._up_at >= LASTS
            tries = 0 if lasted else tries + 1
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0))

    async def _reason(self) -> str:
        """Why a session ended."""
        try:
            await self._session(self._up)
        except Gone as gone:
            return str(gone)
        except Exception:  # whatever it is: a broker must not stop the service, and the next session may go better
            log.exception("The session with the broker %s failed.", self._shown, extra=SELDOM)
            return "the log says why"
        return "the connection has ended"

    def _ended(self, reason: str) -> None:
        """Said once for an outage, however often it is tried."""
        self.trouble = reason
        if not self._down:
            log.error(  # what for is part of the wording, or only one of two that fail together would be said
                f"The broker %s cannot be used to {self._what}: %s. It is tried again, and tasks are found without it meanwhile.",
                self._shown, reason, extra=SELDOM,
            )  # fmt: skip
        self._down = True

    def _up(self) -> None:
        self._up_at, self.trouble = asyncio.get_running_loop().time(), None
        if self._down:
            log.warning(f"The broker %s can be used again to {self._what}.", self._shown, extra=SELDOM)
        self._down = False


async def put_an_end_to(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them until they have ended: `asyncio.wait_for`, which libraries use, loses a cancel that comes together with what
    it waits for."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
