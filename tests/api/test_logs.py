"""What handlers wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dolgo.task.types import EventKind, Note
from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio

AT = 1_700_000_000.25


async def write(web: Web, lease: Any, *lines: tuple[int, str]) -> None:
    """The handler of an attempt has written these lines."""
    value = msgspec.json.encode([(number, AT, "info", text) for number, text in lines])
    note = Note(lease.id, lease.token, f"log/{lease.attempt:08}/00000000", value, EventKind.LOG)
    assert list(await web.manager.note([note])) == [True]


async def test_lines_are_shown_in_order_from_where_a_client_left_off(web: Web) -> None:
    id = await web.submit(retries=1)
    assert (await web.http.get(f"/tasks/{id}/logs")).json() == {"lines": [], "next": None}
    lease = await web.claim(id)
    await write(web, lease, (1, "Fetching \x1b[2J."), (2, "Done."))
    await web.end(lease, error="oh")
    web.clock.advance(100)
    await write(web, await web.claim(id), (1, "Again."))
    page = (await web.http.get(f"/tasks/{id}/logs?limit=2")).json()
    assert page["lines"] == [
        {"attempt": 1, "number": 1, "time": "2023-11-14T22:13:20.250000Z", "level": "info", "text": "Fetching \x1b[2J."},
        {"attempt": 1, "number": 2, "time": "2023-11-14T22:13:20.250000Z", "level": "info", "text": "Done."},
    ]
    rest = (await web.http.get(f"/tasks/{id}/logs", params={"after": page["next"]})).json()
    assert [(line["attempt"], line["text"]) for line in rest["lines"]] == [(2, "Again.")]
    assert (await web.http.get(f"/tasks/{id}/logs", params={"after": rest["next"]})).json() == {"lines": [], "next": rest["next"]}
    one = (await web.http.get(f"/tasks/{id}/logs?attempt=2")).json()
    assert [line["attempt"] for line in one["lines"]] == [2]
    assert (await web.http.get(f"/tasks/{id}/logs?attempt=7")).json()["lines"] == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("attempt=0", "/query/attempt"), ("attempt=x", "/query/attempt"), ("attempt=999999999", "/query/attempt"),
        ("limit=0", "/query/limit"), ("limit=1001", "/query/limit"), ("after=x", "/query/after"), ("wait=5", "/query/wait"),
        ("after=" + "9" * 5000 + "-1", "/query/after"),
    ],
)  # fmt: skip
async def test_parameters_that_cannot_be_used_are_refused(web: Web, query: str, wrong: str) -> None:
    answer = await web.http.get(f"/tasks/{await web.submit()}/logs?{query}")
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == [wrong]


async def test_a_task_that_is_not_there_has_no_lines(web: Web) -> None:
    refused(await web.http.get("/tasks/nope/logs"), 404, "not-found")
