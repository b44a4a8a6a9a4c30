"""A client made of a raw socket: sends any bytes in any pieces, and reads what comes back without trusting it."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

PATIENCE = 10.0  # seconds for an answer, or for the end of a connection
MOST_READ = 1_048_576
GONE = (BrokenPipeError, ConnectionResetError)


class Broken(AssertionError):
    """What came back is no HTTP, or did not come."""


class Response(NamedTuple):
    """One answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Wire:
    """One connection."""

    def __init__(self, port: int, *, timeout: float = PATIENCE, receive_buffer: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timeout = timeout
        self._read = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send piece by piece. A server that closes meanwhile is no failure: what it said is still to be read."""
        try:
            for piece in pieces:
                self.socket.sendall(piece)
        except GONE:
            pass

    def response(self, *, bodiless: bool = False) -> Response | None:
        """The next answer; None if the connection has ended before one began. Raises Broken."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        code = rest[:3]
        if version != b"HTTP/1.1" or not code.isdigit():
            raise Broken(f"no status line: {lines[0][:100]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        status = int(code)
        if bodiless or status in (204, 304) or status < 200:
            return Response(status, headers, b"")
        return Response(status, headers, self._exactly(int(headers[b"content-length"])))

    def end(self) -> bytes:
        """What comes until the server has closed. Raises Broken if it does not close."""
        while not self.ended:
            self._more()
        return self._read

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._read:
            if self.ended:
                if self._read:
                    raise Broken(f"the connection ended within a head: {self._read[:100]!r}")
                return None
            self._more()
        head, _, self._read = self._read.partition(mark)
        return head

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            if self.ended:
                raise Broken("the connection ended within a body")
            self._more()
        body, self._read = self._read[:size], self._read[size:]
        return body

    def _more(self) -> None:
        try:
            data = self.socket.recv(65_536)
        except TimeoutError:
            raise Broken(f"nothing came for {self._timeout:g} s after {self._read[:200]!r}") from None
        except GONE:
            data = b""
        self.ended = not data
        self._read += data
        if len(self._read) > MOST_READ:
            raise Broken("more came than any answer has")


def single(data: bytes) -> list[bytes]:
    """Data in pieces of one byte."""
    return [data[at : at + 1] for at in range(len(data))]


def answers_within(port: int, seconds: float) -> float:
    """How long a good request on a connection of its own takes. Raises Broken if it is longer, or no 200."""
    begun = time.monotonic()
    with Wire(port, timeout=seconds) as wire:
        wire.send([b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"])
        response = wire.response()
    took = time.monotonic() - begun
    if response is None or response.status != 200 or took > seconds:
        raise Broken(f"a good request was answered with {response} after {took:.3f} s")
    return took
