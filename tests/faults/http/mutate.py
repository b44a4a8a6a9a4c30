"""Requests made wrong by chance: the same number of the same seed is always the same bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.faults.http.case import END, TASK, chunk, chunked, get, post, request

ID = b"01997c2e-5d0b-7c4e-9f6a-0d2b4a3c1e55"
GOOD = (
    post(TASK),
    post(TASK, b"Content-Type: application/json", b"Idempotency-Key: k", b"Prefer: wait=0"),
    post(TASK, b"Expect: 100-continue"),
    post(
        b'{"tasks":[{"type":"long_task","payload":{"seconds":0},"ref":"a"},{"type":"long_task","priority":3,"depends_on":["ref:a"]}]}',
        target=b"/tasks/batch",
    ),
    chunked(chunk(TASK[:9]) + chunk(TASK[9:], b";a=b") + b"0\r\nX-Sum: 1\r\n\r\n"),
    chunked(chunk(TASK) + END, b"Connection: Upgrade", b"Upgrade: h2c"),
    post(b"", target=b"/tasks/" + ID + b"/cancel"),
    post(b"{}", target=b"/tasks/cancel?tag=nobody&dry_run=true"),
    get(b"/tasks/" + ID + b"?view=full", b'If-None-Match: "x"'),
    get(b"/tasks?status=done&limit=2&order=created_at&created_after=2026-01-31T12:00:00Z"),
    get(b"/types"),
    get(b"/queues/default", b"Connection: close"),
    get(b"http://localhost/openapi.json"),
    request(b"PATCH /queues/other HTTP/1.1", b"Content-Length: 18", body=b'{"max_running": 3}'),
    request(b"DELETE /tasks/" + ID + b" HTTP/1.1"),
    request(b"OPTIONS * HTTP/1.0"),
)
BYTES = (
    b"\x00",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"%",
    b"\xff",
    b"\xc3",
    b"0",
    b"\x7f",
    b"/",
    b"?",
    b'"',
    b"}",
)
LINES = (
    b"Host: localhost", b"Host: evil.example", b"Content-Length: 0", b"Content-Length: 44", b"Content-Length: -1",
    b"Content-Length: 99999999999",
    b"Content-Length : 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity",
    b"transfer-encoding : chunked", b"Transfer-Encoding:\x0bchunked", b"Connection: close", b"Connection: keep-alive",
    b"Connection: upgrade",
    b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: x", b"Content-Encoding: gzip",
    b"Content-Type: text/xml",
    b"Content-Type: application/json; charset=utf-16", b"Origin: null", b"Sec-Fetch-Site: cross-site", b" folded: x",
    b"X: " + b"y" * 5_000,
    b"Idempotency-Key: " + b"k" * 300, b"Prefer: wait=0.1", b"X-\x00: y", b"", b"Trailer: X", b"TE: trailers, deflate;q=0.5",
)  # fmt: skip
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/1.", b"http/1.1", b"")
METHODS = (b"GET", b"POST", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"DELETE", b"PATCH", b"QUERY", b"get", b"")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 63, -(1 << 63), 1 << 200, 0.1, 1e308, "", "a" * 300, "\x00", "\ud800", "é", [], {}, [[]], {"": {}},
    "ref:a", "long_task",
    "dolgo.x", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", ID.decode(), "../..", ["a"] * 40, {"seconds": 0,
    "more": [1.0] * 99},
)  # fmt: skip
MEMBERS = (
    "type", "payload", "queue", "priority", "run_at", "delay", "timeout", "retries", "keep", "expires_at", "depends_on",
    "on_parent_failure",
    "unique_key", "limit_key", "tags", "ref", "tasks", "callback", "nobody", "",
)  # fmt: skip

Mutate = Callable[[random.Random, bytes], bytes]


class Attempt(NamedTuple):
    """What is sent, in which pieces, and how it came about."""

    pieces: list[bytes]
    kind: str

    @property
    def sent(self) -> bytes:
        return b"".join(self.pieces)


def attempt(seed: int, number: int) -> Attempt:
    """The attempt of this number."""
    chance = random.Random(f"{seed}/{number}")
    sent = chance.choice(GOOD)
    kind, mutate = chance.choice((("bytes", _bytes), ("framing", _framing), ("json", _json)))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        sent = mutate(chance, sent)
    if chance.random() < 0.2:
        sent += chance.choice(GOOD)
    cuts = sorted(chance.randrange(len(sent) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
    return Attempt([sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)], kind)


def _bytes(chance: random.Random, sent: bytes) -> bytes:
    """One change that knows nothing of HTTP."""
    at = chance.randrange(len(sent) + 1)
    to = min(len(sent), at + chance.choice((1, 1, 2, 8, 60)))
    match chance.randrange(6):
        case 0:
            return sent[:at] + bytes([chance.randrange(256)]) + sent[at + 1 :]
        case 1:
            return sent[:at] + chance.choice(BYTES) + sent[at:]
        case 2:
            return sent[:at] + sent[to:]
        case 3:
            return sent[:to] + sent[at:]
        case 4:
            return sent[:at] + chance.choice(BYTES) * chance.choice((2, 100, 9_000)) + sent[at:]
        case _:
            other = chance.choice(GOOD)
            return sent[:at] + other[chance.randrange(len(other)) :]


def _framing(chance: random.Random, sent: bytes) -> bytes:
    """One change of what says where a request begins and ends."""
    head, _, body = sent.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at = chance.randrange(1, len(lines) + 1)
    match chance.randrange(8):
        case 0 | 1:
            lines.insert(at, chance.choice(LINES))
        case 2:
            del lines[at:][:1], lines[at : at + 1]
        case 3:
            lines.insert(at, chance.choice(lines))
        case 4:
            words = lines[0].split(b" ")
            words[chance.choice((0, -1))] = chance.choice(METHODS + VERSIONS)
            lines[0] = b" ".join(words)
        case 5:
            return chance.choice((b"\n", b"\r", b"\r\n ", b"\r\r\n", b"\n\r")).join(lines) + b"\r\n\r\n" + body
        case 6:
            lines = [b"Content-Length: %d" % chance.choice((0, 1, len(body) - 1, len(body) + 1, 2_000_000))
                     if line.startswith(b"Content-Length") else line for line in lines]  # fmt: skip
        case _:
            size = b"%x" % chance.choice((0, 1, len(body), 1 << 31, 1 << 64))
            body = (
                chance.choice((b"", b"+", b"0x", b" ", b"-"))
                + size
                + chance.choice((b"\r\n", b"\n", b";\r\n", b" \r\n", b""))
                + body
            )
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _json(chance: random.Random, sent: bytes) -> bytes:
    """One change of a submit's body, its framing good."""
    head, _, body = sent.partition(b"\r\n\r\n")
    try:
        value = json.loads(body)
    except ValueError:
        value = {"type": "long_task", "payload": {"seconds": 0}}
    if isinstance(value, dict):
        value[chance.choice(MEMBERS)] = chance.choice(ODD)
    else:
        value = chance.choice(ODD)
    target = head.split(b" ", 2)[1] if head.startswith(b"POST") else b"/tasks"
    return post(json.dumps(value).encode(), target=target)
