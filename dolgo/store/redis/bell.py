"""Hears of the commits of all processes: one connection that listens, and is made anew whenever it has ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dolgo.logs import SELDOM
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
        self._wire: Wire | None = None
        self._listens_to = 0  # of the server's connections, the one that was the newest when this one was made
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when every commit from now on is heard of. Raises Cut, Reply or OSError if that cannot be."""
        try:
            wire = await self._subscribe()
        except Reply as refused:
            if refused.code != "MOVED":
                raise
            wire = await self._subscribe()
        self._task = asyncio.create_task(self._run(wire), name="redis bell")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, wire: Wire) -> None:
        await self._listen(wire)
        tries = 0
        while True:
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0))
            try:
                await self._listen(await self._subscribe())
                tries = 0
            except (Cut, Reply, OSError) as error:
                level = logging.DEBUG if tries else logging.WARNING
                log.log(level, "The bell of %s is silent: %s.", self._server.address.shown, describe(error), extra=SELDOM)
                tries += 1

    async def _subscribe(self) -> Wire:
        """A connection that hears of every commit from now on."""
        self._listens_to = self._server.connections
        wire = await connect(self._server.address, self._server.node, self._told)
        try:
            await wire.send("SSUBSCRIBE", self._server.address.bell)
        except BaseException as error:
            if isinstance(error, Reply) and error.code == "MOVED":
                self._server.moved(error)
            wire.end(Cut("the bell is not listened to"))
            raise
        self._wire, self._heard_at = wire, asyncio.get_running_loop().time()
        self._gap()
        return wire

    async def _listen(self, wire: Wire) -> None:
        """Until the connection ends."""
        try:
            while not wire.ended.is_set():
                await self._ask(wire)
        finally:
            wire.end(Cut("the bell is not listened to any more"))

    async def _ask(self, wire: Wire) -> None:
        """Now and then: or nobody would notice a server that is gone without a word, or that commands go to another now."""
        try:
            async with asyncio.timeout(PING_EVERY):
                await wire.ended.wait()
        except TimeoutError:
            if asyncio.get_running_loop().time() - self._heard_at > DEAF_AFTER:
                wire.end(Cut("nothing was heard of the server"))
            elif self._listens_to != self._server.connections:
                wire.end(Cut("commands have a connection of their own again, perhaps to another server"))
            else:
                wire.tell("PING")

    def _told(self, message: Any) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if not isinstance(message, list):
            return
        if message[0] == b"smessage":
            self._hear(message[2])
        elif message[0] == b"sunsubscribe" and self._wire is not None:  # the slot has gone to another node of the cluster
            self._wire.end(Cut("the bell has moved"))

    def _hear(self, data: bytes) -> None:
        first, last, work, lasts, entries = _unpack(data)
        self._rung(first, last, work == 1, [(number, from_octets(entry)) for number, entry in zip(lasts, entries, strict=True)])
