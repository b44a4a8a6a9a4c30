"""What a submit can ask for besides its payload, and what the full view shows of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.task.types import EventKind, Lease, Note
from tests.api.web import TYPES, Web, pointers, refused

pytestmark = pytest.mark.anyio


async def full(web: Web, id: str) -> dict[str, Any]:
    """All there is to know of a task."""
    answer = await web.http.get(f"/tasks/{id}?view=full")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def progress(web: Web, lease: Lease, value: bytes) -> None:
    """The handler says how far it is."""
    note = Note(lease.id, lease.token, "progress", value, EventKind.PROGRESS)
    assert list(await web.manager.note([note])) == [True]


async def batch(web: Web, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks as they were accepted."""
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause", **task} for task in tasks]})
    assert answer.status_code == 202, answer.text
    accepted: list[dict[str, Any]] = answer.json()["tasks"]
    return accepted


async def test_options_are_kept_and_shown(web: Web) -> None:
    id = await web.submit(
        timeout=2.5,
        retries=3,
        keep=60,
        expires_at="2030-01-31T12:00:00Z",
        unique_key="u/1",
        limit_key="ü",
        on_parent_failure="run",
    )
    shown = await full(web, id)
    assert (shown["timeout"], shown["max_attempts"], shown["keep"]) == (2.5, 4, 60.0)
    assert (shown["expires_at"], shown["unique_key"], shown["limit_key"]) == ("2030-01-31T12:00:00.000000Z", "u/1", "ü")
    assert shown["on_parent_failure"] == "run"
    plain = await full(web, await web.submit())
    assert (plain["timeout"], plain["max_attempts"], plain["keep"], plain["expires_at"]) == (None, 1, None, None)
    assert (plain["parents"], plain["dependents"], plain["submitted"], plain["progress"]) == ([], [], [], None)


async def test_a_task_waits_for_its_parents(web: Web) -> None:
    first, second = await web.submit(), await web.submit()
    answer = await web.http.post("/tasks", json={"type": "pause", "depends_on": [second, first, second]})
    assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
    id = answer.json()["id"]
    shown = await full(web, id)
    assert (shown["status"], shown["parents"], shown["waiting_for"]["code"]) == ("waiting", [second, first], "parents")
    assert (await full(web, first))["dependents"] == [id]
    lease = await web.claim(first)
    await web.end(lease)
    assert (await web.http.get(f"/tasks/{id}")).json() == {"id": id, "status": "waiting"}


async def test_a_task_whose_parent_has_failed_is_cancelled_or_runs(web: Web) -> None:
    failed = await web.submit()
    await web.run(failed, error="oh")
    answer = await web.http.post("/tasks", json={"type": "pause", "depends_on": [failed]})
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    shown = await full(web, answer.json()["id"])
    assert shown["error"]["code"] == "dependency_failed"
    answer = await web.http.post("/tasks?wait=30", json={"type": "pause", "depends_on": [failed]})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    answer = await web.http.post("/tasks", json={"type": "pause", "depends_on": [failed], "on_parent_failure": "run"})
    assert answer.json()["status"] == "queued"
    retried = await web.http.post(f"/tasks/{shown['id']}/retry")
    refused(retried, 409, "conflict")


async def test_the_tasks_of_a_batch_name_one_another_in_any_order(web: Web) -> None:
    last, first, other = await batch(web, {"depends_on": ["ref:first", "ref:x/y z"]}, {"ref": "first"}, {"ref": "x/y z"})
    assert (last["status"], first["status"], other["status"]) == ("waiting", "queued", "queued")
    assert (await full(web, last["id"]))["parents"] == [first["id"], other["id"]]


@pytest.mark.parametrize(
    ("tasks", "wrong"),
    [
        ([{"ref": "a"}, {"ref": "a"}], ["/tasks/1/ref"]),
        ([{"depends_on": ["ref:a"]}], ["/tasks/0/depends_on/0"]),
        ([{}, {"depends_on": ["nope"]}], ["/tasks/1/depends_on/0"]),
        ([{"ref": "a", "depends_on": ["ref:a"]}], ["/tasks/0/depends_on/0"]),
        ([{"ref": "a", "depends_on": ["ref:b"]}, {"ref": "b", "depends_on": ["ref:a"]}],
         ["/tasks/0/depends_on/0", "/tasks/1/depends_on/0"]),
        ([{"ref": "a" * 101}, {"ref": "\0"}, {"retries": -1}], ["/tasks/0/ref", "/tasks/1/ref", "/tasks/2/retries"]),
    ],
)  # fmt: skip
async def test_a_batch_that_cannot_be_arranged_is_refused_whole(web: Web, tasks: list[Any], wrong: list[str]) -> None:
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause", **task} for task in tasks]})
    refused(answer, 422, "invalid-request")
    assert sorted(pointers(answer)) == wrong
    assert (await web.http.get("/tasks")).json()["tasks"] == []


@pytest.mark.parametrize(
    ("members", "detail"),
    [
        ({"run_at": "tomorrow"}, "it must be a time with a zone, such as 2026-01-31T12:00:00Z"),
        ({"expires_at": "2026-01-31T12:00:00"}, "it must be a time with a zone, such as 2026-01-31T12:00:00Z"),
        ({"depends_on": ["ref:a"]}, "only the tasks of a batch can name one another"),
        ({"depends_on": ["a"]}, "there is no task a"),
    ],
)
async def test_what_is_wrong_is_told_with_the_way_out(web: Web, members: dict[str, Any], detail: str) -> None:
    problem = refused(await web.http.post("/tasks", json={"type": "pause", **members}), 422, "invalid-request")
    assert [wrong["detail"] for wrong in problem["errors"]] == [detail]


async def test_attempts_that_failed_are_shown_while_there_is_another(web: Web) -> None:
    id = await web.submit(retries=1)
    await web.run(id, error="oh")
    assert (await web.http.get(f"/tasks/{id}")).json() == {"id": id, "status": "queued"}
    shown = await full(web, id)
    assert (shown["status"], shown["error"], shown["attempt"], shown["max_attempts"]) == ("queued", None, 1, 2)
    assert [(attempt["outcome"], attempt["error"]["message"]) for attempt in shown["attempts"]] == [("failed", "oh")]
    web.clock.advance(1_000)
    await web.run(id, error="oh again")
    shown = await full(web, id)
    assert (shown["status"], shown["error"]["attempt"]) == ("failed", 2)
    assert [attempt["error"]["message"] for attempt in shown["attempts"]] == ["oh", "oh again"]


async def test_a_unique_key_that_is_taken_answers_with_the_task_that_has_it(web: Web) -> None:
    first = await web.http.post("/tasks", json={"type": "pause", "unique_key": "u"})
    assert "dolgo-existing" not in first.headers
    again = await web.http.post("/tasks", json={"type": "pause", "unique_key": "u", "payload": {"seconds": 2}})
    assert (again.status_code, again.json(), again.headers["dolgo-existing"]) == (202, first.json(), "true")
    assert again.headers["location"] == first.headers["location"]
    other = await web.http.post("/tasks", json={"type": "anything", "unique_key": "u"})
    assert other.json()["id"] != first.json()["id"]
    many = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause", "unique_key": "u"}, {"type": "pause"}]})
    assert (many.json()["tasks"][0]["id"], many.headers["dolgo-existing"]) == (first.json()["id"], "true")
    await web.run(first.json()["id"])
    later = await web.http.post("/tasks", json={"type": "pause", "unique_key": "u"})
    assert later.json()["id"] != first.json()["id"]


async def test_progress_is_shown_as_the_handler_said_it(web: Web) -> None:
    lease = await web.claim(await web.submit())
    for value, shown in (
        (b'{"done":3,"total":10,"note":"page 3"}', {"done": 3, "total": 10, "note": "page 3"}),
        (b'{"done":0.5,"total":null,"note":""}', {"done": 0.5, "total": None, "note": ""}),
        (b'{"done":"x"}', None),
    ):
        await progress(web, lease, value)
        assert (await full(web, lease.id))["progress"] == shown


async def test_a_wait_with_an_etag_of_the_full_view_is_answered_at_progress(web: Web) -> None:
    lease = await web.claim(await web.submit())
    path = f"/tasks/{lease.id}?view=full"
    headers = {"If-None-Match": (await web.http.get(path)).headers["etag"]}
    assert (await web.http.get(f"{path}&wait=0.01", headers=headers)).status_code == 304
    waiting = asyncio.create_task(web.http.get(f"{path}&wait=30", headers=headers))
    async with asyncio.timeout(5):
        while lease.id not in web.notify._watches:
            await asyncio.sleep(0)
    await progress(web, lease, b'{"done":1,"total":2,"note":""}')
    answer = await waiting
    assert (answer.status_code, answer.json()["progress"]["done"]) == (200, 1)


async def test_why_a_task_has_not_started_is_told_until_it_has(web: Web) -> None:
    later, id = await web.submit(delay=60), await web.submit()
    assert (await full(web, later))["waiting_for"]["code"] == "scheduled"
    assert (await full(web, id))["waiting_for"]["code"] == "no_worker"
    await web.announce_worker(types=tuple((info.name, info.hash) for info in TYPES))
    behind = (await full(web, id))["waiting_for"]
    assert (behind["code"], list(behind)) == ("behind", ["code", "text"])
    await web.run(id)
    assert (await full(web, id))["waiting_for"] is None
    listed = (await web.http.get("/tasks?view=full")).json()["tasks"]
    assert not any("waiting_for" in task for task in listed)
