"""Connections of clients that are slow, silent or deaf. Only the server's patience is shorter here than in life."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dolgo.api import server as server_module
from dolgo.api.connection import PIECE, Patience
from dolgo.api.server import Server, listen

pytestmark = pytest.mark.anyio

PATIENCE = Patience(head=1.0, idle=2.0, body=1.0, rate=100.0, unread=1.0, linger=0.5)
LATE = 20.0  # seconds in which anything happens, however busy the machine is
HEAD = b"GET /x HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 30_000_000  # bytes: more than the kernel keeps for a client that does not read

App = Callable[[Any, Any, Any], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": True})  # as `dolgo serve` has it


@contextlib.asynccontextmanager
async def serving(app: App, patience: Patience = PATIENCE) -> AsyncIterator[tuple[Server, Callable[[], Awaitable[Streams]]]]:
    """A server of an application, and how to connect to it."""
    listener = listen("127.0.0.1", 0)
    server = Server(app, listener, patience)
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> Streams:
        reader, writer = await asyncio.open_connection(*listener.getsockname(), limit=2**16)
        opened.append(writer)
        return reader, writer

    await server.start()
    try:
        yield server, connect
    finally:
        for writer in opened:
            writer.transport.abort()
        await server.stop()


async def answer(send: Any, body: bytes = b"ok", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with how long the body was, or not at all if the client went away."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    await answer(send, b"%d" % size)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes; a reset ends it too."""
    said = b""
    async with asyncio.timeout(LATE):
        with contextlib.suppress(ConnectionResetError):
            while more := await reader.read(2**16):
                said += more
    return said


async def no_connection(server: Server) -> None:
    """Return when the server has closed all connections."""
    async with asyncio.timeout(LATE):
        while server.server_state.connections:
            await asyncio.sleep(0.05)


async def test_a_head_that_stalls_is_answered_408() -> None:
    async with serving(echo) as (_, connect):
        reader, writer = await connect()
        begun = time.monotonic()
        writer.write(HEAD)
        said = await rest(reader)
        assert time.monotonic() - begun > PATIENCE.head
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in said
    assert b"connection: close" in said
    assert b"/docs#request-timeout" in said


async def test_a_head_that_trickles_is_not_given_more_time() -> None:
    async with serving(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(HEAD)
        reading = asyncio.create_task(rest(reader))
        while not reading.done():
            writer.write(b"a")
            await asyncio.sleep(0.1)
        assert reading.result().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"], ids=["new", "used"])
async def test_a_silent_connection_is_closed_without_a_word(first: bytes) -> None:
    async with serving(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(first)
        begun = time.monotonic()
        said = await rest(reader)
        assert time.monotonic() - begun > PATIENCE.idle
    assert said.count(b"HTTP/1.1") == bool(first)
    assert b" 408 " not in said


async def test_a_body_that_stalls_is_answered_408_and_its_handler_told() -> None:
    over = asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        over.set()

    async with serving(waiting) as (_, connect):
        reader, writer = await connect()
        writer.write(b"POST" + HEAD[3:] + b"Content-Length: 9\r\n\r\n1234")
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")
        async with asyncio.timeout(LATE):
            await over.wait()


async def test_a_body_that_comes_steadily_is_heard_out() -> None:
    async with serving(echo) as (_, connect):
        reader, writer = await connect()
        writer.write(b"POST" + HEAD[3:] + b"Content-Length: 4000\r\nConnection: close\r\n\r\n")
        for _ in range(40):  # 100 bytes each: four seconds, and ten times the rate that is asked for
            writer.write(bytes(100))
            await asyncio.sleep(0.1)
        assert (await rest(reader)).endswith(b"\r\n\r\n4000")


async def test_a_slow_handler_is_waited_for() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(PATIENCE.idle + 2)
        await answer(send)

    async with serving(slow) as (_, connect):
        reader, writer = await connect()
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        assert (await rest(reader)).endswith(b"ok")


async def test_a_client_that_reads_nothing_is_cut() -> None:
    answered = asyncio.Event()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(LARGE))
        answered.set()

    async with serving(large) as (server, connect):
        _, writer = await connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(HEAD + b"\r\n")
        async with asyncio.timeout(LATE):
            await answered.wait()
        await no_connection(server)


async def test_a_client_that_reads_slowly_gets_all_of_it() -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, bytes(LARGE))

    async with serving(large, Patience(unread=3.0)) as (_, connect):
        reader, writer = await connect()
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        size = 0
        async with asyncio.timeout(LATE):
            while size < LARGE:
                more = await reader.read(2**16)
                assert more
                size += len(more)
                await asyncio.sleep(0.1 if size < 4_000_000 else 0)
            size += len(await reader.read())
    assert size > LARGE


async def test_a_client_that_goes_on_sending_after_its_refusal_is_cut() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"no", 413)

    async with serving(refuse) as (server, connect):
        reader, writer = await connect()
        writer.write(b"POST" + HEAD[3:] + b"Content-Length: 999999999\r\n\r\n")
        async with asyncio.timeout(LATE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")
            with contextlib.suppress(ConnectionResetError):
                while server.server_state.connections:
                    writer.write(bytes(1000))
                    await asyncio.sleep(0.05)
        await no_connection(server)


async def test_a_refusal_is_not_followed_by_a_reset_while_the_client_is_still_sending() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"no", 413)

    async with serving(refuse, Patience(linger=LATE)) as (_, connect):
        reader, writer = await connect()
        writer.write(b"POST" + HEAD[3:] + b"Content-Length: 999999999\r\n\r\n" + bytes(3_000_000))
        async with asyncio.timeout(LATE):
            assert (await reader.read()).endswith(b"no")  # a reset would be raised here
            await writer.drain()


async def test_few_of_many_requests_sent_ahead_wait_in_memory() -> None:
    sent = HEAD + b"\r\n"
    waiting = []

    async def count(scope: Any, receive: Any, send: Any) -> None:
        (connection,) = server.server_state.connections
        waiting.append(len(connection.pipeline))
        await answer(send)

    async with serving(count) as (server, connect):
        reader, writer = await connect()
        writer.write(sent * 3_000 + HEAD + b"Connection: close\r\n\r\n")
        assert (await rest(reader)).count(b"200 OK") == 3_001
    assert max(waiting) <= PIECE // len(sent) + 1


async def test_a_request_sent_ahead_does_not_hide_that_the_client_went_away() -> None:
    begun, told = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        begun.set()
        if (await receive())["type"] == "http.disconnect":
            told.set()

    async with serving(waiting) as (_, connect):
        _, writer = await connect()
        writer.write((HEAD + b"\r\n") * 2)
        async with asyncio.timeout(LATE):
            await begun.wait()
            writer.transport.abort()
            await told.wait()


async def test_a_newcomer_takes_the_place_of_the_connection_that_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_most_connections", lambda: 3)
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await go_on.wait()
        await answer(send)

    async with serving(slow, Patience()) as (_, connect):
        busy, writer = await connect()
        writer.write(HEAD.replace(b"/x", b"/slow") + b"Connection: close\r\n\r\n")
        await begun.wait()
        eldest, _ = await connect()
        await asyncio.sleep(0.05)  # the loop counts time by milliseconds
        younger, used = await connect()
        used.write(HEAD + b"\r\n")
        async with asyncio.timeout(LATE):
            await younger.readuntil(b"ok")
        newcomer, written = await connect()
        written.write(HEAD + b"Connection: close\r\n\r\n")
        assert (await rest(newcomer)).endswith(b"ok")
        assert await rest(eldest) == b""
        used.write(HEAD + b"Connection: close\r\n\r\n")
        assert (await rest(younger)).endswith(b"ok")
        go_on.set()
        assert (await rest(busy)).endswith(b"ok")
