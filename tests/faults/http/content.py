"""Requests made by hand that are framed well, and say what nobody should."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.http.case import CLOSED, OPEN, TASK, Case, get, post


def content() -> Iterator[Case]:
    """All of them."""
    yield from _json()
    yield from _media()
    yield from _queries()


def _json() -> Iterator[Case]:
    """Bodies that are framed well."""
    deep = b"[" * 100_000
    for name, body in {
        "nothing but space": b"  ", "a byte order mark": b"\xef\xbb\xbf" + TASK, "UTF-16": TASK.decode().encode("utf-16"),
        "UTF-32": TASK.decode().encode("utf-32"), "Latin-1": b'{"type":"\xfc"}', "overlong UTF-8": b'{"type":"\xc0\xaf"}',
        "a raw surrogate": b'{"type":"\xed\xa0\x80"}', "a lone surrogate": b'{"type":"\\ud800"}', "a NUL": b'{"type":"a\x00"}',
        "NUL after": TASK + b"\x00", "NaN": b'{"type":"long_task","payload":NaN}',
        "Infinity": b'{"type":"long_task","payload":-Infinity}',
        "single quotes": b"{'type':'long_task'}", "a comma too many": b'{"type":"long_task",}', "two values": TASK + TASK,
        "a comment": TASK + b"//", "an open end": TASK[:-1], "depth": deep, "depth of objects": b'{"a":' * 50_000,
        "rubbish": b"\x80" * 50,
        "a form": b"type=long_task", "gzip": b"\x1f\x8b\x08\x00", "hex": b'{"type":0x10}',
        "a huge number": b'{"type":"long_task","priority":1%b}' % (b"0" * 5_000),
        "a huge number in the payload": b'{"type":"long_task","payload":{"seconds":0,"n":1%b}}' % (b"0" * 5_000),
        "a huge exponent": b'{"type":"long_task","delay":1e999}', "a bad escape": b'{"type":"\\x41"}',
    }.items():  # fmt: skip
        yield Case(f"JSON with {name}", post(body), (400,), OPEN, slug="malformed-json")
    for name, body in {
        "a list": b"[]", "null": b"null", "a number": b"1", "a text": b'"x"', "no type": b"{}",
        "a type that is none": b'{"type":1}',
        "a large number": b'{"type":"long_task","priority":1%b}' % (b"0" * 18),
        "an unknown member": b'{"type":"long_task","x":1}',
        "a type of NUL": b'{"type":"\\u0000"}', "an unknown type": b'{"type":"nobody"}',
        "a long type": b'{"type":"%b"}' % (b"x" * 9_000),
        "a payload that is none": b'{"type":"long_task","payload":3}',
        "a depth in the payload": b'{"type":"long_task","payload":%b%b}' % (b"[" * 500, b"]" * 500),
        "many wrong members": b'{"type":"long_task",%b}' % b",".join(b'"x%d":1' % n for n in range(900)),
        "a negative delay": b'{"type":"long_task","delay":-1}',
        "a time of the year 0": b'{"type":"long_task","run_at":"0000-01-01T00:00:00Z"}',
    }.items():  # fmt: skip
        yield Case(f"JSON with {name}", post(body), (422,), OPEN)
    yield Case("JSON with a member twice", post(b'{"type":"nobody","type":"long_task","payload":{"seconds":0}}'), (202,), OPEN)
    large = b'{"type":"long_task","payload":{"seconds":0,"n":-%b.5e20}}' % (b"123456789" * 20)
    yield Case("JSON with a large number in the payload", post(large), (202,), OPEN)
    yield Case("JSON with spaces around", post(b" \r\n\t" + TASK + b" \n"), (202,), OPEN)
    yield Case("a batch of rubbish", post(b'{"tasks":[1,"x",null,{}]}', target=b"/tasks/batch"), (422,), OPEN)
    yield Case(
        "a batch of depth", post(b'{"tasks":[%b]}' % deep[:50_000], target=b"/tasks/batch"), (400,), OPEN, slug="malformed-json"
    )
    yield Case("a batch that is too large", post(b" " * 150_000, target=b"/tasks/batch"), (413,), CLOSED, slug="too-large")


def _media() -> Iterator[Case]:
    """Content-Type and Content-Encoding."""
    for kind in (
        b"text/xml",
        b"multipart/form-data; boundary=x",
        b"application/octet-stream",
        b"\xff",
        b"/",
        b"application/jsonx",
        b"*/*",
    ):
        refused = post(TASK, b"Content-Type: " + kind)
        yield Case(f"type {kind!r}", refused, (415,), OPEN, slug="unsupported-media-type")
    for kind in (
        b"application/json; charset=utf-8",
        b"APPLICATION/JSON",
        b"application/x+json",
        b"text/plain",
        b"application/json;",
        b"",
    ):
        yield Case(f"type {kind!r}", post(TASK, b"Content-Type: " + kind), (202,), OPEN)
    for coding in (b"gzip", b"br", b"deflate", b"gzip, identity", b"\xff", b"x" * 5_000):
        encoded = post(TASK, b"Content-Encoding: " + coding)
        yield Case(f"coding of content {coding[:20]!r}", encoded, (415,), OPEN, slug="unsupported-media-type")
    yield Case("identity", post(TASK, b"Content-Encoding: identity"), (202,), OPEN)


def _queries() -> Iterator[Case]:
    for query in (
        b"limit=%00", b"limit=-1", b"limit=1&limit=1", b"limit=" + b"9" * 5_000, b"limit=%D9%A1", b"nobody=1",
        b"&".join([b"a=1"] * 3_000),
        b"tag=%00", b"tag=%ff", b"tag=%ed%a0%80", b"cursor=%00", b"cursor=" + b"A" * 9_000, b"status=", b"created_after=now",
        b"%=1", b"=",
        b"view=full%20", b"a" * 15_000,
    ):  # fmt: skip
        yield Case(f"query {query[:40].decode()}", get(b"/tasks?" + query), (422,), OPEN, slug="invalid-request")
    yield Case("an empty query", get(b"/tasks?"), (200,), OPEN)
    for query in (b"created_after=9999-12-31T23:59:59-23:59", b"created_before=0001-01-01T00:00:00%2B23:59"):
        yield Case(f"query {query.decode()}", get(b"/tasks?" + query), (200,), OPEN)
    yield Case("an odd tag", get(b"/tasks?tag=%zz"), (200,), OPEN)
    yield Case("a wait of infinity", post(TASK, target=b"/tasks?wait=inf"), (422,), OPEN)
