"""Requests made by hand that are framed as no good client does, or as few servers read right."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.http.case import CLOSED, END, GOOD, HOST, LIST, OPEN, TASK, Case, chunk, chunked, get, post, request


def framing() -> Iterator[Case]:
    """All of them."""
    yield from _lines()
    yield from _targets()
    yield from _heads()
    yield from _lengths()
    yield from _chunks()
    yield from _sequences()
    yield from _upgrades()


def _malformed(name: str, sent: bytes) -> Case:
    return Case(name, sent, (400,), CLOSED, slug="malformed-request")


def _lines() -> Iterator[Case]:
    """Request lines and versions."""
    yield Case("a good GET", LIST, (200,), OPEN)
    yield Case("a good POST", GOOD, (202,), OPEN)
    yield Case("HEAD", request(b"HEAD /types HTTP/1.1"), (200,), OPEN, bodiless=True)
    yield Case("empty lines first", b"\r\n\r\n" + LIST, (200,), OPEN)
    yield Case("HTTP/1.0", request(b"GET /types HTTP/1.0"), (200,), CLOSED)
    yield Case("HTTP/1.0 without Host", b"GET /types HTTP/1.0\r\n\r\n", (200,), CLOSED)
    yield Case("HTTP/1.0 that would stay", request(b"GET /types HTTP/1.0", b"Connection: keep-alive"), (200,), CLOSED)
    yield Case("Connection: close", get(b"/types", b"Connection: close"), (200,), CLOSED)
    yield Case("Connection: Close among others", get(b"/types", b"Connection: x, Close"), (200,), CLOSED)
    for version in (
        b"HTTP/0.9",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"HTTP/9.9",
        b"HTTP/11.1",
        b"http/1.1",
        b"HTTPS/1.1",
        b"HTTP/1.1x",
        b"HTTP/",
    ):
        yield _malformed(f"version {version.decode()}", request(b"GET /types " + version))
    yield _malformed("no version", b"GET /types\r\n" + HOST + b"\r\n")
    yield _malformed("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    yield _malformed("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60))
    yield _malformed("SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n")
    yield _malformed("NULs", bytes(64))
    yield _malformed("a status line", b"HTTP/1.1 200 OK\r\n\r\n")
    for method in (b"get", b"G T", b"GETT", b"", b"G\x00T", b"\xff", b"A" * 1000):
        yield _malformed(f"method {method[:9]!r}", request(method + b" /types HTTP/1.1"))
    for method in (b"OPTIONS", b"TRACE", b"PUT", b"PURGE", b"PROPFIND"):
        yield Case(f"method {method.decode()}", request(method + b" /tasks HTTP/1.1"), (405,), OPEN, slug="method-not-allowed")
    yield _malformed("CONNECT", request(b"CONNECT localhost:80 HTTP/1.1"))
    yield Case("two spaces", request(b"GET  /types  HTTP/1.1"), (200,), OPEN)
    yield _malformed("a tab", request(b"GET\t/types\tHTTP/1.1"))
    yield _malformed("a bare line feed after the line", b"GET /types HTTP/1.1\n" + HOST + b"\r\n")
    yield _malformed("a bare carriage return after the line", b"GET /types HTTP/1.1\r" + HOST + b"\r\n")


def _targets() -> Iterator[Case]:
    yield Case("absolute form", get(b"http://localhost/types"), (200,), OPEN)
    yield Case("absolute form with a query", get(b"HTTP://127.0.0.1:8080/tasks?limit=1"), (200,), OPEN)
    yield Case("absolute form without a path", get(b"http://localhost?x=1"), (404,), OPEN)
    yield Case("absolute form that names a stranger", get(b"http://evil.example/types"), (403,), OPEN, slug="forbidden")
    for target in (
        b"ftp://localhost/types",
        b"http:///types",
        b"http://a@localhost/types",
        b"localhost:80",
        b"types",
        b"?x",
        b"\\types",
    ):
        yield _malformed(f"target {target.decode()}", get(target))
    yield Case("OPTIONS *", request(b"OPTIONS * HTTP/1.1"), (404,), OPEN)
    yield Case("GET *", get(b"*"), (404,), OPEN)
    for target in (
        b"/", b"//", b"//types", b"/types/", b"/types//x", b"/./types", b"/../../etc/passwd", b"/%2e%2e/x", b"/types%00", b"/%",
        b"/%zz",
        b"/tasks/%ff%fe", b"/tasks/%c0%af", b"/tasks/%ed%a0%80", b"/tasks/%F0%9F%98%80", b"/tasks/" + b"a" * 5000, b"/types#x",
        b"/" * 9000,
    ):  # fmt: skip
        yield Case(f"target {target[:30].decode()}", get(target), (404,), OPEN, slug="not-found")
    yield Case("a percent-encoded path", get(b"/%74ypes"), (200,), OPEN)
    yield _malformed("a NUL in the target", get(b"/types\x00"))
    yield _malformed("UTF-8 in the target", get("/types/ü".encode()))
    yield _malformed("Latin-1 in the target", get(b"/types/\xfc"))
    yield Case("a target that is too long", get(b"/types?" + b"a" * 20_000), (414,), CLOSED, slug="target-too-long")
    yield Case("a target that never ends", b"GET /" + b"a" * 200_000, (431,), CLOSED, slug="head-too-large")


def _heads() -> Iterator[Case]:
    """Header lines."""
    yield _malformed("no Host", b"GET /types HTTP/1.1\r\n\r\n")
    yield _malformed("two Hosts", get(b"/types", b"Host: localhost"))
    yield Case(
        "a stranger's Host", request(b"GET /types HTTP/1.1", host=b"Host: evil.example\r\n"), (403,), OPEN, slug="forbidden"
    )
    yield Case("an empty Host", request(b"GET /types HTTP/1.1", host=b"Host:\r\n"), (403,), OPEN, slug="forbidden")
    yield Case("a stranger's Origin", post(TASK, b"Origin: http://evil.example"), (403,), OPEN, slug="forbidden")
    for header in (
        b"X", b": x", b"X : x", b" X: x", b"X\t: x", b"X\x00: x", b"X: a\x00b", b"X: a\nY: b", b"X: a\rY: b", b"X: a\n b",
        b"X: a\r\n b",
        b"X: a\r\n\tb", b"X\xfc: x", b"X(: x", b"X@y: x", b'"X": x', b"X: a\x7fb", b"X: a\x01b",
    ):  # fmt: skip
        yield _malformed(f"header {header!r}", get(b"/types", header))
    yield Case("Latin-1 in a header", get(b"/types", b"X: \xfc"), (200,), OPEN)
    yield Case("an empty header", get(b"/types", b"X:"), (200,), OPEN)
    yield Case("a header without a space", get(b"/types", b"X:y"), (200,), OPEN)
    yield Case("a hundred headers", get(b"/types", *(b"X-%d: y" % n for n in range(99))), (200,), OPEN)
    yield Case("a hundred and one", get(b"/types", *(b"X-%d: y" % n for n in range(100))), (431,), CLOSED, slug="head-too-large")
    yield Case("a header of 30 KB", get(b"/types", b"X: " + b"y" * 30_000), (200,), OPEN)
    yield Case("a header that is too long", get(b"/types", b"X: " + b"y" * 100_000), (431,), CLOSED, slug="head-too-large")
    yield Case("a header that never ends", b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000, (431,), CLOSED, slug="head-too-large")
    yield Case("a name that never ends", b"GET / HTTP/1.1\r\n" + b"y" * 200_000, (431,), CLOSED, slug="head-too-large")
    yield Case("headers that never end", b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 40_000, (431,), CLOSED, slug="head-too-large")
    yield Case("empty lines that never end", b"\r\n" * 100_000, (431,), CLOSED, slug="head-too-large")
    yield Case("an Idempotency-Key of controls", post(TASK, b"Idempotency-Key: a\tb"), (422,), OPEN, slug="invalid-request")
    yield Case("an Idempotency-Key of Latin-1", post(TASK, b"Idempotency-Key: \xfc"), (422,), OPEN, slug="invalid-request")
    yield Case("a long Idempotency-Key", post(TASK, b"Idempotency-Key: " + b"k" * 9000), (422,), OPEN, slug="invalid-request")
    yield Case("Prefer with nonsense", post(TASK, b"Prefer: wait=1e999, wait=\xff"), (422,), OPEN, slug="invalid-request")
    yield Case("If-None-Match with nonsense", get(b"/tasks/x", b'If-None-Match: "\xff'), (404,), OPEN)


def _lengths() -> Iterator[Case]:
    """Content-Length and what it lies about."""
    for length in (
        b"-1",
        b"+44",
        b"4 4",
        b"0x2c",
        b"44,44",
        b"44, 44",
        b"4.4",
        b"",
        b"abc",
        b"44\x0b",
        b"9" * 30,
        b"18446744073709551616",
    ):
        yield _malformed(f"length {length.decode()!r}", post(TASK, length=length))
    yield _malformed("two equal lengths", post(TASK, b"Content-Length: %d" % len(TASK)))
    yield _malformed("two lengths", post(TASK, b"Content-Length: 5"))
    yield _malformed("a length and chunks", post(END, b"Transfer-Encoding: chunked"))
    yield _malformed("chunks and a length", chunked(END, b"Content-Length: 5"))
    yield Case("a length with spaces around", post(TASK, length=b"  %d \t" % len(TASK)), (202,), OPEN)
    yield Case("a length with zeros", post(TASK, length=b"000%d" % len(TASK)), (202,), OPEN)
    yield Case("no length", request(b"POST /tasks HTTP/1.1"), (400,), OPEN, slug="malformed-json")
    yield Case("a length of 0", post(b""), (400,), OPEN, slug="malformed-json")
    yield Case("no length, and a body", request(b"POST /tasks HTTP/1.1", body=TASK), (400, 400), CLOSED, slug="malformed-request")
    yield Case("a length that is too short", post(TASK, length=b"20"), (400, 400), CLOSED, slug="malformed-request")
    yield Case("a short length that smuggles", post(TASK + LIST, length=b"%d" % len(TASK)), (202, 200), OPEN)
    yield Case("a GET with a body", get(b"/types", b"Content-Length: 5") + b"hello", (200,), OPEN)
    yield Case("a length that is too large", post(b"", length=b"2000000"), (413,), CLOSED, slug="too-large")
    yield Case("a length of exabytes", post(b"", length=b"9" * 18), (413,), CLOSED, slug="too-large")
    yield Case("a large body that is not wanted", post(b" " * 300_000, target=b"/nowhere"), (404,), CLOSED, slug="not-found")
    yield Case("a small body that is not wanted", post(b" " * 3_000, target=b"/nowhere"), (404,), OPEN, slug="not-found")
    yield Case("a payload that is too large", post(TASK.replace(b"0", b'"%b"' % (b"x" * 30_000))), (413,), OPEN, slug="too-large")
    expect = b"Expect: 100-continue"
    yield Case("100-continue", post(TASK, expect), (100, 202), OPEN)
    yield Case("100-continue that is not to", post(b"", expect, length=b"2000000"), (413,), CLOSED, slug="too-large")
    yield Case("100-continue to nowhere", post(b"", expect, target=b"/nowhere", length=b"44"), (404,), CLOSED, slug="not-found")
    yield Case("100-continue of HTTP/1.0", post(TASK, expect).replace(b"HTTP/1.1", b"HTTP/1.0"), (202,), CLOSED)
    yield Case("another expectation", post(TASK, b"Expect: coffee"), (202,), OPEN)


def _chunks() -> Iterator[Case]:
    """Transfer-Encoding."""
    yield Case("chunks", chunked(chunk(TASK[:9]) + chunk(TASK[9:]) + END), (202,), OPEN)
    yield Case("chunks of one byte", chunked(b"".join(chunk(TASK[n : n + 1]) for n in range(len(TASK))) + END), (202,), OPEN)
    yield Case("Chunked", chunked(chunk(TASK) + END, coding=b"Chunked"), (202,), OPEN)
    yield Case("a chunk's length in capitals and zeros", chunked(b"00002C\r\n" + TASK + b"\r\n" + END), (202,), OPEN)
    yield Case("no chunk", chunked(END), (400,), OPEN, slug="malformed-json")
    yield Case("a chunk's extension", chunked(chunk(TASK, b';a="b"') + END), (202,), OPEN)
    yield Case("an extension that never ends", chunked(b"2c;" + b"a" * 200_000), (431,), CLOSED, slug="head-too-large")
    for coding in (
        b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b"gzip", b"", b"x", b"xchunked", b"chunked;q=1",
        b'"chunked"',
        b"\x0bchunked", b"chun\r\n ked",
    ):  # fmt: skip
        yield _malformed(f"coding {coding!r}", chunked(chunk(TASK) + END, coding=coding))
    yield _malformed("two codings", chunked(chunk(TASK) + END, b"Transfer-Encoding: identity"))
    yield _malformed("chunked twice", chunked(chunk(TASK) + END, b"Transfer-Encoding: chunked"))
    for size in (b"-1", b"+2c", b"0x2c", b"zz", b"", b" 2c", b"2c ", b"fffffffffffffffff", b"2c\n", b"2c\x00"):
        yield _malformed(f"chunk of {size!r}", chunked(size + b"\r\n" + TASK + b"\r\n" + END))
    yield _malformed("a chunk that is longer", chunked(b"10\r\n" + TASK + b"\r\n" + END))
    yield _malformed("a chunk ended by a line feed", chunked(b"2c\r\n" + TASK + b"\n" + END))
    yield _malformed("a chunk's length ended by a line feed", chunked(b"2c\n" + TASK + b"\r\n" + END))
    yield Case("a trailer", chunked(chunk(TASK) + b"0\r\nX-Sum: 1\r\n\r\n"), (202,), OPEN)
    yield Case("a trailer that would be heeded", chunked(chunk(TASK) + b"0\r\nOrigin: http://evil.example\r\n\r\n"), (202,), OPEN)
    yield Case("a trailer that frames", chunked(chunk(TASK) + b"0\r\nX-Length: 5\r\n\r\n" + LIST), (202, 200), OPEN)
    yield _malformed("a trailer that is none", chunked(chunk(TASK) + b"0\r\nX\r\n\r\n"))
    yield Case(
        "a trailer that never ends", chunked(chunk(TASK) + b"0\r\nX: " + b"y" * 200_000), (431,), CLOSED, slug="head-too-large"
    )
    yield Case(
        "trailers that never end", chunked(chunk(TASK) + b"0\r\n" + b"x:y\r\n" * 40_000), (431,), CLOSED, slug="head-too-large"
    )
    yield Case("chunks past the limit", chunked(chunk(b" " * 60_000) * 40), (413,), CLOSED, slug="too-large")
    yield Case("a chunk past the limit", chunked(b"7fffffff\r\n" + b" " * 2_000_000), (413,), CLOSED, slug="too-large")
    yield Case("chunks of HTTP/1.0", chunked(chunk(TASK) + END).replace(b"HTTP/1.1", b"HTTP/1.0"), (202,), CLOSED)


def _sequences() -> Iterator[Case]:
    """Requests sent ahead."""
    yield Case("two at once", LIST + GOOD, (200, 202), OPEN)
    yield Case("fifty at once", LIST * 50, (200,) * 50, OPEN)
    yield Case("a thousand at once", LIST * 1000, (200,) * 1000, OPEN)
    yield Case("an empty line between", LIST + b"\r\n" + LIST, (200, 200), OPEN)
    yield Case("rubbish after a good one", GOOD + b"rubbish\r\n\r\n", (202, 400), CLOSED, slug="malformed-request")
    yield Case(
        "a bad head after a good one", GOOD + get(b"/types", b"X : y") + LIST, (202, 400), CLOSED, slug="malformed-request"
    )
    yield Case("a bad body after a good one", GOOD + chunked(b"zz\r\n") + LIST, (202, 400), CLOSED, slug="malformed-request")
    yield Case(
        "a bad body after ten", LIST * 10 + chunked(chunk(TASK) + b"zz"), (200,) * 10 + (400,), CLOSED, slug="malformed-request"
    )
    yield Case("one after the last", get(b"/types", b"Connection: close") + GOOD, (200,), CLOSED)
    yield Case("much after the last", get(b"/types", b"Connection: close") + b"x" * 300_000, (200,), CLOSED)
    yield Case("one after a refusal", get(b"/types", b"X : y") + GOOD, (400,), CLOSED, slug="malformed-request")
    yield Case("one in a large body", post(GOOD * 30_000, target=b"/nowhere"), (404,), CLOSED, slug="not-found")
    yield Case("one in a body", post(GOOD, target=b"/nowhere"), (404,), OPEN, slug="not-found")
    yield Case("one in a GET's body", get(b"/types", b"Content-Length: %d" % len(GOOD)) + GOOD, (200,), OPEN)
    yield Case("a wait with one behind it", post(TASK, target=b"/tasks?wait=5") + LIST, (200, 200), OPEN)


def _upgrades() -> Iterator[Case]:
    """Offers to speak something else, which are not taken."""
    h2c = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
    socket = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 13")
    yield Case("h2c with a GET", get(b"/types", *h2c), (200,), OPEN)
    yield Case("h2c with a GET, and another", get(b"/types", *h2c) + LIST, (200, 200), OPEN)
    yield Case("h2c with a POST", post(TASK, *h2c), (202,), CLOSED)
    yield Case("h2c with a POST in chunks", chunked(chunk(TASK) + END, *h2c), (202,), CLOSED)
    yield Case("h2c with a POST of nothing", post(b"", *h2c), (400,), OPEN, slug="malformed-json")
    yield Case("h2c with a bad chunk", chunked(b"zz\r\n", *h2c), (400,), CLOSED, slug="malformed-request")
    yield Case("h2c that smuggles", post(TASK, *h2c) + LIST, (202,), CLOSED)
    yield Case("h2c with a POST and one before", LIST + post(TASK, *h2c), (200, 202), CLOSED)
    yield Case("h2c with a body that is too large", post(b"", *h2c, length=b"2000000"), (413,), CLOSED, slug="too-large")
    yield Case("a socket", get(b"/types", *socket), (200,), OPEN)
    yield Case("a socket to nowhere", get(b"/nowhere", *socket), (404,), OPEN)
    yield Case("a socket without a key that is one", get(b"/ws", *socket), (426,), OPEN, slug="upgrade-required")
    yield Case("such a socket, and another", get(b"/ws", *socket) + LIST, (426, 200), OPEN)
    yield Case("Upgrade without Connection", get(b"/types", b"Upgrade: h2c"), (200,), OPEN)
