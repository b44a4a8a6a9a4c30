"""Pages of the event log, and what streams begin with: what is asked for, and what nobody should ask for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.api.call import Message
from tests.api.web import Web, call, pointers, refused

pytestmark = pytest.mark.anyio

SSE = (b"accept", b"text/event-stream")


async def page(web: Web, path: str = "/events", **query: Any) -> dict[str, Any]:
    answer = await web.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def statuses(page: dict[str, Any]) -> list[str]:
    return [event["status"] for event in page["events"]]


async def begun(web: Web, path: str, *headers: tuple[bytes, bytes], query: bytes = b"", pieces: int = 1) -> tuple[int, bytes]:
    """The status of a stream, and what it says in so many pieces; then its client goes away."""
    gone = asyncio.Event()
    text: list[bytes] = []
    status = 0

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        if message.get("body"):
            text.append(message["body"])
        if len(text) == pieces:
            gone.set()

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": [SSE, *headers]}
    async with asyncio.timeout(10):
        await web.app(scope, receive, send)
    return status, b"".join(text)


async def test_a_page_begins_at_the_beginning_and_goes_on_at_its_next(web: Web) -> None:
    id = await web.submit()
    await web.run(id)
    first = await page(web, limit=2)
    assert statuses(first) == ["queued", "in_progress"]
    assert [event["seq"] for event in first["events"]] == [1, 2]
    second = await page(web, after=first["next"])
    assert statuses(second) == ["done"]
    assert statuses(await page(web, after=f"{second['epoch']}-{second['next']}")) == []
    assert second["reset"] is False


async def test_filters_let_through_what_fits_and_next_moves_on_all_the_same(web: Web) -> None:
    await web.submit()
    other = await web.submit("anything", queue="mail")
    assert [event["id"] for event in (await page(web, queue="mail"))["events"]] == [other]
    assert [event["id"] for event in (await page(web, type="anything"))["events"]] == [other]
    none = await page(web, status="done")
    assert (none["events"], none["next"]) == ([], 2)


async def test_a_page_waits_for_an_event_that_fits(web: Web) -> None:
    waiting = asyncio.create_task(page(web, after=0, wait=20, type="anything"))
    await asyncio.sleep(0)
    await web.submit()
    id = await web.submit("anything")
    assert [event["id"] for event in (await waiting)["events"]] == [id]


async def test_a_place_beyond_the_log_or_of_another_one_is_a_reset(web: Web) -> None:
    await web.submit()
    for after in ("999", "999999999999999999", "0badcafe-1"):
        found = await page(web, after=after)
        assert (found["reset"], found["events"], found["next"]) == (True, [], 1)


@pytest.mark.parametrize("after", ["", "-1", "x", "1.5", "9" * 19, "zz-1", "1-", "0x1"])
async def test_what_is_no_place_is_refused(web: Web, after: str) -> None:
    answer = await web.http.get("/events", params={"after": after})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/query/after"]


@pytest.mark.parametrize("last", [b"-1", b"x", b"9" * 400, b"1-1-1", b"\xff\xfe", b"0badcafe-1", b"none-0", b"' OR 1", b"99999"])
async def test_a_hostile_last_event_id_is_a_reset(web: Web, last: bytes) -> None:
    id = await web.submit()
    status, text = await begun(web, "/events", (b"last-event-id", last), pieces=2)
    assert status == 200
    assert b"event: reset" in text
    status, text = await begun(web, f"/tasks/{id}/events", (b"last-event-id", last), pieces=3)
    assert b"event: reset" in text
    assert b'"status":"queued"' in text.partition(b"event: reset")[2]  # afresh


async def test_last_event_id_wins_over_after(web: Web) -> None:
    for _ in range(3):
        await web.submit()
    epoch = (await page(web))["epoch"].encode()
    _, text = await begun(web, "/events", (b"last-event-id", epoch + b"-2"), query=b"after=0", pieces=2)
    assert text.count(b"event: task.status") == 1
    assert b"id: " + epoch + b"-3\n" in text


async def test_a_stream_begins_with_where_it_is_even_if_nothing_happens(web: Web) -> None:
    await web.submit()
    epoch = (await page(web))["epoch"].encode()
    assert await begun(web, "/events") == (200, b"retry: 1000\n: here\nid: " + epoch + b"-1\n\n")


async def test_a_stream_takes_no_parameters_of_pages(web: Web) -> None:
    answer = await web.http.get("/events", params={"limit": 1, "wait": 1}, headers={"Accept": "text/event-stream"})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/query/limit", "/query/wait"]


async def test_the_page_of_a_task_begins_with_how_it_stands(web: Web) -> None:
    id = await web.submit()
    lease = await web.claim(id)
    first = await page(web, f"/tasks/{id}/events")
    assert statuses(first) == ["in_progress"]
    await web.submit()
    await web.end(lease)
    assert statuses(await page(web, f"/tasks/{id}/events", after=first["next"])) == ["done"]


async def test_of_a_task_that_does_not_exist_there_are_no_events(web: Web) -> None:
    refused(await web.http.get("/tasks/nope/events"), 404, "not-found")
    refused(await web.http.get("/tasks/nope/events", headers={"Accept": "text/event-stream"}), 404, "not-found")


async def test_head_of_a_stream_is_its_head(web: Web) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    sent = await call(web.app, "HEAD", "/events", headers=[SSE], receive=receive)
    assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream"
    assert [message.get("body") for message in sent[1:]] == [b""]


async def test_a_plain_request_for_the_socket_is_told_to_upgrade(web: Web) -> None:
    answer = await web.http.get("/ws")
    refused(answer, 426, "upgrade-required")
    assert answer.headers["upgrade"] == "websocket"


async def test_a_page_of_another_site_gets_no_socket(web: Web) -> None:
    refused(await web.http.get("/ws", headers={"Origin": "http://evil.example"}), 403, "forbidden")
