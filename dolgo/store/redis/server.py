"""The way to Redis, over outages: one connection that is made anew whenever it ends, and what the server's refusals mean."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import time
from typing import Any

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.redis.library import library
from dolgo.store.redis.url import Address
from dolgo.store.redis.wire import Cut, Late, Reply, Wire, connect

log = logging.getLogger("dolgo.store")

PATIENCE = 1.0  # seconds into an outage for which a call waits for its end; after that it fails at once
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between two tries to connect
BRIEF = 1.0  # seconds a connection has to last, or the next one is made after a pause
TRIES = 3  # of a call: one more for a library that was not there, one more for a connection that was cut or another node

# The first word of an error → what it means to those who wait. All of them pass, and nothing was done.
PASSING = {
    "OOM": "it is out of memory: give it more (maxmemory), or wait until tasks are done and pruned",
    "READONLY": "it has become a replica that takes no writes",
    "LOADING": "it is loading its data",
    "MISCONF": "it cannot save its data to disk and takes no writes (see its log)",
    "MASTERDOWN": "it has lost its master",
    "BUSY": "it is busy with a script that does not end",
    "CLUSTERDOWN": "its cluster is down",
    "NOREPLICAS": "too few of its replicas are there to take a write",
    "TRYAGAIN": "a slot is moving between nodes",
    "ASK": "a slot is moving between nodes",
    "NOAUTH": "it wants a password, or another one",
    "WRONGPASS": "it wants another user or password",
    "NOPERM": "its user may not do this",
    "UNBLOCKED": "it has become a replica",
}
ELSEWHERE = ("READONLY", "MASTERDOWN", "UNBLOCKED", "NOAUTH")  # a new connection may lead to a server that can do better


class Server:
    """Redis as the store sees it. `open` before, `close` after."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.node: tuple[str, int] | None = None  # of a cluster, the node that has the keys, if it is not the one named
        self.connections = 0  # made one after the other: who has one of his own sees that there is a new one
        self._wire: Wire | None = None
        self._up = asyncio.Event()
        self._down_since = time.monotonic()
        self._reason = "not connected yet"
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect once. Raises Cut, Reply or OSError if that cannot be."""
        self._wire = await connect(self.address, self.node)
        self.connections += 1
        self._up.set()
        self._keeper = asyncio.create_task(self._keep(), name="redis")

    async def close(self) -> None:
        """Let go of the connection. Calling it twice is harmless."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._wire is not None:
            self._wire.end(Cut("closed"))
        self._up.clear()
        self._reason = "closed"
        self._down_since = float("-inf")

    async def run(self, verb: str, asked: bytes, *, again: bool = False) -> list[Any]:
        """What a function of the library answers. `again`: doing it twice does no harm, so a cut connection need not show.

        Raises StoreUnavailable; and Reply, which would be a fault of the library."""
        name = f"{library().name}_{verb}"
        answer: list[Any] = await self.command("FCALL", name, 2, self.address.prefix, self.address.bell, asked, again=again)
        return answer

    async def command(self, *command: bytes | str | int | float, again: bool = False) -> Any:
        """The answer of a command, as `run`."""
        for tries_left in reversed(range(TRIES)):
            wire = await self._ready()
            try:
                return await wire.send(*command)
            except Cut as cut:
                if not again or isinstance(cut, Late) or not tries_left:
                    raise self._unavailable(str(cut)) from None
            except Reply as error:
                await self._refused(error, wire, last=not tries_left)
        raise AssertionError("the last try returns or raises")

    async def greet(self, *command: bytes | str | int | float) -> Any:
        """As `command`, once, and the server's own words if it refuses. Raises Cut and Reply."""
        assert self._wire is not None
        return await self._wire.send(*command)

    async def load(self) -> None:
        """Put the library into the server."""
        try:
            await self.greet("FUNCTION", "LOAD", library().code)
        except Reply as refused:
            if "already exists" not in str(refused):  # another process was quicker
                raise

    def moved(self, error: Reply) -> None:
        """The keys are on another node of the cluster."""
        host, _, port = str(error).split()[-1].rpartition(":")
        self.node = (host.strip("[]") or self.address.host, int(port))

    # -- refusals

    async def _refused(self, error: Reply, wire: Wire, *, last: bool) -> None:
        """Returns if the command may be sent again now, because nothing was done and what was in the way is not any more."""
        word = error.code
        if word == "MOVED" and not last:
            self.moved(error)
            wire.end(Cut("the keys are on another node"))
        elif "Function not found" in str(error) and not last:
            await self._load()
        elif reason := PASSING.get(word):
            if word in ELSEWHERE:
                wire.end(Cut(reason))
            raise self._unavailable(reason) from None
        else:
            raise error

    async def _load(self) -> None:
        try:
            await self.load()
        except Cut as cut:
            raise self._unavailable(str(cut)) from None
        except Reply as refused:
            raise self._unavailable(PASSING.get(refused.code, str(refused))) from None

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(f"The store {self.address.shown} cannot be used now: {reason}.")

    # -- the connection

    async def _ready(self) -> Wire:
        """The connection, once there is one."""
        if self._wire is None or self._wire.ended.is_set():
            self._noticed()
            left = self._down_since + PATIENCE - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._up.wait()
            except TimeoutError:
                raise self._unavailable(self._reason) from None
        assert self._wire is not None
        return self._wire

    def _noticed(self) -> None:
        """The connection has ended."""
        if self._wire is not None and self._up.is_set():
            self._up.clear()
            self._down_since, self._reason = time.monotonic(), str(self._wire.reason)

    async def _keep(self) -> None:
        """Make the connection anew whenever it has ended: at once, or after a pause if the one before did not last.

        A replica that takes no writes lets everybody in, and every write ends the connection."""
        brief = 0  # connections in a row
        while True:
            assert self._wire is not None
            since = time.monotonic()
            await self._wire.ended.wait()
            brief = brief + 1 if time.monotonic() - since < BRIEF else 0
            seldom = SELDOM if brief else None
            self._noticed()
            log.warning("The connection to %s has ended: %s.", self.address.shown, self._reason, extra=seldom)
            if brief:
                await _pause(brief - 1)
            await self._make_anew()
            self.connections += 1
            self._up.set()
            after = time.monotonic() - self._down_since
            log.warning("Connected to %s again, after %.1f s.", self.address.shown, after, extra=seldom)

    async def _make_anew(self) -> None:
        tries = 0
        while True:
            try:
                self._wire = await connect(self.address, self.node)
            except (Cut, Reply, OSError) as error:
                self._reason = describe(error)
                self.node = None
                if tries == 0 or tries % 30 == 0:
                    log.error("The store %s cannot be reached: %s. It is tried again.", self.address.shown, self._reason)
            else:
                return
            await _pause(tries)
            tries += 1


async def _pause(tries: int) -> None:
    await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0))


def describe(error: Exception) -> str:
    """Why a connection could not be made, in a few words without a full stop."""
    if isinstance(error, Reply):
        return PASSING.get(error.code, str(error))
    if isinstance(error, ssl.SSLError):  # its number is OpenSSL's
        return f"no encrypted connection could be made ({error.reason or error})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # less than 0: the name was not found
    return str(error).rstrip(".")
