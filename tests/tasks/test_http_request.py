"""The built-in type `http_request`, against a small server of its own."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dolgo.egress import transport
from dolgo.errors import InvalidPayload
from dolgo.runner.registry import TaskType, mark_of
from dolgo.tasks.http_request import ALLOW, MOST_BODY, HttpRequest

pytestmark = pytest.mark.anyio

Answer = Callable[[bytes], Awaitable[bytes]]


class Server:
    """Answers every request with the same bytes and keeps what it was asked."""

    def __init__(self, answer: bytes, *, hold: bool = False) -> None:
        self.asked: list[bytes] = []
        self.left = asyncio.Event()  # a client went away
        self.arrived = asyncio.Event()
        self.port = 0
        self._answer, self._hold = answer, hold

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        self.asked.append(head + await reader.readexactly(length))
        self.arrived.set()
        if self._hold:
            await reader.read()
            self.left.set()
        else:
            writer.write(self._answer)
        writer.close()


@asynccontextmanager
async def serving(
    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n", *, hold: bool = False, tls: Any = None
) -> AsyncIterator[Server]:
    server = Server(answer, hold=hold)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


def reply(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@pytest.fixture
def open_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW, "127.0.0.0/8")


@pytest.fixture
def task_type() -> TaskType:
    mark = mark_of(HttpRequest)
    assert mark is not None
    return TaskType(mark)


@pytest.mark.usefixtures("open_loopback")
async def test_method_headers_and_body_are_sent_and_the_answer_is_kept() -> None:
    answer = reply("привет".encode(), status="201 Created", headers="X-One: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n")
    async with serving(answer) as server:
        request = HttpRequest(url=f"http://127.0.0.1:{server.port}/p?q=1", method="PUT", headers={"X-Two": "2"}, body="тело")
        result = await request.run()
    assert result["status"] == 201
    assert result["body"] == "привет"
    assert result["base64"] is False
    assert result["headers"]["x-one"] == "1"
    assert result["headers"]["set-cookie"] == "a, b"
    [asked] = server.asked
    assert asked.startswith(b"PUT /p?q=1 HTTP/1.1\r\n")
    assert b"x-two: 2" in asked.lower()
    assert f"host: 127.0.0.1:{server.port}".encode() in asked.lower()
    assert asked.endswith("тело".encode())


@pytest.mark.usefixtures("open_loopback")
async def test_what_is_not_text_is_base64_both_ways() -> None:
    async with serving(reply(b"\xff\x00")) as server:
        request = HttpRequest(url=f"http://127.0.0.1:{server.port}", method="POST", body="/wA=", base64=True)
        result = await request.run()
    assert (result["body"], result["base64"]) == (base64.b64encode(b"\xff\x00").decode(), True)
    assert server.asked[0].endswith(b"\xff\x00")
    with pytest.raises(ValueError, match="body: not base64"):
        await HttpRequest(url="http://127.0.0.1", body="!", base64=True).run()


@pytest.mark.usefixtures("open_loopback")
async def test_a_packed_body_is_neither_asked_for_nor_unpacked() -> None:
    async with serving(reply(b"\x1f\x8b\x08", headers="Content-Encoding: gzip\r\n")) as server:
        result = await HttpRequest(url=f"http://127.0.0.1:{server.port}").run()
    assert b"accept-encoding: identity" in server.asked[0].lower()
    assert base64.b64decode(result["body"]) == b"\x1f\x8b\x08"


@pytest.mark.usefixtures("open_loopback")
async def test_redirects_and_errors_are_answers() -> None:
    async with serving(reply(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n")) as server:
        result = await HttpRequest(url=f"http://127.0.0.1:{server.port}").run()
    assert (result["status"], result["headers"]["location"]) == (302, "http://127.0.0.1:1/")
    assert len(server.asked) == 1
    async with serving(reply(b"no", status="500 Oh")) as server:
        assert (await HttpRequest(url=f"http://127.0.0.1:{server.port}").run())["status"] == 500


@pytest.mark.usefixtures("open_loopback")
async def test_a_body_that_is_too_large_is_an_error() -> None:
    async with serving(reply(b"x" * (MOST_BODY + 1))) as server:
        with pytest.raises(ValueError, match="larger than"):
            await HttpRequest(url=f"http://127.0.0.1:{server.port}").run()
    async with serving(reply(b"x" * MOST_BODY)) as server:
        assert len((await HttpRequest(url=f"http://127.0.0.1:{server.port}").run())["body"]) == MOST_BODY


@pytest.mark.usefixtures("open_loopback")
async def test_the_timeout_is_for_the_whole_answer_and_its_error_tells_no_password() -> None:
    async with serving(hold=True) as server:
        with pytest.raises(TimeoutError, match=r"^no whole answer within 0\.05 s$"):
            await HttpRequest(url=f"http://me:secret@127.0.0.1:{server.port}", timeout=0.05).run()
        await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.usefixtures("open_loopback")
async def test_a_cancel_closes_the_connection_at_once() -> None:
    async with serving(hold=True) as server:
        asking = asyncio.create_task(HttpRequest(url=f"http://127.0.0.1:{server.port}").run())
        await asyncio.wait_for(server.arrived.wait(), 5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:{port}", "http://localhost:{port}", "http://127.1:{port}", "http://2130706433:{port}"),
        *("http://0x7f000001:{port}", "http://[::ffff:127.0.0.1]:{port}", "http://user@127.0.0.1:{port}", "http://0:{port}"),
        *("http://example.com@127.0.0.1:{port}", "HTTP://127.0.0.1:{port}", "http://[64:ff9b::7f00:1]:{port}"),
    ],
)
async def test_closed_addresses_are_not_connected_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOW, raising=False)
    async with serving() as server:
        with pytest.raises(PermissionError, match="is not a public address"):
            await HttpRequest(url=url.format(port=server.port)).run()
    assert server.asked == []


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.port}")
        with pytest.raises(PermissionError):
            await HttpRequest(url="http://127.0.0.1:9").run()
    assert server.asked == []


def answering(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have the resolver answer so, one answer a look-up; gives the list of hosts that were looked up."""
    asked: list[str] = []
    left = iter(answers)

    def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in next(left)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


async def test_a_host_is_looked_up_once_and_the_address_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW, "127.0.0.0/8")
    async with serving() as server:
        asked = answering(monkeypatch, ["127.0.0.1"])
        await HttpRequest(url=f"http://rebinding.example:{server.port}").run()
    assert asked == ["rebinding.example"]
    assert f"host: rebinding.example:{server.port}".encode() in server.asked[0].lower()


async def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW, "127.0.0.0/8")
    async with serving() as server:
        answering(monkeypatch, ["127.0.0.9", "127.0.0.1"])
        assert (await HttpRequest(url=f"http://two.example:{server.port}").run())["status"] == 204


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_is_checked_against_the_host_though_the_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=checked.example"
    name = ["-addext", "subjectAltName=DNS:checked.example", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *name], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    named: list[str] = []
    tls.sni_callback = lambda _socket, host, _context: named.append(host)
    monkeypatch.setattr(transport, "trust", lambda: ssl.create_default_context(cafile=str(certificate)))
    monkeypatch.setenv(ALLOW, "127.0.0.0/8")
    async with serving(tls=tls) as server:
        answering(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
        assert (await HttpRequest(url=f"https://checked.example:{server.port}").run())["status"] == 204
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            await HttpRequest(url=f"https://other.example:{server.port}").run()
    assert named == ["checked.example", "other.example"]


@pytest.mark.usefixtures("open_loopback")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http:///path", "no host"),
        ("http://127.0.0.1:99999", "no port 99999"),
        ("http://nowhere.invalid", "has no address"),
    ],
)
async def test_what_cannot_be_asked_is_an_error_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        await HttpRequest(url=url).run()


@pytest.mark.usefixtures("open_loopback")
async def test_a_header_cannot_bring_another_one_in() -> None:
    async with serving() as server:
        with pytest.raises(Exception, match="Illegal header value"):
            await HttpRequest(url=f"http://127.0.0.1:{server.port}", headers={"X": "a\r\nY: b"}).run()
    assert server.asked == []


@pytest.mark.parametrize(
    "raw",
    [b"{}", b'{"url":"ftp://x"}', b'{"url":"http://x","method":"BREW"}', b'{"url":"http://x","timeout":0}', b'{"url":"/x"}'],
)
def test_a_payload_that_cannot_be_a_request_is_refused(task_type: TaskType, raw: bytes) -> None:
    with pytest.raises(InvalidPayload):
        task_type.decode(raw)


def test_the_type_is_announced_with_its_result(task_type: TaskType) -> None:
    assert task_type.name == "http_request"
    assert task_type.is_async
    assert task_type.info.result is not None
