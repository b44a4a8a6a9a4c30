"""A reader of server-sent events that can be slow, be cut, and go on where it was: by its own hands, on a plain socket."""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

WITHIN = 20.0  # seconds in which what must come comes, on a busy machine


class Message(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    data: Any

    @property
    def seq(self) -> int:
        return int(self.id.rpartition("-")[2])


class Ended(Exception):
    """The stream is over; `clean` if it was ended, and not cut."""

    def __init__(self, *, clean: bool) -> None:
        super().__init__("ended" if clean else "cut")
        self.clean = clean


class Reader:
    """A stream that was asked for. `status` is the answer's."""

    def __init__(self, url: str, path: str, *, last: str = "", buffer: int = 0) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._socket = socket.socket()
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._socket.settimeout(WITHIN)
        self._socket.connect((parts.hostname, parts.port))
        resumed = f"Last-Event-ID: {last}\r\n" if last else ""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resumed}\r\n".encode())
        self._raw, self._text = b"", b""
        while b"\r\n\r\n" not in self._raw:
            self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.last = last

    def next(self, within: float = WITHIN) -> Message:
        """The next event that is more than a comment. Raises Ended, and TimeoutError."""
        deadline = time.monotonic() + within
        while True:
            while b"\n\n" not in self._text:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                self._chunk()
            block, _, self._text = self._text.partition(b"\n\n")
            lines = [line.partition(":") for line in block.decode().splitlines()]
            fields = {name: value.strip() for name, _, value in lines if name}
            self.last = fields.get("id", self.last)
            if "data" in fields:
                return Message(fields.get("id", self.last), fields["event"], json.loads(fields["data"]))

    def rest(self) -> tuple[list[Message], bool]:
        """Everything to the end, and whether the stream was ended rather than cut. Raises TimeoutError."""
        messages: list[Message] = []
        while True:
            try:
                messages.append(self.next())
            except Ended as ended:
                return messages, ended.clean

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _chunk(self) -> None:
        while b"\r\n" not in self._raw:
            self._receive()
        size, _, self._raw = self._raw.partition(b"\r\n")
        wanted = int(size, 16)
        while len(self._raw) < wanted + 2:
            self._receive()
        self._text += self._raw[:wanted]
        self._raw = self._raw[wanted + 2 :]
        if wanted == 0:
            raise Ended(clean=True)

    def _receive(self) -> None:
        try:
            came = self._socket.recv(65_536)
        except ConnectionError:
            came = b""
        if not came:
            raise Ended(clean=False)
        self._raw += came


def place(url: str) -> str:
    """Where the log ends, as a `Last-Event-ID`: what is submitted from now on comes after it."""
    with Reader(url, "/events") as reader:
        while not reader.last:
            try:
                reader.next(0.2)
            except TimeoutError:
                pass
        return reader.last
