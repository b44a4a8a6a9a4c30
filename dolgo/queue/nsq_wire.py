"""One connection to an nsqd: version 2 of NSQ's protocol, as https://nsq.io/clients/tcp_protocol_spec.html has it.

A command is a line, some with a body behind it. What comes back are frames: an answer to the oldest command that has one, a
message, or an error.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from dolgo.queue.base import Gone

MAGIC = b"  V2"
ANSWER, ERROR, MESSAGE = range(3)  # kinds of frames
LARGEST = 16 << 20  # bytes of a frame; nsqd sends none that is larger than a message may be
ANSWERS_WITHIN = 5.0  # seconds
HEARTBEAT = 5.0  # seconds between two of nsqd's
DEAF_AFTER = 12.5  # seconds without a word after which it is gone
HEAD = struct.Struct(">II")  # size of what follows the first number, and the kind of frame
# The time it was published and the tries so far come before the id; neither is of use here.
ID, BODY = slice(10, 26), slice(26, None)
HARMLESS = ("E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED")  # nsqd has given the message to another by now


class Address(NamedTuple):
    """Where an nsqd listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Wire:
    """A connection. `connect` makes one, and `ended` returns when it cannot be used any more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Callable[[bytes, bytes], None]) -> None:
        self._reader = reader
        self._writer = writer
        self._heard = heard
        self._waiting = deque[asyncio.Future[bytes]]()
        self._over: Gone | None = None
        self._reading = asyncio.create_task(self._read(), name="nsq")
        self.server: dict[str, Any] = {}  # what nsqd says of itself

    # -- commands

    async def identify(self) -> None:
        wishes = {
            "client_id": "dolgo", "user_agent": "dolgo", "feature_negotiation": True, "heartbeat_interval": int(HEARTBEAT * 1000),
            "output_buffer_size": -1,  # or nsqd keeps a message for a quarter of a second, in case more come
        }  # fmt: skip
        answer = await self._ask(b"IDENTIFY\n" + sized(msgspec.json.encode(wishes)))
        self.server = msgspec.json.decode(answer) if answer.startswith(b"{") else {}

    async def publish(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Return when nsqd has them all."""
        many = struct.pack(">I", len(bodies)) + b"".join(map(sized, bodies))
        await self._ask(f"MPUB {topic}\n".encode() + sized(many))

    async def subscribe(self, topic: str, channel: str) -> None:
        """Messages come from now on, as many as `ready` says."""
        await self._ask(f"SUB {topic} {channel}\n".encode())

    def ready(self, count: int) -> None:
        """So many messages may be on their way here."""
        self._send(f"RDY {count}\n".encode())

    def finish(self, id: bytes) -> None:
        self._send(b"FIN " + id + b"\n")

    def requeue(self, id: bytes) -> None:
        """Somebody else is to have it, at once."""
        self._send(b"REQ " + id + b" 0\n")

    # -- life

    async def ended(self) -> None:
        """Raises Gone, which says why, when it cannot be used any more."""
        await asyncio.wait({self._reading})
        if not self._reading.cancelled() and (fault := self._reading.exception()) is not None:
            raise fault
        raise self._over or Gone("it was closed")

    async def close(self) -> None:
        """Calling it twice is harmless."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._end("it was closed")
        self._writer.close()
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):  # it is gone anyway
            pass

    async def _ask(self, command: bytes) -> bytes:
        """The answer. Raises Gone."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._send(command)
        if self._over is not None:
            raise self._over
        self._waiting.append(answer)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                return await answer
        except TimeoutError:
            self._end(f"it did not answer within {ANSWERS_WITHIN:g} s")
            self._reading.cancel()  # the next answer would be taken for another's
            raise Gone(f"it did not answer within {ANSWERS_WITHIN:g} s") from None

    def _send(self, data: bytes) -> None:
        if self._over is None:
            self._writer.write(data)

    def _end(self, reason: str) -> None:
        if self._over is None:
            self._over = Gone(reason)
        while self._waiting:
            if not (answer := self._waiting.popleft()).done():
                answer.set_exception(self._over)

    async def _read(self) -> None:
        try:
            while True:
                async with asyncio.timeout(DEAF_AFTER):
                    size, kind = HEAD.unpack(await self._reader.readexactly(HEAD.size))
                    if not 4 <= size <= LARGEST:
                        raise Gone("what answers there is no nsqd")
                    self._frame(kind, await self._reader.readexactly(size - 4))
        except asyncio.IncompleteReadError:
            self._end("the connection was closed")
        except TimeoutError:
            self._end(f"nothing was heard of it for {DEAF_AFTER:g} s")
        except OSError as error:
            self._end(describe(error))
        except Gone as gone:
            self._end(str(gone))

    def _frame(self, kind: int, data: bytes) -> None:
        if kind == MESSAGE:
            self._heard(data[ID], data[BODY])
        elif kind == ANSWER and data == b"_heartbeat_":
            self._send(b"NOP\n")
        elif kind == ERROR and not data.decode(errors="replace").startswith(HARMLESS):
            raise Gone(data.decode(errors="replace"))
        elif kind == ANSWER and self._waiting and not (answer := self._waiting.popleft()).done():
            answer.set_result(data)


async def connect(address: Address, heard: Callable[[bytes, bytes], None] = lambda id, body: None) -> Wire:
    """A connection that has introduced itself; `heard` is called with the id and the body of each message. Raises Gone."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            reader, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        raise Gone(f"it did not answer within {ANSWERS_WITHIN:g} s") from None
    except OSError as error:
        raise Gone(describe(error)) from error
    writer.write(MAGIC)
    wire = Wire(reader, writer, heard)
    try:
        await wire.identify()
    except BaseException:
        await wire.close()
        raise
    return wire


def describe(error: OSError) -> str:
    """Why, in a few words without a full stop."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)  # a name that was not found has a number less than 0


def sized(data: bytes) -> bytes:
    """With its length before it."""
    return struct.pack(">I", len(data)) + data
