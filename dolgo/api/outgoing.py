"""What a connection writes: gathered into few system calls, and seen off when the client may still be sending."""

from __future__ import annotations

import asyncio
from typing import Any


class Outgoing:
    """A transport that sends what is written in one turn of the loop with one system call.

    uvicorn writes an answer's head and body one by one, and each would be a packet of its own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        self.closing = False
        self.lingers = False  # whether the client may still be sending when this is closed

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Send what is written, then close.

        Closing a socket with bytes in it that nobody has read makes the kernel send a reset, which destroys an answer that the
        client has not read yet. So with `lingers` only this side is closed, and the owner of the connection reads on a while."""
        if self.closing:
            return
        self.closing = True
        self._flush()
        if self.lingers and not self._transport.is_closing():
            self._transport.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    def end(self) -> None:
        """Close both sides, once what was written is sent."""
        self.closing = True
        self._transport.close()

    def is_closing(self) -> bool:
        return self.closing or self._transport.is_closing()

    def _flush(self) -> None:
        if self._written:
            data, self._written = b"".join(self._written), []
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
