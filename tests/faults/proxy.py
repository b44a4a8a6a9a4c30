"""A TCP proxy that a test tells what to do to the connections through it.

with Proxy(redis.port) as proxy:
    Server(tmp_path, "--store", proxy.url("redis"))
    proxy.swallow()  # what is sent goes nowhere, and nobody is told
    proxy.pass_()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

CHUNK = 1 << 16  # bytes read at once
HURRY = 10.0  # seconds in which the proxy's own loop does what it is told
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST


class Proxy:
    """Listens on a free port of this machine and passes on to another. Every control holds for the connections there are, and
    for those to come; what was told before is forgotten."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.accepted = 0  # connections in all
        self._delay = 0.0
        self._swallow = False
        self._cut_after: int | None = None
        self._open: set[_Pair] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}/0"

    # -- what it can be told

    def pass_(self) -> None:
        """Pass everything on, at once. What was swallowed stays so."""
        self._do(self._become)

    def delay(self, seconds: float) -> None:
        """Every piece, in both directions, is passed on that much later."""
        self._do(lambda: self._become(delay=seconds))

    def swallow(self) -> None:
        """Half-open: connections are accepted and stay open, nothing is passed on in either direction."""
        self._do(lambda: self._become(swallow=True))

    def cut_after(self, answer: int) -> None:
        """The next connection whose target answers is reset after so many bytes of answers; 0: what was asked is done, and
        nothing comes back. Then all is passed on again."""
        self._do(lambda: self._become(cut_after=answer))

    def reset(self) -> None:
        """Every connection there is gets a RST. New ones are passed on."""
        self._do(lambda: (self._become(), self._reset_all()))

    def refuse(self) -> None:
        """Nobody listens any more, and every connection there is gets a RST."""
        self._do(lambda: (self._become(listen=False), self._reset_all()))

    @property
    def cutting(self) -> bool:
        """Whether a `cut_after` has not met its connection yet."""
        return self._cut_after is not None

    # -- life

    def __enter__(self) -> Self:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._thread.start()
        self._do(self._become)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HURRY)
        self._loop.run_until_complete(self._ended())
        self._loop.close()

    async def _ended(self) -> None:
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    # -- on the loop

    def _do(self, what: Callable[[], object]) -> None:
        """Have the loop do it, listening or not as that wants; returns when it is done."""

        async def done() -> None:
            what()
            await self._listen()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(HURRY)

    def _become(self, *, delay: float = 0.0, swallow: bool = False, cut_after: int | None = None, listen: bool = True) -> None:
        self._delay, self._swallow, self._cut_after, self._listening = delay, swallow, cut_after, listen

    async def _listen(self) -> None:
        if self._listening and self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        elif not self._listening and self._server is not None:
            self._server.close()
            self._server = None

    def _reset_all(self) -> None:
        for pair in list(self._open):
            pair.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _abort(writer)
            return
        pair = _Pair(writer, there[1])
        self._open.add(pair)
        ways = [self._pump(reader, there[1], pair, answers=False), self._pump(there[0], writer, pair, answers=True)]
        try:
            await asyncio.gather(*ways)
        finally:
            self._open.discard(pair)
            pair.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._swallow or pair.dead:
                    pair.dead = True  # a byte that is missing cannot be made good later
                    continue
                if answers and self._cut_after is not None:
                    data, self._cut_after = data[: self._cut_after], None
                    writer.write(data)
                    await asyncio.sleep(0)
                    pair.reset()
                    return
                writer.write(data)
                await writer.drain()
        pair.close()


class _Pair:
    """The two ends of a connection through the proxy."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self._writers = writers
        self.dead = False  # something of it was swallowed

    def reset(self) -> None:
        for writer in self._writers:
            _abort(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a RST."""
    end: socket.socket | None = writer.get_extra_info("socket")
    if end is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
