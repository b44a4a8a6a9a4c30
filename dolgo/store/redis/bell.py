"""Hears of the commits of all processes: one connection that listens, and is made anew whenever it has ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dolgo.store.redis.pack import from_octets
from dolgo.store.redis.server import PAUSES, Server, describe
from dolgo.store.redis.wire import Cut, Reply, Wire, connect

log = logging.getLogger("dolgo.store")

PING_EVERY = 2.0  # seconds between two questions whether the server is there
DEAF_AFTER = 5.0  # seconds without a word after which it is not

_unpack = msgspec.msgpack.Decoder(tuple[int, int, int, list[int], list[msgspec.Raw]]).decode

# The first and last event of a commit (0: none), whether there may be work, and the entries of the log if they came along, each
# with the number of its last event.
Rung = Callable[[int, int, bool, Sequence[tuple[int, bytes]]], None]


class Listener:
    """Calls `rung` for each commit, and `gap` when some may have been missed."""

    def __init__(self, server: Server, *, rung: Rung, gap: Callable[[], None]) -> None:
        self._server = server
        self._rung = rung
        self._gap = gap
        self._heard_at = 0.0
        self._subscribed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when every commit from now on is heard of."""
        self._task = asyncio.create_task(self._run(), name="redis bell")
        await self._subscribed.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        tries = 0
        while True:
            try:
                await self._listen()
                tries = 0
            except (Cut, Reply, OSError) as error:
                if isinstance(error, Reply) and error.code == "MOVED":
                    self._server.moved(error)
                log.debug("The bell of %s is silent: %s.", self._server.address.shown, describe(error))
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0))
            tries += 1

    async def _listen(self) -> None:
        """Until the connection ends."""
        loop = asyncio.get_running_loop()
        wire = await connect(self._server.address, self._server.node, self._told)
        try:
            await wire.send("SSUBSCRIBE", self._server.address.prefix + "bell")
            self._heard_at = loop.time()
            self._subscribed.set()
            self._gap()
            while not wire.ended.is_set():
                await self._ask(wire, loop)
        finally:
            wire.end(Cut("the bell is not listened to any more"))

    async def _ask(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        """Now and then: or nobody would notice a server that is gone without a word."""
        try:
            async with asyncio.timeout(PING_EVERY):
                await wire.ended.wait()
        except TimeoutError:
            if loop.time() - self._heard_at > DEAF_AFTER:
                wire.end(Cut("nothing was heard of the server"))
            else:
                wire.tell("PING")

    def _told(self, message: Any) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if isinstance(message, list) and message[0] == b"smessage":
            self._hear(message[2])

    def _hear(self, data: bytes) -> None:
        first, last, work, lasts, entries = _unpack(data)
        self._rung(first, last, work == 1, [(number, from_octets(entry)) for number, entry in zip(lasts, entries, strict=True)])
