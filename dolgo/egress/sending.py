"""A request to an address that was checked, of whose answer the head alone is read.

The answer comes from wherever somebody's URL leads, into a process that serves others: so little of it is read, by little code.
httpx would read interim answers (1xx) as long as they come, without a turn for anybody else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import NamedTuple

import httpx

from dolgo.egress.addresses import Allowed, resolve
from dolgo.egress.transport import place, trust

MOST_HEAD = 16 << 10  # bytes of a head
MOST_HEADS = 8  # the last of them has to be the answer

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")


class NotHttp(Exception):
    """What came back is no answer; the message says why, and repeats nothing of it."""


class Head(NamedTuple):
    """What an answer begins with."""

    status: int
    headers: dict[str, str]  # names in lower case; of one that is there twice the last


async def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Allowed) -> Head:
    """The head of the answer. The connection is closed then, and serves no other request: it was made for this host alone.

    Raises `PermissionError` for an address that is neither public nor allowed, `OSError` if nobody is reached, `NotHttp`, and
    `httpx.InvalidURL`. Timeouts are left to the caller."""
    parsed = httpx.URL(url)
    reader, writer = await _connected(parsed, allowed)
    try:
        request = _request(parsed, headers, len(body)) + body
        if writer.transport.is_closing():  # by then already; uvloop would call a write a mistake of ours
            raise NotHttp("it closed the connection without an answer")
        writer.write(request)
        return await _answer(reader)
    finally:
        writer.transport.abort()  # whatever else the receiver would send


async def _connected(url: httpx.URL, allowed: Allowed) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = place(url)
    addresses = await resolve(host, port, allowed)
    for address in addresses[:-1]:
        try:
            return await _connection(url, host, address, port)
        except OSError:
            continue  # a host with several addresses is there as long as one of them is
    return await _connection(url, host, addresses[-1], port)


async def _connection(url: httpx.URL, host: str, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if url.scheme == "https":
        name = host.rstrip(".")  # what the certificate is for
        return await asyncio.open_connection(address, port, ssl=trust(), server_hostname=name, limit=MOST_HEAD)
    return await asyncio.open_connection(address, port, limit=MOST_HEAD)


def _request(url: httpx.URL, headers: Mapping[str, str], length: int) -> bytes:
    lines = [b"POST %b HTTP/1.1" % url.raw_path, b"host: " + url.netloc, b"connection: close", b"content-length: %d" % length]
    lines += [f"{name}: {value}".encode() for name, value in headers.items()]
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise ValueError("a header would go on in the next line")
    return b"\r\n".join([*lines, b"", b""])


async def _answer(reader: asyncio.StreamReader) -> Head:
    for _ in range(MOST_HEADS):
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise NotHttp(
                "it closed the connection" + (" within its answer" if error.partial else " without an answer")
            ) from None
        except asyncio.LimitOverrunError:
            raise NotHttp(f"the head of its answer has more than {MOST_HEAD} bytes") from None
        first, *rest = raw[:-4].split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            raise NotHttp("its answer is not HTTP")
        if int(status[1]) >= 200:
            return Head(int(status[1]), dict(_header(line) for line in rest))
    raise NotHttp("it sends one interim answer after the other")


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip()
