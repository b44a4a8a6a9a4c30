"""What is sent as a body: JSON and nothing else, and no more of it than is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dolgo.task.types import Query
from tests.api.web import Web, call, refused

pytestmark = pytest.mark.anyio

DEEP = b"[" * 30_000 + b"]" * 30_000
ANYTHING = b'{"type":"anything","payload":{"value":%b}}'
MALFORMED = {
    "empty": b"",
    "blank": b"  \n",
    "cut short": b'{"type":"pause"',
    "cut in a string": b'{"type":"pau',
    "trailing bytes": b'{"type":"pause"} x',
    "two documents": b'{"type":"pause"}{"type":"pause"}',
    "trailing comma": b'{"type":"pause",}',
    "single quotes": b"{'type':'pause'}",
    "a comment": b'{"type":"pause"/**/}',
    "byte order mark": b'\xef\xbb\xbf{"type":"pause"}',
    "UTF-16": '{"type":"pause"}'.encode("utf-16"),
    "NUL": b'{"type":"pause"}\0',
    "form": b"type=pause",
    "NaN": ANYTHING % b"NaN",
    "Infinity": ANYTHING % b"-Infinity",
    "too large a number": ANYTHING % b"1e400",
    "leading zero": ANYTHING % b"01",
    "hexadecimal": ANYTHING % b"0x1",
    "bad UTF-8 in a string": ANYTHING % b'"\xff"',
    "bad UTF-8 in a key": ANYTHING % b'{"\xc3\x28":1}',
    "overlong UTF-8": ANYTHING % b'"\xc0\xaf"',
    "a surrogate in UTF-8": ANYTHING % b'"\xed\xa0\x80"',
    "half of a surrogate pair": ANYTHING % b'"\\ud800"',
    "a control character": ANYTHING % b'"\n"',
    "a bad escape": ANYTHING % b'"\\x41"',
    "nested too deeply": ANYTHING % DEEP,
    "bad UTF-8 in what a type skips": b'{"type":"pause","payload":{"other":"\xff"}}',
    "too large a number in what a type skips": b'{"type":"pause","payload":{"other":1e400}}',
    "bad UTF-8 in an unknown member": b'{"type":"pause","colour":"\xff"}',
    "bad UTF-8 in a type": b'{"type":"\xff"}',
    "bad UTF-8 in a tag": b'{"type":"pause","tags":["\xff"]}',
    "nested too deeply in an unknown member": b'{"type":"pause","colour":%b}' % DEEP,
    "bad beside a wrong member": b'{"type":"pause","priority":10,"payload":{"other":"\xff"}}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_not_json_is_refused_alone_and_in_a_batch(web: Web, body: bytes) -> None:
    refused(await web.http.post("/tasks", content=body), 400, "malformed-json")
    answer = await web.http.post("/tasks/batch", content=b'{"tasks":[{"type":"pause"},' + body + b"]}")
    refused(answer, 400, "malformed-json")
    assert not (await web.manager.list(Query())).tasks


async def test_the_sentence_says_what_is_wrong_with_it(web: Web) -> None:
    for body, words in ((b"", "it is empty"), (b"\xef\xbb\xbf{}", "byte order mark"), (DEEP, "too deeply"), (b'"\xff"', "UTF-8")):
        assert words in (await web.http.post("/tasks", content=body)).json()["error"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "APPLICATION/JSON; charset=utf-8", "application/vnd.api+json", "text/plain", "text/plain;charset=UTF-8",
     "application/x-www-form-urlencoded", ""],
)  # fmt: skip
async def test_json_is_read_under_what_clients_call_it(web: Web, kind: str) -> None:
    answer = await web.http.post("/tasks", content=b'{"type":"pause"}', headers={"Content-Type": kind})
    assert answer.status_code == 202


@pytest.mark.parametrize("kind", ["text/xml", "multipart/form-data; boundary=x", "application/jsonp", "json", "\xff"])
async def test_another_kind_of_body_is_refused(web: Web, kind: str) -> None:
    headers = {b"Content-Type": kind.encode("latin-1")}
    for path in ("/tasks", "/tasks/batch", "/tasks/x/cancel"):
        refused(await web.http.post(path, content=b'{"type":"pause"}', headers=headers), 415, "unsupported-media-type")


async def test_a_compressed_body_is_refused(web: Web) -> None:
    answer = await web.http.post("/tasks", content=b"x", headers={"Content-Encoding": "gzip"})
    refused(answer, 415, "unsupported-media-type")


def chunks(*parts: bytes) -> Any:
    """A body that comes in parts; it fails if more is asked for than there is."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


def never() -> Any:
    """A body that nobody may look at."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was read")

    return receive


async def test_a_body_may_come_in_parts(web: Web) -> None:
    sent = await call(web.app, "POST", "/tasks", receive=chunks(b'{"type":', b"", b'"pause"}'))
    assert sent[0]["status"] == 202


async def test_a_body_said_to_be_too_large_is_not_read(web: Web) -> None:
    for length in (b"2000000", b"9" * 5000):
        sent = await call(web.app, "POST", "/tasks", headers=[(b"content-length", length)], receive=never())
        assert sent[0]["status"] == 413


async def test_a_body_that_grows_too_large_is_not_read_to_the_end(web: Web) -> None:
    endless = [b"x" * 10_000] * 1000
    sent = await call(web.app, "POST", "/tasks", headers=[(b"content-length", b"5")], receive=chunks(*endless))
    assert sent[0]["status"] == 413


async def test_a_client_that_leaves_in_the_middle_gets_no_answer_and_no_task(web: Web) -> None:
    messages = iter([{"type": "http.request", "body": b'{"type":"pause"}', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    assert await call(web.app, "POST", "/tasks", receive=receive) == []
    assert not (await web.manager.list(Query())).tasks


async def test_a_stream_of_unknown_length_is_taken(web: Web) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"type":'
        yield b'"pause"}'

    assert (await web.http.post("/tasks", content=parts())).status_code == 202


@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
async def test_a_request_without_members_may_have_an_empty_body(web: Web, body: bytes) -> None:
    id = await web.submit()
    assert (await web.http.post(f"/tasks/{id}/cancel", content=body)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [(b'{"reason":"x"}', 422, "invalid-request"), (b"[]", 422, "invalid-request"), (b"{", 400, "malformed-json"),
     (b" " * 5000, 413, "too-large")],
)  # fmt: skip
async def test_a_request_without_members_refuses_them(web: Web, body: bytes, status: int, slug: str) -> None:
    id = await web.submit()
    for verb in ("cancel", "retry"):
        refused(await web.http.post(f"/tasks/{id}/{verb}", content=body), status, slug)
    assert (await web.manager.get(id)).status == "queued"
