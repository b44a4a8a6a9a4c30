"""Plays mutated requests against a server, and judges what comes back and what is left behind."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.http.corpus import check
from tests.faults.http.mutate import Attempt, attempt
from tests.faults.http.wire import Broken, Response

AT_ONCE = 16  # connections
QUIET = 0.2  # seconds without an answer after which the rest of a request is taken to be missing
ENDS = 20.0  # seconds in which a server ends a connection that its client has ended
OVER = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass
class Figures:
    """What came of many attempts."""

    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)  # the attempt's number, and what was wrong


def run(port: int, seed: int, requests: int) -> Figures:
    """Figures of so many attempts."""
    figures = Figures()
    asyncio.run(_run(port, seed, iter(range(requests)), figures))
    return figures


def play(port: int, made: Attempt) -> list[Response]:
    """The answers to one attempt. Raises Broken."""
    return asyncio.run(_play(port, made))


async def _run(port: int, seed: int, numbers: Iterator[int], figures: Figures) -> None:
    async def one_by_one() -> None:
        for number in numbers:
            made = attempt(seed, number)
            figures.kinds[made.kind] += 1
            try:
                responses = await _play(port, made)
            except Broken as error:
                figures.failures.append((number, str(error)))
                continue
            figures.statuses.update([str(response.status) for response in responses] or ["no answer"])

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_by_one())


async def _play(port: int, made: Attempt) -> list[Response]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        said = await _say(reader, writer, made)
    finally:
        writer.transport.abort()
    responses = list(parsed(said))
    for response in responses:
        check(response)
    final = sum(response.status >= 200 for response in responses)
    if final > made.sent.upper().count(b"HTTP/") + 1:
        raise Broken(f"{final} answers to fewer requests")
    return responses


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, made: Attempt) -> bytes:
    """Send all of it, wait for the first answer, then close this side; all that came until the server closed its own."""
    said = b""
    try:
        for piece in made.pieces:
            writer.write(piece)
            await writer.drain()
        try:
            async with asyncio.timeout(QUIET):
                while OVER not in said.removeprefix(CONTINUE) and (more := await reader.read(65_536)):
                    said += more
        except TimeoutError:
            pass
        writer.write_eof()
        async with asyncio.timeout(ENDS):
            while more := await reader.read(65_536):
                said += more
    except TimeoutError:
        raise Broken(f"the connection was not closed within {ENDS:g} s after its client closed it") from None
    except OSError:
        pass  # reset: the server closed while more was on its way
    return said


def parsed(said: bytes) -> Iterator[Response]:
    """The answers in what came, each with a body of the length it states. Raises Broken."""
    while said:
        head, over, said = said.partition(OVER)
        line, *lines = head.split(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", line)
        if not over or found is None:
            raise Broken(f"no answer: {head[:200]!r}")
        status = int(found[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = 0 if status in (100, 204, 304) else int(headers[b"content-length"])
        if len(said) < length:
            raise Broken(f"an answer is cut short: {head[:200]!r}")
        yield Response(status, headers, said[:length])
        said = said[length:]


def rss(pid: int) -> int:
    """Bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def files(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
