"""The list of tasks."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest

from dolgo.api import listing
from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio


async def submit(web: Web, count: int, **members: Any) -> list[str]:
    """Ids of new tasks, each a second younger than the one before."""
    ids = []
    for _ in range(count):
        web.clock.advance(1)
        ids.append(await web.submit(**members))
    return ids


async def listed(web: Web, **params: Any) -> list[str]:
    """Ids on all pages."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await web.http.get("/tasks", params={**params, **cursor})
        assert answer.status_code == 200, answer.text
        assert list(answer.json()) == ["tasks", "next"]
        ids += [task["id"] for task in answer.json()["tasks"]]
        if answer.json()["next"] is None:
            assert "link" not in answer.headers
            return ids
        cursor = {"cursor": answer.json()["next"]}


async def test_nothing_is_a_list_too(web: Web) -> None:
    assert (await web.http.get("/tasks")).json() == {"tasks": [], "next": None}


async def test_tasks_are_listed_newest_first_or_as_asked_for(web: Web) -> None:
    ids = await submit(web, 7)
    for order, expected in (({}, ids[::-1]), ({"order": "-created_at"}, ids[::-1]), ({"order": "created_at"}, ids)):
        for limit in (1, 2, 7, 50, 1000):
            assert await listed(web, limit=limit, **order) == expected
    for id in (ids[3], ids[0]):
        web.clock.advance(1)
        await web.http.post(f"/tasks/{id}/cancel")
    assert await listed(web, order="finished_at", limit=1) == [ids[3], ids[0]]
    assert await listed(web, order="-finished_at") == [ids[0], ids[3]]


async def test_items_are_shown_as_a_task_alone_is(web: Web) -> None:
    id = await web.submit("anything", payload={"value": 1})
    await web.run(id, b'{"z":1,"a":[1.0]}')
    for view in ("short", "full"):
        alone = (await web.http.get(f"/tasks/{id}?view={view}")).content.replace(b'"waiting_for":null,', b"")
        assert (await web.http.get(f"/tasks?view={view}")).content == b'{"tasks":[%b],"next":null}' % alone
    assert (await web.http.get("/tasks")).content == (await web.http.get("/tasks?view=short")).content


async def test_a_page_has_fifty_tasks_if_nothing_is_said(web: Web) -> None:
    await submit(web, 51)
    assert len((await web.http.get("/tasks")).json()["tasks"]) == 50


async def test_filters_are_joined_by_and(web: Web) -> None:
    plain = await submit(web, 2)
    (tagged,) = await submit(web, 1, tags=["a b", "ü&+"])
    (other,) = await submit(web, 1, type="thumbnail", payload={"url": "x"}, tags=["a b"])
    await web.http.post(f"/tasks/{plain[0]}/cancel")
    assert await listed(web, status="cancelled") == [plain[0]]
    assert await listed(web, status="done") == []
    assert await listed(web, type="thumbnail") == [other]
    assert await listed(web, type="never_heard_of") == []
    assert await listed(web, queue="pictures") == [other]
    assert await listed(web, tag="a b") == [other, tagged]
    assert await listed(web, tag="ü&+", queue="default", status="queued") == [tagged]
    assert await listed(web, tag="ü&+", queue="pictures") == []
    at = (await web.http.get(f"/tasks/{tagged}?view=full")).json()["created_at"]
    assert await listed(web, created_after=at) == [other]
    assert await listed(web, created_before=at, order="created_at") == plain
    assert await listed(web, created_before=at.replace("Z", "+00:00"), limit=1) == plain[::-1]


async def test_pages_stay_as_they_are_while_tasks_come_and_go(web: Web) -> None:
    ids = await submit(web, 9)
    first = (await web.http.get("/tasks?limit=3")).json()
    await submit(web, 5)
    for id in (ids[6], ids[4]):  # the one the cursor stands on, and one of the next page
        await web.http.post(f"/tasks/{id}/cancel")
        await web.http.delete(f"/tasks/{id}")
    second = (await web.http.get(f"/tasks?limit=3&cursor={first['next']}")).json()
    assert [task["id"] for task in first["tasks"] + second["tasks"]] == [ids[8], ids[7], ids[6], ids[5], ids[3], ids[2]]


async def test_the_next_page_is_linked_with_its_filters(web: Web) -> None:
    ids = await submit(web, 5, tags=["ü&+ >"])
    answer = await web.http.get("/tasks", params={"tag": "ü&+ >", "limit": "2", "order": "created_at"})
    seen = answer.json()["tasks"]
    while link := answer.headers.get("link"):
        target, _, rel = link.partition("; ")
        assert rel == 'rel="next"'
        assert urlsplit(target[1:-1]).path == "/tasks"
        answer = await web.http.get(target.strip("<>"))
        seen += answer.json()["tasks"]
    assert [task["id"] for task in seen] == ids


async def test_a_cursor_is_bound_to_its_order(web: Web) -> None:
    await submit(web, 3)
    cursor = (await web.http.get("/tasks?limit=1")).json()["next"]
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    for order in ("created_at", "finished_at", "-finished_at"):
        answer = await web.http.get("/tasks", params={"cursor": cursor, "order": order})
        assert "order" in refused(answer, 422, "invalid-request")["error"]
        assert pointers(answer) == ["/query/cursor"]
    assert (await web.http.get("/tasks", params={"cursor": cursor, "order": "-created_at"})).status_code == 200


def encoded(text: str) -> str:
    """As cursors are written."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NO_CURSORS = ["", "x", "AAAA", "é", "%00", "a" * 5000, "a=b=", encoded("[]"), encoded('["-created_at",1e400,"x"]')]
NO_CURSORS += [encoded('["-created_at","x","x"]'), encoded('["-created_at",1,"\\u0000"]'), encoded('["-created_at",1,"é"]')]


@pytest.mark.parametrize("cursor", NO_CURSORS)
async def test_what_is_no_cursor_is_refused(web: Web, cursor: str) -> None:
    answer = await web.http.get("/tasks", params={"cursor": cursor})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/query/cursor"]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("status=running", ["/query/status"]),
        ("status=", ["/query/status"]),
        ("type=", ["/query/type"]),
        ("type=a%20b", ["/query/type"]),
        ("type=%00", ["/query/type"]),
        ("queue=a%0a", ["/query/queue"]),
        ("tag=", ["/query/tag"]),
        ("tag=%00", ["/query/tag"]),
        ("tag=" + "a" * 129, ["/query/tag"]),
        ("created_after=yesterday", ["/query/created_after"]),
        ("created_after=5", ["/query/created_after"]),
        ("created_before=2026-01-31T12:00:00", ["/query/created_before"]),
        ("created_before=2026-01-31T12:00:00+02:00", ["/query/created_before"]),
        ("order=id", ["/query/order"]),
        ("limit=0", ["/query/limit"]),
        ("limit=1001", ["/query/limit"]),
        ("limit=-1", ["/query/limit"]),
        ("limit=1.5", ["/query/limit"]),
        ("limit=", ["/query/limit"]),
        ("limit", ["/query/limit"]),
        ("limit=%D9%A3", ["/query/limit"]),
        ("view=long", ["/query/view"]),
        ("limit=5&limit=5", ["/query/limit"]),
        ("colour=red", ["/query/colour"]),
        ("LIMIT=5", ["/query/LIMIT"]),
        ("wait=5", ["/query/wait"]),
        ("a/b~c=1&limit=0&status=x", ["/query/a~1b~0c", "/query/limit", "/query/status"]),
        ("tag=%ff", ["/query"]),
        ("%ff=1", ["/query"]),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_refused(web: Web, query: str, wrong: list[str]) -> None:
    answer = await web.http.get(f"/tasks?{query}")
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == wrong


async def test_a_page_of_large_tasks_ends_early_and_goes_on(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_BYTES", 10_000)
    ids = await submit(web, 12, type="anything", payload={"value": "x" * 3000})
    page = (await web.http.get("/tasks?view=full&limit=100")).json()
    assert 1 <= len(page["tasks"]) < 6
    assert await listed(web, view="full", limit=100) == ids[::-1]


async def test_a_long_page_is_fetched_in_parts(web: Web) -> None:
    ids = await submit(web, 130)
    for limit in (50, 99, 100, 130, 131, 1000):
        assert await listed(web, limit=limit) == ids[::-1]
        page = (await web.http.get(f"/tasks?limit={limit}")).json()
        assert len(page["tasks"]) == min(limit, 130)
