"""One open connection to Redis: commands go out in the order they were made, and are answered in it.

RESP is read and written by hiredis. A client of redis-py takes a connection for each command under way; here all share one, so
that what is sent in one turn of the loop is one packet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from dolgo.store.redis.url import Address

CONNECTS_WITHIN = 3.0  # seconds; one attempt that nobody answers must not outlast an outage by more
ANSWERS_WITHIN = 5.0  # seconds after which an answer is not waited for any more
LOOK_EVERY = 1.0  # seconds between two looks for late answers, while any is due
ALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2))  # a peer gone without a word is noticed in 15 s

Command = tuple[bytes | str | int | float, ...]


class Cut(Exception):
    """The connection has ended: whether a command without an answer was carried out is not known."""


class Late(Cut):
    """The server did not answer in time."""


class Reply(Exception):
    """The server refused a command. `code` is the first word of what it said."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.split(" ", 1)[0]


async def connect(address: Address, node: tuple[str, int] | None = None, told: Callable[[Any], None] | None = None) -> Wire:
    """A connection, authenticated and on its database; to another node of the cluster if one is named.

    `told` gets what the server says unasked, to a connection that listens. Raises Cut, Reply or OSError."""
    host, port = node or (address.host, address.port)
    try:
        async with asyncio.timeout(CONNECTS_WITHIN):
            loop = asyncio.get_running_loop()
            name = host if address.tls is not None else None
            _, wire = await loop.create_connection(lambda: Wire(told), host, port, ssl=tls_context(address), server_hostname=name)
            try:
                await _introduce(wire, address)
            except BaseException:
                wire.end(Cut("it was not let in"))
                raise
    except TimeoutError:
        raise Cut(f"no answer within {CONNECTS_WITHIN:g} s") from None
    return wire


async def _introduce(wire: Wire, address: Address) -> None:
    if address.password is not None:
        user = () if address.username is None else (address.username,)
        await wire.send("AUTH", *user, address.password)
    if address.db:
        await wire.send("SELECT", address.db)
    for wish in (("CLIENT", "SETNAME", "dolgo"), ("CLIENT", "NO-EVICT", "ON")):
        try:
            await wire.send(*wish)
        except Reply as refused:
            if refused.code == "NOAUTH":
                raise
            # else not every user may ask for it, and nothing depends on it


def tls_context(address: Address) -> ssl.SSLContext | None:
    """How to encrypt, None for not at all. Raises OSError for files that cannot be used."""
    if address.tls is None:
        return None
    options = address.tls
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    context.check_hostname = options.get("ssl_check_hostname", True) and options.get("ssl_cert_reqs", "required") != "none"
    context.verify_mode = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}[
        options.get("ssl_cert_reqs", "required")
    ]
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context


class Wire(asyncio.Protocol):
    """A connection in use by many. `ended` is set, and `reason` says why, once it cannot be used any more."""

    def __init__(self, told: Callable[[Any], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._told = told
        self._reader = hiredis.Reader(protocolError=Cut, replyError=Reply)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.ended = asyncio.Event()
        self.reason = Cut("not connected yet")

    def send(self, *command: bytes | str | int | float) -> asyncio.Future[Any]:
        """The answer to come. It fails with Reply if the server refuses, and with Cut if the connection ends before."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.ended.is_set():
            future.set_exception(self.reason)
            return future
        self._post(command)
        self._waiting.append((future, self._loop.time()))
        if self._watch is None:
            self._watch = self._loop.call_later(LOOK_EVERY, self._look_for_late)
        return future

    def tell(self, *command: bytes | str | int | float) -> None:
        """Send what `told` will hear the answer of."""
        if not self.ended.is_set():
            self._post(command)

    def end(self, reason: Cut) -> None:
        """Let go of it. Calling it twice is harmless."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(reason)
        self._waiting.clear()

    def _post(self, command: Command) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # it takes any number of them

    def _flush(self) -> None:
        """What was sent in one turn of the loop goes out together."""
        data, self._out = b"".join(self._out), []
        if self._transport is not None and not self.ended.is_set():
            self._transport.write(data)

    def _look_for_late(self) -> None:
        """One look now and then instead of a timer for each command."""
        self._watch = None
        if self._waiting and self._waiting[0][1] < self._loop.time() - ANSWERS_WITHIN:
            self.end(Late(f"it did not answer within {ANSWERS_WITHIN:g} s"))
        elif self._waiting:
            self._watch = self._loop.call_later(LOOK_EVERY, self._look_for_late)

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, seconds in ALIVE:
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                self._answered(answer)
        except Cut as broken:
            self.end(broken)

    def connection_lost(self, error: Exception | None) -> None:
        self.end(Cut(str(error) if error else "the server closed the connection"))

    def _answered(self, answer: Any) -> None:
        if not self._waiting:
            if self._told is not None:
                self._told(answer)
            return
        future, _ = self._waiting.popleft()
        if future.done():  # its caller has given up
            return
        if isinstance(answer, Reply):
            future.set_exception(answer)
        else:
            future.set_result(answer)
