"""One request, of whose answer the head is read: whoever answers, and however."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from dolgo.egress import sending
from dolgo.egress.addresses import Allowed, resolve
from dolgo.egress.sending import MOST_HEAD, Head, NotHttp, post

pytestmark = pytest.mark.anyio

HERE = Allowed("127.0.0.0/8")
WITHIN = 20.0  # seconds


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@contextlib.asynccontextmanager
async def answering(
    *parts: bytes, endless: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Where somebody answers every request so, and what was asked; `endless`: the last part again and again."""
    asked: list[bytes] = []
    open_ones: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, RuntimeError):  # uvloop's word for a closed transport
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            asked.append(head + await reader.readexactly(length))
            for part in parts:
                writer.write(part)
            while endless:
                writer.write(parts[-1])
                await writer.drain()
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        for writer in open_ones:
            writer.transport.abort()


async def sent(port: int, headers: Mapping[str, str] = {}, path: str = "/hook?a=1") -> Head:
    async with asyncio.timeout(WITHIN):
        return await post(f"http://127.0.0.1:{port}{path}", b'{"a": 1}', headers, HERE)


def looked_up(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, int], list[str]]) -> None:
    """Have names looked up so."""

    def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        return [(2, 1, 6, "", (address, port)) for address in answer(host, port)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_the_request_is_what_was_asked_for_and_the_head_is_read() -> None:
    async with answering(b"HTTP/1.1 503 Not now\r\nRetry-After:  7 \r\nX: a: b\r\n\r\nrest") as (port, asked):
        head = await sent(port, {"webhook-id": "x"}, '/hook/"ü"?a=b c')
    assert head == Head(503, {"retry-after": "7", "x": "a: b"})
    lines = asked[0].split(b"\r\n")
    assert lines[0] == b"POST /hook/%22%C3%BC%22?a=b%20c HTTP/1.1"
    assert {b"host: 127.0.0.1:%d" % port, b"webhook-id: x", b"content-length: 8"} <= set(lines)
    assert asked[0].endswith(b'\r\n\r\n{"a": 1}')


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 204\r\n\r\n", b"HTTP/1.0 204 \r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 Fine\r\n\r\n"],
)
async def test_an_answer_may_be_short_old_or_come_after_a_hint(answer: bytes) -> None:
    async with answering(answer) as (port, _):
        assert (await sent(port)).status == 204


@pytest.mark.parametrize(
    ("answer", "endless", "reason"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, True, "one interim answer after the other"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, True, f"more than {MOST_HEAD} bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000, True, f"more than {MOST_HEAD} bytes"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", False, "not HTTP"),
        (b"HTTP/1.1 0200 OK\r\n\r\n", False, "not HTTP"),
        (b"\r\n\r\n", False, "not HTTP"),
        (b"\x16\x03\x01\x00\xff" + bytes(300), False, "closed the connection within its answer"),
        (b"HTTP/1.1 200 OK\n\n", False, "closed the connection within its answer"),
        (b"", False, "closed the connection without an answer"),
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_told_without_repeating_it(answer: bytes, endless: bool, reason: str) -> None:
    async with answering(answer, endless=endless) as (port, _):
        with pytest.raises(NotHttp, match=reason):
            await sent(port)


async def test_whoever_sends_and_sends_gets_nobody_stuck() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with answering(b"HTTP/1.1 102 Wait\r\n\r\n" * 4_000, endless=True) as (port, _):
        turning = asyncio.create_task(turn())
        for _ in range(20):
            with pytest.raises(NotHttp):
                await sent(port)
        turning.cancel()
    assert turns > 20


async def test_a_body_without_an_end_is_not_read() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536, endless=True) as (port, _):
        assert (await sent(port)).status == 200


async def test_a_header_cannot_bring_another_one_in() -> None:
    async with answering(b"HTTP/1.1 204 Fine\r\n\r\n") as (port, asked):
        with pytest.raises(ValueError, match="next line"):
            await sent(port, {"tracestate": "a\r\nY: b"})
    assert asked == []


async def test_a_name_that_leads_elsewhere_the_second_time_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    looked_up(monkeypatch, lambda host, port: next(answers))
    async with answering(b"HTTP/1.1 204 Fine\r\n\r\n") as (port, asked):
        assert (await post(f"http://rebinding.example:{port}/", b"", {}, HERE)).status == 204
        with pytest.raises(PermissionError):
            await post(f"http://rebinding.example:{port}/", b"", {}, HERE)
    assert b"host: rebinding.example:%d" % port in asked[0]


async def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up(monkeypatch, lambda host, port: ["127.0.0.9", "127.0.0.1"])
    async with answering(b"HTTP/1.1 204 Fine\r\n\r\n") as (port, _):
        assert (await post(f"http://two.example:{port}/", b"", {}, HERE)).status == 204


@pytest.mark.parametrize("url", ["http://", "http:///path", "gopher://127.0.0.1/", "http://127.0.0.1:99999"])
async def test_a_url_that_names_no_place_is_an_error(url: str) -> None:
    with pytest.raises((httpx.HTTPError, httpx.InvalidURL)):
        await post(url, b"", {}, HERE)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_is_checked_against_each_host_though_they_share_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=checked.example"
    name = ["-addext", "subjectAltName=DNS:checked.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *name], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    monkeypatch.setattr(sending, "trust", lambda: ssl.create_default_context(cafile=str(certificate)))
    looked_up(monkeypatch, lambda host, port: ["127.0.0.1"])
    async with answering(b"HTTP/1.1 204 Fine\r\n\r\n", tls=tls) as (port, asked):
        assert (await post(f"https://checked.example:{port}/", b"", {}, HERE)).status == 204
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            await post(f"https://other.example:{port}/", b"", {}, HERE)
    assert len(asked) == 1


async def test_a_name_server_that_does_not_answer_keeps_other_names_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slowly(host: str, port: int) -> list[str]:
        if host == "slow.example":
            over.wait()
        return ["127.0.0.1"]

    looked_up(monkeypatch, slowly)
    slow = [asyncio.create_task(resolve("slow.example", 80, HERE)) for _ in range(40)]
    try:
        async with asyncio.timeout(WITHIN):
            assert await resolve("quick.example", 80, HERE) == ["127.0.0.1"]
    finally:
        over.set()
    assert await asyncio.gather(*slow) == [["127.0.0.1"]] * 40


async def test_a_look_up_that_nobody_waits_for_any_more_ends_unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    over, ended = threading.Event(), threading.Event()

    def late(host: str, port: int) -> list[str]:
        over.wait()
        ended.set()
        raise OSError("too late")

    looked_up(monkeypatch, late)
    looking = asyncio.create_task(resolve("late.example", 80, HERE))
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    over.set()
    assert ended.wait(WITHIN)
