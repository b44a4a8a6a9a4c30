"""One request as a handler sees it, and the answer it gives: no more than a hot route can afford."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeVar

from msgspec import Struct

from dolgo.api.access.caller import Caller
from dolgo.errors import TooLarge, UnsupportedMediaType

T = TypeVar("T")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[bytes, bytes]
Header = tuple[bytes, bytes]

JSON = b"application/json"
LOOK_AFTER = 0.05  # seconds an answer may take before somebody looks whether the client is still there: most need no such look
LONGEST_LENGTH = 18  # digits of a Content-Length that is worth reading

# What JSON is sent under: said so, not said, or as curl and browsers say when nobody tells them.
TAKEN_AS_JSON = frozenset({JSON, b"", b"text/plain", b"application/x-www-form-urlencoded"})


class Gone(Exception):
    """The client went away: nobody is left to answer."""


class Answer(Struct, frozen=True, gc=False):
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    media_type: bytes = JSON


class Did(Struct, frozen=True):
    """What a handler did, as far as the address does not tell: for the audit log."""

    ids: tuple[str, ...] = ()  # of tasks
    changed: int | None = None  # how many, of many
    detail: str = ""


NOTHING_MORE = Did()


class Streamed(Struct, frozen=True):
    """An answer whose body comes in pieces, for as long as there are any."""

    pieces: AsyncGenerator[bytes]
    close: Callable[[], None]  # lets go of what the pieces are made of, whether any was asked for or not
    media_type: bytes
    headers: tuple[Header, ...] = ()
    status: int = 200


class Upgraded(Struct, frozen=True):
    """The connection speaks something else than HTTP from here on."""

    run: Callable[[Any], Awaitable[None]]  # speaks it through a `Tunnel`, until it is over
    headers: tuple[Header, ...] = ()
    status: int = 101


Reply = Answer | Streamed | Upgraded


class Call:
    """A request: what its path names, its query, its headers, and its body on demand."""

    __slots__ = ("_receive", "_scope", "caller", "did", "headers", "name", "query")

    def __init__(
        self, scope: Scope, receive: Receive, *, name: str, query: Mapping[str, Any], headers: Headers, caller: Caller
    ) -> None:
        self.name = name  # the task, type or queue the path names; empty where it names none
        self.query = query  # parameters as their readers made them; one that was not sent is not in it
        self.headers = headers  # by lower-case name
        self.caller = caller
        self.did = NOTHING_MORE
        self._scope = scope
        self._receive = receive

    @property
    def path(self) -> str:
        """What the path is, as sent."""
        path: str = self._scope["path"]
        return path

    @property
    def query_string(self) -> bytes:
        """The query, as sent."""
        query: bytes = self._scope["query_string"]
        return query

    @property
    def upgrade(self) -> Callable[[tuple[Header, ...]], Any] | None:
        """Ends HTTP on this connection, if that was offered."""
        upgrade: Callable[[tuple[Header, ...]], Any] | None = self._scope.get("extensions", {}).get("dolgo.upgrade")
        return upgrade

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises UnsupportedMediaType, TooLarge before more than `limit` bytes are held, and Gone."""
        _check_is_json(self.headers)
        length = self.headers.get(b"content-length", b"0")
        if len(length) > LONGEST_LENGTH or int(length) > limit:
            raise _too_large(limit)
        body, more = await self._piece()
        if not more and len(body) <= limit:
            return body
        pieces, size = [body], len(body)
        while more and size <= limit:
            body, more = await self._piece()
            pieces.append(body)
            size += len(body)
        if size > limit:
            raise _too_large(limit)
        return b"".join(pieces)

    async def _piece(self) -> tuple[bytes, bool]:
        """What has come of the body, and whether there may be more. Raises Gone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        return message.get("body", b""), message.get("more_body", False)

    async def while_there(self, work: Awaitable[T]) -> T:
        """What `work` answers. Raises Gone, and cancels it, if the client goes away meanwhile. Read the body before."""
        return await while_there(self._receive, work)


async def while_there(receive: Receive, work: Awaitable[T]) -> T:
    """What `work` answers. Raises Gone, and cancels it, if the client goes away meanwhile."""
    loop = asyncio.get_running_loop()
    look = _Look(receive)
    timer = loop.call_later(LOOK_AFTER, look.begin, asyncio.current_task(loop))
    try:
        return await work
    except asyncio.CancelledError:
        look.raise_if_gone()
        raise
    finally:
        timer.cancel()
        look.end()


class _Look:
    """Watches for the client's end, and then cancels the task that works for it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watching: asyncio.Task[None] | None = None
        self._cancelled: asyncio.Task[Any] | None = None

    def begin(self, working: asyncio.Task[Any] | None) -> None:
        assert working is not None
        self._watching = asyncio.create_task(self._watch(working))

    def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    def raise_if_gone(self) -> None:
        if self._cancelled is not None:
            self._cancelled.uncancel()
            raise Gone

    async def _watch(self, working: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancelled = working
        working.cancel()


def _check_is_json(headers: Headers) -> None:
    kind = headers.get(b"content-type", JSON)
    if kind != JSON:
        bare = kind.partition(b";")[0].strip().lower()
        if bare not in TAKEN_AS_JSON and not bare.endswith(b"+json"):
            raise UnsupportedMediaType(f"The body must be JSON: send it as application/json, not as {bare.decode('latin-1')!r}.")
    coding = headers.get(b"content-encoding", b"identity")
    if coding.strip().lower() not in (b"identity", b""):
        raise UnsupportedMediaType(f"The body must be plain JSON, not compressed with {coding.decode('latin-1')!r}.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body has more than the {limit} bytes that are allowed here.")
