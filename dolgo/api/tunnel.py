"""A connection on which something else than HTTP is spoken: bytes in, bytes out, both bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from dolgo.api.outgoing import Outgoing

MOST_UNREAD = 65_536  # bytes held that nobody has read; then the client has to wait


class Flow(Protocol):
    """How a connection is held back, and held up."""

    write_paused: bool

    async def drain(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Tunnel:
    """Both directions of a connection."""

    def __init__(self, out: Outgoing, flow: Flow, *, end: Callable[[], None]) -> None:
        self._out = out
        self._flow = flow
        self._end = end
        self._came = b""
        self._gone = False
        self._news = asyncio.Event()

    # -- for the connection

    def fed(self, data: bytes) -> None:
        """Bytes have come."""
        self._came += data
        if len(self._came) > MOST_UNREAD:
            self._flow.pause_reading()
        self._news.set()

    def gone(self) -> None:
        """The client has gone away."""
        self._gone = True
        self._news.set()

    # -- for who speaks

    async def read(self, timeout: float) -> bytes | None:
        """What has come, waiting for something; empty when the client is gone, None after `timeout` seconds of silence."""
        if not self._came and not self._gone:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except TimeoutError:
                return None
        came, self._came = self._came, b""
        self._flow.resume_reading()
        return came

    def write(self, data: bytes) -> None:
        if not self._gone and not self._out.is_closing():
            self._out.write(data)

    async def drain(self) -> None:
        """Return when the client has read enough for more to be written."""
        while self._flow.write_paused and not self._gone:
            await self._flow.drain()

    def close(self, *, at_once: bool = False) -> None:
        """Send what is written and close; the client has a moment to read it, unless it has to be over `at_once`."""
        if at_once:
            self._out.abort()
        elif not self._gone:
            self._end()


def switching(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The answer that ends HTTP on a connection."""
    return b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n"
