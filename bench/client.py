"""A load generator of our own: for an open loop, which wrk has not, and for a closed one where wrk is missing.

Prebuilt requests on kept connections, answers found by their content-length: all that one core needs to keep a server busy.
"""

from __future__ import annotations

import asyncio
import time
from typing import Self, cast
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct

BODY = b'{"type":"nothing","payload":{"n":5}}'
DONE = b'"done","result":5'
OPEN_CONNECTIONS = 64  # of an open loop; a request that finds none free waits, and its waiting counts
ENDS_WITHIN = 15.0  # seconds the last answers may take


class Sample(Struct):
    """What a client saw."""

    answers: int
    seconds: float
    bad: int  # answers that were not what was asked for
    latencies: list[float]  # seconds, sorted


def closed(url: str, *, connections: int, seconds: float, wait: bool) -> Sample:
    """Each connection asks anew as soon as it is answered."""
    return uvloop.run(_closed(url, connections, seconds, DONE if wait else b'"id"'))


def open_loop(url: str, *, rate: float, seconds: float, wait: bool) -> Sample:
    """One request every 1 / `rate` seconds, whatever became of those before; latencies count from when it was due."""
    return uvloop.run(_open(url, rate, seconds, DONE if wait else b'"id"'))


async def _closed(url: str, connections: int, seconds: float, wanted: bytes) -> Sample:
    crowd = await Crowd.of(connections, url, wanted)

    async def ask_on(lane: Lane) -> None:
        while (now := time.perf_counter()) < crowd.began + seconds:
            await crowd.ask(lane, since=now)

    async with asyncio.timeout(seconds + ENDS_WITHIN):
        await asyncio.gather(*(ask_on(lane) for lane in crowd.lanes))
    return crowd.sample()


async def _open(url: str, rate: float, seconds: float, wanted: bytes) -> Sample:
    crowd = await Crowd.of(OPEN_CONNECTIONS, url, wanted)
    free: asyncio.LifoQueue[Lane] = asyncio.LifoQueue()
    for lane in crowd.lanes:
        free.put_nowait(lane)

    async def ask(due: float) -> None:
        lane = await free.get()
        await crowd.ask(lane, since=due)
        free.put_nowait(lane)

    async with asyncio.timeout(seconds + ENDS_WITHIN), asyncio.TaskGroup() as asking:
        for number in range(int(rate * seconds)):
            due = crowd.began + number / rate
            if due > (now := time.perf_counter()):
                await asyncio.sleep(due - now)
            asking.create_task(ask(due))
    return crowd.sample()


class Crowd:
    """Connections, and what came back over them."""

    def __init__(self, lanes: list[Lane], wanted: bytes) -> None:
        self.lanes = lanes
        self._wanted = wanted
        self._latencies: list[float] = []
        self._bad = 0
        self.began = time.perf_counter()

    @classmethod
    async def of(cls, connections: int, url: str, wanted: bytes) -> Crowd:
        """So many connections, open; an answer without `wanted` in it is a bad one."""
        return cls([await Lane(url).open() for _ in range(connections)], wanted)

    async def ask(self, lane: Lane, *, since: float) -> None:
        """One request and its answer."""
        self._bad += self._wanted not in await lane.ask()
        self._latencies.append(time.perf_counter() - since)

    def sample(self) -> Sample:
        """The end: connections are closed."""
        took = time.perf_counter() - self.began
        for lane in self.lanes:
            lane.close()
        return Sample(len(self._latencies), took, self._bad, sorted(self._latencies))


class Lane(asyncio.Protocol):
    """A connection that carries one request at a time, opened anew where the server closed it for idleness."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        lines = (
            f"POST {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(BODY)}",
        )
        self._request = "\r\n".join((*lines, "", "")).encode() + BODY
        self._address = str(parts.hostname), parts.port or 80
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self._answer: asyncio.Future[bytes] | None = None

    async def open(self) -> Self:
        """Connected to the address that tasks are posted to."""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        return self

    async def ask(self) -> bytes:
        """The whole answer."""
        if self._transport is None:
            await self.open()
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            answer, self._got = self._got, b""
            self._answer.set_result(answer)
            self._answer = None

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None:
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))
