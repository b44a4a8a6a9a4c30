"""One connection: uvicorn's, with deadlines and limits for clients that are slow, broken or up to no good.

A client sends a request's head, then its body, or is silent between two requests; each may take so long. What is no HTTP, or
too large, or too slow is answered once everything before it has been, and then the connection ends: where one request stops and
the next begins cannot be known any more."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import unquote

import httptools
from msgspec import Struct
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from dolgo.api import problem
from dolgo.api.outgoing import Outgoing
from dolgo.api.tunnel import Tunnel, switching
from dolgo.errors import HeadTooLarge, MalformedRequest, Refused, RequestTimeout, TargetTooLong

MOST_UNREAD = 65_536  # bytes of a head, of trailers, of anything that is not body
LONGEST_TARGET = 16_384  # bytes
MOST_HEADERS = 100
PIECE = 8_192  # bytes parsed at once: as many pipelined requests as fit in there wait in memory, and no more

_BETWEEN, _HEAD, _BODY = range(3)  # where in a request the client is
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)([/?].*|)")  # the form in which proxies are asked
_NOTED = frozenset({b"expect", b"transfer-encoding", b"content-length"})


class Patience(Struct, frozen=True):
    """How long a client may take. Seconds; looked at once a second."""

    head: float = 10.0  # for a whole request head, from its first byte
    idle: float = 75.0  # between two requests, and before the first: what proxies and browsers reckon with
    body: float = 30.0  # for a body, and as much more as its bytes take at `rate`
    rate: float = 65_536.0  # bytes a second
    unread: float = 30.0  # without reading anything of its answer
    parting: float = 2.0  # the same, when the server stops
    linger: float = 2.0  # to read the last answer while it is still sending


class Connection(HttpToolsProtocol):
    """A connection. `most` are open at once: a newcomer takes the place of those that have kept the server waiting longest."""

    def __init__(self, *arguments: Any, patience: Patience, most: float = math.inf, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._most = most
        self.since = self.loop.time()  # when the client's turn began, if it is its turn
        self._at = _BETWEEN
        self._unread = 0  # bytes since the last that were body, or ended a head
        self._body_size = 0
        self._held = b""  # not parsed yet: a pipelined request is answered first
        self._last: Refused | None = None  # what is answered last
        self._hosts = 0
        self._length = 0.0  # of the body; infinite where only its end will tell
        self._skipped = b""  # the header that frames a body which the parser skips
        self._active: RequestResponseCycle | None = None
        self._offered: RequestResponseCycle | None = None  # it may end HTTP here: what follows is held until it is answered
        self._tunnel: Tunnel | None = None  # what is spoken instead of HTTP
        self._left, self._stuck = 0, 0.0  # bytes not sent yet, and since when there were as many

    # -- the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._out = Outgoing(transport, self.loop)
        super().connection_made(self._out)  # type: ignore[arg-type]
        if len(self.connections) > self._most:
            make_room(self.connections, self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._active is not None and self._active is not self.cycle:  # uvicorn tells the newest request alone
            self._active.disconnected = True
            self._active.message_event.set()
        if self._tunnel is not None:
            self._tunnel.gone()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._left = 0
        super().pause_writing()

    def data_received(self, data: bytes) -> None:
        if self._out.closing or self._last is not None:
            return  # read so that the client sees its answer, and thrown away
        if self._tunnel is not None:
            self._tunnel.fed(data)
            return
        if self._at == _BETWEEN:
            self.since = self.loop.time()
        if self._offered is not None or self._held or self.pipeline or len(data) > PIECE:
            self._held += data
            self._go_on()
        else:
            self._parse(data)

    def _go_on(self) -> None:
        """Parse what is held, until a request has to wait for another."""
        data, self._held = memoryview(self._held), b""
        start = 0
        while start < len(data) and not self.pipeline and self._offered is None and self._last is None and not self._out.closing:
            self._parse(data[start : start + PIECE])
            start += PIECE
        if start < len(data) and self._last is None:
            self._held = bytes(data[start:])
            self.flow.pause_reading()

    def _parse(self, piece: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_as_before(bytes(piece[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, Refused) else MalformedRequest(f"This is not HTTP/1.1: {error}."))
        self._unread += len(piece)
        if self._unread > MOST_UNREAD:
            self._refuse(HeadTooLarge(f"The head or the trailers have more than the {MOST_UNREAD} bytes that are allowed."))

    def _go_on_as_before(self, rest: bytes) -> None:
        """An upgrade was offered, and is not taken. The parser believes that no body follows; if one does, another reads it."""
        if self._skipped:
            self.parser = httptools.HttpRequestParser(_Body(self))
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._parse(b"POST / HTTP/1.1\r\nconnection: close\r\n%b\r\n\r\n" % self._skipped)
            self._skipped = b""
        if self._offered is not None:
            self._held = rest + self._held
        elif rest:
            self._parse(rest)

    def _switch(self, headers: tuple[tuple[bytes, bytes], ...]) -> Tunnel:
        """Take the upgrade that the request under way offers: HTTP is over here."""
        assert self._offered is not None
        self._out.write(switching([*self.server_state.default_headers, *headers]))
        self._offered.disconnected = True  # uvicorn expects no answer any more
        self._tunnel = Tunnel(self._out, self.flow, end=lambda: self._end_with(None))
        held, self._held = self._held, b""
        self.flow.resume_reading()
        self._tunnel.fed(held)
        return self._tunnel

    # -- the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._at = _HEAD
        self._hosts = 0
        self._length = 0.0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._at != _HEAD:
            return  # a trailer: it must not pass for a header that was looked at
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name in _NOTED:
            self._note(name, value)
        self.headers.append((name, value))

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            value = value.strip(b" \t")
            if not value.isdigit():
                raise MalformedRequest("Content-Length is not a number.")
            self._length = float(value)
        elif name == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise MalformedRequest("The only Transfer-Encoding here is chunked.")
            self._length = math.inf
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        self._check_head(version)
        self._fill_scope(version)
        self._at, self._unread, self._body_size = _BODY, 0, 0
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        offers = self.parser.should_upgrade()
        if offers:
            keep_alive = self._decline_upgrade() and keep_alive
        before = self._active
        early = self._length > MOST_UNREAD or self.expect_100_continue
        self.cycle = (_Ending if early else RequestResponseCycle)(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if offers and version == "1.1" and self.scope["method"] == "GET" and not self._length:
            self._offered = self.cycle
            self.scope["extensions"] = {"dolgo.upgrade": self._switch}  # type: ignore[dict-item]
        if before is None or before.response_complete:
            self._begin(self.cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _check_head(self, version: str) -> None:
        if version not in ("1.1", "1.0"):
            raise MalformedRequest(f"This server speaks HTTP/1.1, not HTTP/{version}.")
        if self._hosts != 1 and (self._hosts or version == "1.1"):
            raise MalformedRequest("The head must have one Host.")
        if len(self.headers) > MOST_HEADERS:
            raise HeadTooLarge(f"The head has more than {MOST_HEADERS} headers.")
        if len(self.url) > LONGEST_TARGET:
            raise TargetTooLong(f"The target has more than {LONGEST_TARGET} bytes.")

    def _fill_scope(self, version: str) -> None:
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        target = self.url if self.url.startswith(b"/") else self._relative()
        raw_path, _, scope["query_string"] = target.partition(b"?")
        try:
            path = raw_path.decode("ascii")
        except UnicodeDecodeError:
            raise MalformedRequest("The target is not ASCII: percent-encode it.") from None
        scope["raw_path"] = raw_path
        scope["path"] = unquote(path) if "%" in path else path

    def _relative(self) -> bytes:
        """Path and query of a target that is none: a proxy's form, whose host wins over Host, or the `*` of OPTIONS."""
        if self.url == b"*":
            return self.url
        form = _ABSOLUTE.fullmatch(self.url)
        if form is None:
            raise MalformedRequest("The target is no path that begins with /.")
        authority, target = form.groups()
        self.headers[:] = [(name, authority if name == b"host" else value) for name, value in self.headers]
        return target if target.startswith(b"/") else b"/" + target

    def _decline_upgrade(self) -> bool:
        """Whether the connection can go on after this request."""
        if self.scope["method"] == "CONNECT":
            raise MalformedRequest("This server is no proxy.")
        if self._length:
            framing = [b": ".join(line) for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
            self._skipped = b"\r\n".join(framing)
        return not self._length

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self._body_size += len(body)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._skipped:
            return  # it only begins
        self._at = _BETWEEN
        self._unread = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # -- answers

    def _begin(self, cycle: RequestResponseCycle) -> None:
        self._active = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        if self._out.closing:
            return
        if self._offered is not None and self._offered.response_complete:
            self._offered = None
        if self.pipeline:
            self._begin(self.pipeline.pop()[0])
        elif self._last is not None:
            self._end_with(self._last)
        if not self.pipeline and self._last is None:
            self.flow.resume_reading()
            if self._held:
                self._go_on()

    def _refuse(self, error: Refused) -> None:
        """Answer what cannot be gone on with, in its turn; nothing after it is read."""
        if self._last is not None or self._out.closing:
            return
        self._last = error
        active = self._active
        if self.cycle is not active and self.cycle.more_body:
            self.pipeline.popleft()  # the refused one itself, not begun yet
        if active is None or active.response_complete:
            self._end_with(error if self._at != _BODY else None)  # of a body whose request is answered already nobody asks
        elif active.more_body:
            active.disconnected = True  # what waits for the body hears that there is none
            active.message_event.set()
            self._end_with(None if active.response_started else error)

    def _end_with(self, error: Refused | None) -> None:
        """Write a last answer and close, the client being heard out for a moment."""
        if error is not None:
            self.transport.write(_written(error, self.server_state.default_headers))
        self.since = self.loop.time()
        self._out.lingers = True
        self._out.close()

    # -- deadlines

    def look(self, now: float, *, parting: bool = False) -> None:
        """Called every second: end what takes too long. `parting`: the server stops."""
        if self.flow.write_paused or self._out.closing:
            self._look_at_what_is_left(now, self._patience.parting if parting else self._patience.unread)
        elif self.keeps_waiting():
            self._look_at_what_comes(now - self.since)

    def keeps_waiting(self) -> bool:
        """Whether it is the client's turn."""
        active = self._active
        if active is None or active.response_complete:
            return True
        return active is self.cycle and active.more_body and not self.flow.read_paused

    def give_up(self) -> None:
        """Close at once, without a word."""
        self._out.closing = True
        self.transport.abort()

    def _look_at_what_is_left(self, now: float, patience: float) -> None:
        left = self.transport.get_write_buffer_size()
        if left != self._left:
            self._left, self._stuck = left, now
        if left and now - self._stuck > patience:
            self.give_up()
        elif not left and self._out.closing and now - self.since > self._patience.linger:
            self._out.end()

    def _look_at_what_comes(self, waited: float) -> None:
        patience = self._patience
        if self._at == _HEAD and waited > patience.head:
            self._refuse(RequestTimeout(f"The head of the request did not come within {patience.head:g} seconds."))
        elif self._at == _BODY and waited > patience.body + self._body_size / patience.rate:
            self._refuse(RequestTimeout("The body of the request came too slowly."))
        elif self._at == _BETWEEN and waited > patience.idle:
            self._out.close()


class _Ending(RequestResponseCycle):
    """A request whose body is not read for nothing, or may never come: answered before its end, it is the connection's last."""

    async def send(self, message: Any) -> None:
        if self.more_body and not self.response_started:
            self.keep_alive = False
            self.transport.lingers = True  # type: ignore[attr-defined]
        await super().send(message)


class _Body:
    """What a parser tells that reads the body of a connection's request alone."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def make_room(connections: Collection[Connection], newcomer: Connection) -> None:
    """Close the fiftieth part of the connections that have kept the server waiting longest; the newcomer if there are none."""
    waiting = [connection for connection in connections if connection is not newcomer and connection.keeps_waiting()]
    waiting.sort(key=lambda connection: connection.since)
    for connection in waiting[: 1 + len(waiting) // 50] or [newcomer]:
        connection.give_up()


def _written(error: Refused, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A refusal as it goes over the wire."""
    answer = problem.refusal(error)
    lines = [
        *headers,
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    return b"".join([STATUS_LINE[answer.status], *(b"%b: %b\r\n" % line for line in lines), b"\r\n", answer.body])
