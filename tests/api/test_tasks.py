"""Tasks that exist: looked at, waited for, cancelled, retried, deleted."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from dolgo.runner.link import Kind, Report
from tests.api.web import WORKER, Web, call, refused

pytestmark = pytest.mark.anyio

FULL = [
    "id", "status", "error", "type", "queue", "priority", "payload", "attempt", "max_attempts", "timeout", "keep", "created_at",
    "run_at", "started_at", "finished_at", "expires_at", "worker", "progress", "waiting_for", "attempts", "parents", "dependents",
    "submitted", "tags", "on_parent_failure", "unique_key", "limit_key",
]  # fmt: skip


async def soon(web: Web, id: str, watched: bool = True) -> None:
    """Return when somebody waits for the task."""
    async with asyncio.timeout(5):
        while (id in web.notify._watches) is not watched:
            await asyncio.sleep(0)


async def test_the_short_form_has_fixed_members_at_every_status(web: Web) -> None:
    id = await web.submit()

    async def short() -> Any:
        return (await web.http.get(f"/tasks/{id}")).json()

    assert await short() == {"id": id, "status": "queued"}
    lease = await web.claim(id)
    assert await short() == {"id": id, "status": "in_progress"}
    await web.end(lease, error="no such page")
    assert await short() == {"id": id, "status": "failed", "error": "no such page"}
    await web.http.post(f"/tasks/{id}/retry")
    assert await short() == {"id": id, "status": "queued"}
    await web.run(id)
    assert await short() == {"id": id, "status": "done", "result": {"result": "success"}}
    other = await web.submit()
    await web.http.post(f"/tasks/{other}/cancel")
    cancelled = (await web.http.get(f"/tasks/{other}")).json()
    assert list(cancelled) == ["id", "status", "error"]
    assert (cancelled["status"], type(cancelled["error"])) == ("cancelled", str)


@pytest.mark.parametrize("result", [b"null", b'"x"', b"0.10", b"[]", b'{"a":1e3,"a":2}', b"[" * 50_000 + b"]" * 50_000])
async def test_a_result_comes_back_as_the_handler_gave_it(web: Web, result: bytes) -> None:
    id = await web.submit()
    await web.run(id, result)
    assert (await web.http.get(f"/tasks/{id}")).content == b'{"id":"%b","status":"done","result":%b}' % (id.encode(), result)
    assert b'"result":' + result + b"," in (await web.http.get(f"/tasks/{id}?view=full")).content


async def test_the_full_form_tells_all_there_is(web: Web) -> None:
    id = await web.submit("thumbnail", payload={"url": "x"}, tags=["a", "b"])
    full = (await web.http.get(f"/tasks/{id}?view=full")).json()
    assert list(full) == FULL
    assert full["payload"] == {"url": "x"}
    assert (full["queue"], full["priority"], full["tags"], full["attempt"]) == ("pictures", 7, ["a", "b"], 0)
    assert (full["attempts"], full["worker"], full["error"], full["progress"]) == ([], None, None, None)
    assert full["created_at"] == full["run_at"] == "2023-11-14T22:13:20.000000Z"
    web.clock.advance(1.25)
    lease = await web.claim(id)
    full = (await web.http.get(f"/tasks/{id}?view=full")).json()
    running = {"number": 1, "worker": WORKER, "started_at": "2023-11-14T22:13:21.250000Z", "finished_at": None}
    assert full["attempts"] == [{**running, "outcome": None, "error": None}]
    web.clock.advance(0.5)
    await web.end(lease, error="no such page")
    full = (await web.http.get(f"/tasks/{id}?view=full")).json()
    error = {
        "code": "handler_error",
        "message": "no such page",
        "type": "ValueError",
        "traceback": "Traceback: here",
        "attempt": 1,
    }
    failed = {**running, "finished_at": "2023-11-14T22:13:21.750000Z", "outcome": "failed", "error": error}
    assert (full["status"], full["error"], full["attempts"]) == ("failed", error, [failed])
    await web.http.post(f"/tasks/{id}/retry")
    await web.run(id)
    full = (await web.http.get(f"/tasks/{id}?view=full")).json()
    assert list(full) == [*FULL[:2], "result", *FULL[2:]]
    assert (full["error"], full["result"], full["attempt"]) == (None, {"result": "success"}, 2)
    assert [(attempt["number"], attempt["outcome"]) for attempt in full["attempts"]] == [(1, "failed"), (2, "done")]
    assert (await web.http.get(f"/tasks/{id}?view=short")).json().keys() == {"id", "status", "result"}


async def test_an_attempt_that_was_given_back_is_shown_once(web: Web) -> None:
    id = await web.submit()
    assert list(await web.manager.give_back([await web.claim(id)], started=True)) == [True]
    full = (await web.http.get(f"/tasks/{id}?view=full")).json()
    assert (full["status"], full["attempt"]) == ("queued", 1)
    assert [(attempt["number"], attempt["outcome"]) for attempt in full["attempts"]] == [(1, "given_back")]


@pytest.mark.parametrize("id", ["x", "01976f2e-8c1a-7c3e-9b2d-5a4f0e6d7c81", "%00", "a%0ab", "a" * 5000, "%ff", "é", "..%2f"])
async def test_an_id_never_issued_is_not_found(web: Web, id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "?wait=1"), ("HEAD", "")):
        answer = await web.http.request(method, f"/tasks/{id}{path}")
        assert answer.status_code == 404, answer.text
        assert len(answer.content) < 1000


async def test_a_client_that_has_the_answer_already_is_told_so(web: Web) -> None:
    id = await web.submit()
    first = await web.http.get(f"/tasks/{id}")
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = await web.http.get(f"/tasks/{id}", headers={"If-None-Match": sent})
        assert (same.status_code, same.content, same.headers["etag"], same.headers["retry-after"]) == (304, b"", etag, "1")
        assert "content-length" not in same.headers
    for sent in ('"other"', etag.strip('"'), ""):
        assert (await web.http.get(f"/tasks/{id}", headers={"If-None-Match": sent})).status_code == 200
    full = await web.http.get(f"/tasks/{id}?view=full", headers={"If-None-Match": etag})
    assert full.status_code == 200
    assert full.headers["etag"] != etag
    await web.claim(id)
    changed = await web.http.get(f"/tasks/{id}", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


async def test_when_to_ask_again_is_said_while_there_is_something_to_ask_for(web: Web) -> None:
    id = await web.submit()
    assert (await web.http.get(f"/tasks/{id}")).headers["retry-after"] == "1"
    await web.run(id)
    assert "retry-after" not in (await web.http.get(f"/tasks/{id}")).headers
    for delay, seconds in ((20.5, "21"), (7200, "60")):
        later = await web.submit(delay=delay)
        assert (await web.http.get(f"/tasks/{later}")).headers["retry-after"] == seconds
    web.clock.advance(1e6)
    assert (await web.http.get(f"/tasks/{later}")).headers["retry-after"] == "1"


async def test_a_wait_is_answered_when_the_task_ends_and_not_before(web: Web) -> None:
    id = await web.submit()
    waiting = asyncio.create_task(web.http.get(f"/tasks/{id}", headers={"Prefer": "wait=30"}))
    await soon(web, id)
    lease = await web.claim(id)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await web.end(lease)
    answer = await waiting
    assert (answer.json()["status"], answer.headers["preference-applied"]) == ("done", "wait=30")


async def test_a_wait_that_runs_out_answers_as_things_stand(web: Web) -> None:
    id = await web.submit()
    assert (await web.http.get(f"/tasks/{id}?wait=0.01")).json() == {"id": id, "status": "queued"}
    assert (await web.http.get(f"/tasks/{id}?wait=0")).json() == {"id": id, "status": "queued"}


async def test_a_wait_with_an_etag_is_answered_at_the_next_change(web: Web) -> None:
    id = await web.submit()
    etag = (await web.http.get(f"/tasks/{id}")).headers["etag"]
    headers = {"If-None-Match": etag}
    assert (await web.http.get(f"/tasks/{id}?wait=0.01", headers=headers)).status_code == 304
    waiting = asyncio.create_task(web.http.get(f"/tasks/{id}?wait=30", headers=headers))
    await soon(web, id)
    await web.claim(id)
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "in_progress")
    late = await web.http.get(f"/tasks/{id}?wait=30", headers=headers)
    assert (late.status_code, late.json()["status"]) == (200, "in_progress")


async def test_waits_are_answered_as_things_stand_when_the_service_stops(web: Web) -> None:
    id = await web.submit()
    waiting = asyncio.create_task(web.http.get(f"/tasks/{id}?wait=30"))
    await soon(web, id)
    web.notify.close()
    assert (await waiting).json() == {"id": id, "status": "queued"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_goes_away_ends_its_wait(web: Web, method: str, caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()
    bodies = iter([{"type": "http.request", "body": b'{"type":"pause"}' if method == "POST" else b"", "more_body": False}])

    async def receive() -> Any:
        if message := next(bodies, None):
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    path = "/tasks" if method == "POST" else f"/tasks/{await web.submit()}"
    waiting = asyncio.create_task(call(web.app, method, path, query=b"wait=30", receive=receive))
    async with asyncio.timeout(5):
        while not web.notify._watches:
            await asyncio.sleep(0)
        (id,) = web.notify._watches
        gone.set()
        assert await waiting == []
    assert not waiting.cancelling()
    await soon(web, id, watched=False)
    assert not caplog.records


async def test_nobody_looks_for_the_client_once_it_is_answered(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolgo.api.call.LOOK_AFTER", 0.0)
    id = await web.submit()
    await web.run(id)

    async def receive() -> Any:
        raise AssertionError("somebody looked")

    assert (await call(web.app, "GET", f"/tasks/{id}", query=b"wait=30", receive=receive))[0]["status"] == 200
    before = asyncio.all_tasks()
    for _ in range(5):
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before


async def test_a_wait_that_is_cancelled_from_above_is_not_swallowed(web: Web) -> None:
    id = await web.submit()

    async def receive() -> Any:
        await asyncio.Event().wait()

    waiting = asyncio.create_task(call(web.app, "GET", f"/tasks/{id}", query=b"wait=30", receive=receive))
    await soon(web, id)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelling_is_done_at_once_or_asked_for(web: Web) -> None:
    queued, running = await web.submit(), await web.submit()
    for _ in range(2):
        answer = await web.http.post(f"/tasks/{queued}/cancel")
        assert (answer.status_code, answer.json()) == (200, {"id": queued, "status": "cancelled"})
        assert answer.headers["location"] == f"/tasks/{queued}"
    lease = await web.claim(running)
    for _ in range(2):
        answer = await web.http.post(f"/tasks/{running}/cancel")
        assert (answer.status_code, answer.json()) == (202, {"id": running, "status": "in_progress"})
    await web.manager.settle([(lease, Report(0, Kind.CANCELLED))])
    assert (await web.http.get(f"/tasks/{running}")).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("end", "verb", "status"),
    [
        ("queued", "cancel", 200), ("queued", "retry", 409), ("queued", "delete", 409),
        ("in_progress", "cancel", 202), ("in_progress", "retry", 409), ("in_progress", "delete", 409),
        ("done", "cancel", 409), ("done", "retry", 409), ("done", "delete", 204),
        ("failed", "cancel", 409), ("failed", "retry", 202), ("failed", "delete", 204),
        ("cancelled", "cancel", 200), ("cancelled", "retry", 202), ("cancelled", "delete", 204),
    ],
)  # fmt: skip
async def test_what_a_status_forbids_is_a_conflict(web: Web, end: str, verb: str, status: int) -> None:
    id = await web.submit()
    if end == "in_progress":
        await web.claim(id)
    elif end in ("done", "failed"):
        await web.run(id, error="oh" if end == "failed" else "")
    elif end == "cancelled":
        await web.http.post(f"/tasks/{id}/cancel")
    before = (await web.http.get(f"/tasks/{id}")).json()
    assert before["status"] == end
    if verb == "delete":
        answer = await web.http.delete(f"/tasks/{id}")
    else:
        answer = await web.http.post(f"/tasks/{id}/{verb}")
    assert answer.status_code == status
    after = await web.http.get(f"/tasks/{id}")
    if status == 409:
        refused(answer, 409, "conflict")
        assert after.json() == before
    elif verb == "delete":
        assert (answer.content, after.status_code) == (b"", 404)
        assert "content-type" not in answer.headers
    else:
        assert answer.json() == {"id": id, "status": after.json()["status"]}
