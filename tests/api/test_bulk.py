"""Many tasks cancelled or retried at once."""

from __future__ import annotations

import pytest

from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio


async def test_all_that_the_filters_let_through_are_cancelled(web: Web) -> None:
    meant = [await web.submit(tags=["old"]) for _ in range(3)]
    other = await web.submit(tags=["new"])
    answer = await web.http.post("/tasks/cancel?tag=old&status=queued&dry_run=true")
    assert (answer.status_code, answer.json()) == (200, {"matched": 3, "changed": 0, "more": False})
    assert (await web.http.get(f"/tasks/{meant[0]}")).json()["status"] == "queued"
    answer = await web.http.post("/tasks/cancel?tag=old&dry_run=false")
    assert answer.json() == {"matched": 3, "changed": 3, "more": False}
    assert {(await web.http.get(f"/tasks/{id}")).json()["status"] for id in meant} == {"cancelled"}
    assert (await web.http.get(f"/tasks/{other}")).json()["status"] == "queued"
    assert (await web.http.post("/tasks/cancel?tag=old")).json() == {"matched": 0, "changed": 0, "more": False}


async def test_what_runs_is_asked_to_stop(web: Web) -> None:
    id = await web.submit()
    await web.claim(id)
    assert (await web.http.post("/tasks/cancel?type=pause")).json()["changed"] == 1
    assert (await web.manager.get(id)).cancel_asked


async def test_failed_and_cancelled_tasks_are_retried(web: Web) -> None:
    failed, cancelled, done = [await web.submit() for _ in range(3)]
    await web.http.post(f"/tasks/{cancelled}/cancel")
    lease = await web.claim(failed)
    await web.end(lease, error="oh")
    assert (await web.http.post("/tasks/retry?status=done")).json() == {"matched": 0, "changed": 0, "more": False}
    answer = await web.http.post("/tasks/retry?created_after=2020-01-01T00:00:00Z", json={})
    assert answer.json() == {"matched": 2, "changed": 2, "more": False}
    for id in (failed, cancelled):
        assert (await web.http.get(f"/tasks/{id}")).json()["status"] == "queued"
    assert (await web.http.get(f"/tasks/{done}")).json()["status"] == "in_progress"


@pytest.mark.parametrize("verb", ["cancel", "retry"])
@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", ["/query"]),
        ("dry_run=true", ["/query"]),
        ("status=lost&type=?&dry_run=1", ["/query/status", "/query/type", "/query/dry_run"]),
        ("type=pause&limit=5", ["/query/limit"]),
        ("type=pause&order=created_at&cursor=x&view=full", ["/query/order", "/query/cursor", "/query/view"]),
    ],
)
async def test_a_filter_is_needed_and_nothing_is_ignored(web: Web, verb: str, query: str, wrong: list[str]) -> None:
    id = await web.submit()
    answer = await web.http.post(f"/tasks/{verb}?{query}")
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == wrong
    assert (await web.http.get(f"/tasks/{id}")).json()["status"] == "queued"


async def test_a_body_with_members_is_refused(web: Web) -> None:
    answer = await web.http.post("/tasks/cancel?type=pause", json={"type": "pause"})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/type"]
