"""Hears of the commits of all processes: one connection that listens, and is made anew whenever it has ended.

What is heard says only that something happened. Behind it stands a poll, which asks the server at the same time whether it is
still there: a notice that was lost costs a worker two seconds.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable

from asyncpg import Connection

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.postgres.link import connect, pause
from dolgo.store.postgres.refusals import Failure, Unfit, describe
from dolgo.store.postgres.server import Server
from dolgo.store.postgres.sql import QUERIES

log = logging.getLogger("dolgo.store")

POLL_EVERY = 2.0  # seconds between two looks for what the bell did not tell
POLLED_WITHIN = 3.0  # seconds after which the server is not there
RING_EVERY = 0.005  # seconds between two notices of a process: commits that send one wait for each other on the whole server

# The newest event, and whether there may be work (None: if there was an event that was not heard of).
Heard = Callable[[int, bool | None], None]


class Ringing:
    """What this process has to tell the others: now with a commit, or soon by itself. All on the loop."""

    def __init__(self, server: Server) -> None:
        self.name = secrets.token_hex(4)  # by which this process knows its own notices
        self._server = server
        self._last = 0  # the newest event that was committed
        self._work = False  # something may have become claimable that nobody was told of
        self._told_at = -math.inf  # monotonic
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    def due(self, work: bool) -> str | None:
        """How the notice begins that goes with the next commit, the number of its last event being the rest. None: none does."""
        return self._notice(self._work or work) if time.monotonic() - self._told_at >= RING_EVERY else None

    def committed(self, last: int, work: bool, *, told: bool, pressing: bool) -> None:
        """A commit was made, of events up to `last` (0: none); a notice went with it, or is sent soon: as soon as may be if it is
        pressing, or else with what comes next, which most times is."""
        self._last = max(self._last, last)
        if told:
            self._work = False
            self._told_at = time.monotonic()
            self._stop()
            return
        self._work = self._work or work
        wait = max(0.0, self._told_at + RING_EVERY - time.monotonic()) if pressing else RING_EVERY
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > loop.time() + wait:
            self._stop()
            self._timer = loop.call_later(wait, self._soon)

    async def close(self) -> None:
        """Wait for what is being told. Calling it twice is harmless."""
        self._stop()
        if self._telling is not None:
            await asyncio.gather(self._telling, return_exceptions=True)

    def _notice(self, work: bool) -> str:
        return f"{self.name} {work:d}"

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _soon(self) -> None:
        self._timer = None
        self._told_at = time.monotonic()
        notice, self._work = f"{self._notice(self._work)} {self._last}", False
        self._telling = asyncio.create_task(self._tell(notice))

    async def _tell(self, notice: str) -> None:
        try:
            await self._server.reader.run("ring", self._server.address.channel, notice)
        except StoreUnavailable:  # whoever listens has lost the server too, and looks when it is back
            log.debug("The bell of %s could not be rung.", self._server.address.shown)


class Listener:
    """Calls `heard` for the commits of other processes, and whenever some may have been missed."""

    def __init__(self, server: Server, ringing: Ringing, heard: Heard) -> None:
        self._server = server
        self._own = ringing.name
        self._heard = heard
        self._ended = asyncio.Event()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when every commit from now on is heard of. Raises as `connect`."""
        await self._listen()
        self._task = asyncio.create_task(self._run(), name="postgresql bell")

    async def close(self) -> None:
        """Listen no more. Calling it twice is harmless."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def _listen(self) -> None:
        self._ended.clear()
        self._connection = await connect(self._server.address)
        self._connection.add_termination_listener(lambda _: self._ended.set())
        await self._connection.add_listener(self._server.address.channel, self._notified)
        self._heard(await self._newest(), True)

    async def _newest(self) -> int:
        assert self._connection is not None
        async with asyncio.timeout(POLLED_WITHIN):
            return int(await self._connection.fetchval(QUERIES["newest"]))

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                if tries:
                    await self._listen()
                    tries = 0
                await self._poll()
            except (*Failure, Unfit) as error:
                level = logging.DEBUG if tries else logging.WARNING
                log.log(level, "The bell of %s is silent: %s.", self._server.address.shown, describe(error), extra=SELDOM)
                if self._connection is not None:
                    self._connection.terminate()
            await asyncio.sleep(pause(tries))
            tries += 1

    async def _poll(self) -> None:
        """Until the connection ends. Raises what ended it."""
        while True:
            try:
                async with asyncio.timeout(POLL_EVERY):
                    await self._ended.wait()
            except TimeoutError:
                pass
            self._heard(await self._newest(), None)

    def _notified(self, _connection: object, _pid: int, _channel: str, notice: object) -> None:
        name, work, last = str(notice).split(" ")
        if name != self._own:
            self._heard(int(last), work == "1")
