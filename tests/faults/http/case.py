"""What a case is, and how its requests are put together."""

from __future__ import annotations

from typing import NamedTuple

MAX_PAYLOAD = 20_000  # bytes; the server of these cases is told so
MAX_BATCH = 100_000

HOST = b"Host: localhost\r\n"
TASK = b'{"type":"long_task","payload":{"seconds":0}}'
OPEN, CLOSED = False, True


class Case(NamedTuple):
    """What is sent, and what comes back: the statuses in order, and whether the connection is closed after the last."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    closed: bool
    bodiless: bool = False  # answers to HEAD
    slug: str = ""  # of the last answer


def request(line: bytes, *headers: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """A request; a header is given without its end of line."""
    return line + b"\r\n" + host + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def get(target: bytes, *headers: bytes) -> bytes:
    return request(b"GET " + target + b" HTTP/1.1", *headers)


def post(body: bytes, *headers: bytes, target: bytes = b"/tasks", length: bytes | None = None) -> bytes:
    """A submit, its length stated."""
    stated = b"Content-Length: " + (b"%d" % len(body) if length is None else length)
    return request(b"POST " + target + b" HTTP/1.1", stated, *headers, body=body)


def chunked(body: bytes, *headers: bytes, coding: bytes = b"chunked") -> bytes:
    """A submit whose body is sent as it stands, so with its chunks."""
    return request(b"POST /tasks HTTP/1.1", b"Transfer-Encoding: " + coding, *headers, body=body)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


END = b"0\r\n\r\n"
GOOD = post(TASK)
LIST = get(b"/types")
