"""`GET /ws`: many streams of events over one WebSocket (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import functools
import logging
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol
from websockets.utils import accept_key

from dolgo.api import guard
from dolgo.api.access.caller import Caller
from dolgo.api.call import Call, Reply, Upgraded
from dolgo.api.parts import Api
from dolgo.api.problem import refusal
from dolgo.api.stream import AGAIN, AT_ONCE, shown
from dolgo.api.tunnel import Tunnel
from dolgo.errors import NotFound, Refused, UpgradeRequired
from dolgo.logs import SELDOM
from dolgo.task.allowed import Name
from dolgo.task.feed import Wanted
from dolgo.task.follow import Batch, Follow, Stream, beginning, place
from dolgo.task.manager import Manager

log = logging.getLogger("dolgo.api")

LARGEST = 65_536  # bytes of a message, in one frame or several
MOST_SUBSCRIPTIONS = 100  # of one socket
BURST, RATE = 200.0, 50.0  # frames that may come at once, and a second
PING = 20.0  # seconds of silence after which we ask whether somebody is there
SILENCE = 60.0  # seconds of it after which nobody is
FAREWELL = 1.0  # seconds to answer that we close, when the service stops
GOING_AWAY, BAD_TEXT, POLICY = 1001, 1007, 1008  # close codes

Id = Annotated[str, Meta(min_length=1, max_length=100)]
After = Annotated[int, Meta(ge=0, le=10**18 - 1)] | Annotated[str, Meta(max_length=60)]


class Subscribe(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="subscribe"):
    """Send me what happens, under this id."""

    id: Id
    task: Id | None = None
    type: Name | None = None
    queue: Name | None = None
    after: After | None = None


class Unsubscribe(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="unsubscribe"):
    """No more of that."""

    id: Id


class Ping(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="ping"):
    """Are you there?"""


class Told(Struct, frozen=True):
    """What the server says that is no event."""

    op: str
    sub: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    next: int | UnsetType = UNSET


class _Wrong(Exception):
    """A message that cannot be followed: a sentence for who sent it."""


_read = msgspec.json.Decoder(Subscribe | Unsubscribe | Ping).decode
_encode = msgspec.json.Encoder().encode


async def open_socket(api: Api, call: Call) -> Reply:
    """A WebSocket, for streams of events: `subscribe`, `unsubscribe` and `ping` go in, `event` comes out.

    Not for pages of other sites: `Origin` must name this one."""
    headers = call.headers
    guard.check_origin(headers)
    key = headers.get(b"sec-websocket-key", b"").strip()
    asked = b"websocket" in headers.get(b"upgrade", b"").lower() and headers.get(b"sec-websocket-version", b"").strip() == b"13"
    if call.upgrade is None or not asked or not _is_key(key):
        refused = UpgradeRequired("This address speaks WebSocket, version 13: connect with a WebSocket client.")
        return refusal(refused, ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")))
    answer = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"))
    accepted = (b"sec-websocket-accept", accept_key(key.decode()).encode())
    return Upgraded(lambda tunnel: Session(api.follow, api.manager, tunnel, call.caller).run(), (*answer, accepted))


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


class Session:
    """One socket: reads what the client wants, and sends it."""

    def __init__(self, follow: Follow, manager: Manager, tunnel: Tunnel, caller: Caller) -> None:
        self._follow = follow
        self._manager = manager
        self._tunnel = tunnel
        self._caller = caller
        self._protocol = Protocol(SERVER, max_size=LARGEST)
        self._streams: dict[str, Stream] = {}
        self._part = b""  # of a message that is not complete
        self._allowance = BURST
        self._now = asyncio.get_running_loop().time
        self._heard = self._counted = self._now()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until the client goes away, breaks the rules, or the service stops."""
        self._follow.at_close(self._news.set)
        listening, sending = (asyncio.create_task(each) for each in (self._listen(), self._send_events()))
        try:
            await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():  # the service stops: whoever is there answers the farewell
                await asyncio.wait({listening}, timeout=FAREWELL)
        except asyncio.CancelledError:
            self._protocol.fail(POLICY, "not let in any more")
            raise
        finally:
            self._follow.not_at_close(self._news.set)
            frozen = sending.done() and not listening.done()
            await self._end(listening, sending)
            self._flush()
            self._tunnel.close(at_once=frozen)

    async def _end(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("A WebSocket cannot go on.", exc_info=error)
        for stream in self._streams.values():
            stream.close(self._news.set)

    # -- what comes

    async def _listen(self) -> None:
        while not self._protocol.close_expected():
            data = await self._tunnel.read(PING)
            if data == b"":
                return
            if data is None:
                if self._now() - self._heard > SILENCE:
                    return
                self._protocol.send_ping(b"")
            else:
                self._heard = self._now()
                self._protocol.receive_data(data)
                await self._take()
            self._flush()
            await self._tunnel.drain()
        if self._protocol.close_sent is not None and self._protocol.close_sent.code not in (1000, GOING_AWAY):
            log.info("A WebSocket was closed: %s", self._protocol.close_sent, extra=SELDOM)

    async def _take(self) -> None:
        for frame in self._protocol.events_received():
            assert isinstance(frame, Frame)
            if not self._may_come():
                self._say(Told("error", error=f"More than {RATE:g} messages a second are too many."))
                self._protocol.fail(POLICY, "too many messages")
                return
            message = self._complete(frame)
            if message is not None:
                await self._follow_up(message, binary=frame.opcode is Opcode.BINARY)
            if self._protocol.close_expected():
                return

    def _may_come(self) -> bool:
        now = self._now()
        self._allowance = min(BURST, self._allowance + (now - self._counted) * RATE) - 1.0
        self._counted = now
        return self._allowance >= 0.0

    def _complete(self, frame: Frame) -> bytes | None:
        """The message that ends with a frame."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return None
        self._part += frame.data
        if not frame.fin:
            return None
        message, self._part = self._part, b""
        return message

    async def _follow_up(self, message: bytes, *, binary: bool) -> None:
        """Do what a message asks for; a bad one is answered with an error."""
        try:
            message.decode()
        except UnicodeDecodeError:
            if not binary:
                self._protocol.fail(BAD_TEXT, "not UTF-8")
                return
        try:
            match _read(message):
                case Subscribe() as asked:
                    await self._subscribe(asked)
                case Unsubscribe(id=id):
                    self._unsubscribe(id)
                case Ping():
                    self._say(Told("pong"))
        except (msgspec.MsgspecError, RecursionError, _Wrong, Refused) as error:
            self._say(Told("error", error=str(error)))

    async def _subscribe(self, asked: Subscribe) -> None:
        if asked.id in self._streams:
            raise _Wrong(f"There is a subscription {asked.id!r} already: unsubscribe first, or take another id.")
        if len(self._streams) >= MOST_SUBSCRIPTIONS:
            raise _Wrong(f"One socket has at most {MOST_SUBSCRIPTIONS} subscriptions.")
        after = None if asked.after is None else place(str(asked.after))
        if asked.after is not None and after is None:
            raise _Wrong("`after` must be the number of an event, or EPOCH-NUMBER.")
        look = None if asked.task is None else functools.partial(self._manager.get, asked.task)
        if look is not None:
            task = await look()
            if not self._caller.sees(task.type, task.queue):
                raise NotFound(f"There is no task {asked.task}.")
        wanted = Wanted(asked.task, asked.type, asked.queue, types=self._caller.types, queues=self._caller.queues)
        stream = await self._follow.open(wanted, after)
        try:
            began = stream.place
            events = [] if look is None or after is not None else await beginning(self._follow, stream, look)
        except BaseException:
            stream.close()
            raise
        self._say(Told("subscribed", asked.id, epoch=began.epoch or "", next=began.seq))
        self._send(asked.id, Batch(events, stream.place))
        self._streams[asked.id] = stream
        self._news.set()

    def _unsubscribe(self, id: str) -> None:
        stream = self._streams.pop(id, None)
        if stream is None:
            raise _Wrong(f"There is no subscription {id!r}.")
        stream.close(self._news.set)
        self._say(Told("unsubscribed", id))

    # -- what goes

    async def _send_events(self) -> None:
        while not self._follow.over:
            self._news.clear()
            ready = [(id, stream) for id, stream in self._streams.items() if stream.ready]
            for stream in self._streams.values() if not ready else ():
                stream.call(self._news.set)
            if not ready:
                await self._news.wait()
            for id, stream in ready:
                await self._send_one(id, stream)
        if not self._protocol.close_expected():
            self._protocol.send_close(GOING_AWAY, "the service stops")
            self._flush()

    async def _send_one(self, id: str, stream: Stream) -> None:
        try:
            batch = await stream.take(AT_ONCE)
        except Refused as error:
            log.warning("A WebSocket cannot go on for now: %s", error, extra=SELDOM)
            await asyncio.sleep(AGAIN)
            return
        if self._streams.get(id) is not stream:  # unsubscribed meanwhile
            return
        self._send(id, batch)
        self._flush()
        await self._tunnel.drain()
        await self._follow.rest(batch)

    def _send(self, id: str, batch: Batch) -> None:
        at = batch.place
        if batch.reset:
            self._say(Told("reset", id, epoch=at.epoch or "", next=at.seq))
        if batch.lagged:
            self._say(Told("lagged", id))
        named = _encode(id)
        for passed in batch.events:
            self._write(b'{"op":"event","sub":%b,"event":%b}' % (named, shown(passed)))

    def _say(self, told: Told) -> None:
        self._write(_encode(told))

    def _write(self, text: bytes) -> None:
        if not self._protocol.close_expected():
            self._protocol.send_text(text)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._tunnel.write(data)
