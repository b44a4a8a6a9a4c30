"""Submitting one task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.task.types import Query
from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio


async def stored(web: Web) -> int:
    """How many tasks there are."""
    return len((await web.manager.list(Query(limit=1000))).tasks)


async def test_the_answer_has_id_and_status_and_nothing_else(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause", "payload": {"seconds": 0.1}})
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["id", "status"]
    assert answer.json()["status"] == "queued"
    assert answer.headers["location"] == f"/tasks/{answer.json()['id']}"
    assert (await web.http.get(answer.headers["location"])).json() == answer.json()


async def test_numbers_and_the_order_of_keys_come_back_as_they_were_sent(web: Web) -> None:
    sent = b'{"z":1.0,"a":100000000000000000000,"m":1e2,"n":0.1000, "s":"\\u00e9"}'
    answer = await web.http.post("/tasks", content=b'{"type":"pause","payload":' + sent + b"}")
    full = await web.http.get(f"/tasks/{answer.json()['id']}?view=full")
    assert sent in full.content


async def test_what_is_not_said_is_taken_from_the_type(web: Web) -> None:
    task = await web.manager.get(await web.submit("thumbnail", payload={"url": "x"}))
    assert (task.queue, task.priority, task.tags, task.run_at) == ("pictures", 7, (), web.clock())


async def test_every_option_reaches_the_task(web: Web) -> None:
    id = await web.submit(queue="slow-1.a_b", priority=0, tags=["nightly", "ünïcode", "a b"], delay=1.5)
    task = await web.manager.get(id)
    assert (task.queue, task.priority, task.tags, task.run_at) == (
        "slow-1.a_b", 0, ("nightly", "ünïcode", "a b"), web.clock() + 1.5,
    )  # fmt: skip
    id = await web.submit(run_at="2030-01-31T12:00:00.25+02:00")
    assert (await web.http.get(f"/tasks/{id}?view=full")).json()["run_at"] == "2030-01-31T10:00:00.250000Z"


async def test_an_option_that_is_null_counts_as_not_given(web: Web) -> None:
    await web.submit(
        queue=None, priority=None, run_at=None, delay=None, tags=None, timeout=None, retries=None, keep=None, expires_at=None,
        depends_on=None, on_parent_failure=None, unique_key=None, limit_key=None, ref=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("members", "wrong"),
    [
        ({"priority": 10}, ["/priority"]),
        ({"priority": -1}, ["/priority"]),
        ({"priority": "high"}, ["/priority"]),
        ({"priority": True}, ["/priority"]),
        ({"priority": 1.5}, ["/priority"]),
        ({"delay": -1}, ["/delay"]),
        ({"delay": 1e300}, ["/delay"]),
        ({"delay": "5"}, ["/delay"]),
        ({"delay": 5, "run_at": "2030-01-31T12:00:00Z"}, ["/delay"]),
        ({"run_at": 5}, ["/run_at"]),
        ({"run_at": "tomorrow"}, ["/run_at"]),
        ({"run_at": "2030-01-31T12:00:00"}, ["/run_at"]),
        ({"run_at": "2030-02-30T12:00:00Z"}, ["/run_at"]),
        ({"run_at": "0001-01-01T00:00:00+23:59"}, ["/run_at"]),
        ({"run_at": "9999-12-31T23:59:59-23:59"}, ["/run_at"]),
        ({"queue": ""}, ["/queue"]),
        ({"queue": "a b"}, ["/queue"]),
        ({"queue": "a\n"}, ["/queue"]),
        ({"queue": "-a"}, ["/queue"]),
        ({"queue": "a" * 101}, ["/queue"]),
        ({"tags": "nightly"}, ["/tags"]),
        ({"tags": ["a"] * 33}, ["/tags"]),
        ({"tags": ["\0"]}, ["/tags/0"]),
        ({"tags": ["a", "", 3, "b" * 129, "c\n", "\0"]}, ["/tags/1", "/tags/2", "/tags/3", "/tags/4", "/tags/5"]),
        ({"timeout": 0}, ["/timeout"]),
        ({"timeout": 31_536_001}, ["/timeout"]),
        ({"timeout": "5"}, ["/timeout"]),
        ({"retries": -1}, ["/retries"]),
        ({"retries": 1001}, ["/retries"]),
        ({"retries": 1.5}, ["/retries"]),
        ({"keep": -1}, ["/keep"]),
        ({"expires_at": "soon"}, ["/expires_at"]),
        ({"expires_at": "2030-01-31T12:00:00"}, ["/expires_at"]),
        ({"expires_at": "0001-01-01T00:00:00+23:59"}, ["/expires_at"]),
        ({"depends_on": "x"}, ["/depends_on"]),
        ({"depends_on": [""]}, ["/depends_on/0"]),
        ({"depends_on": ["x" * 105, 5]}, ["/depends_on/0", "/depends_on/1"]),
        ({"depends_on": ["x"] * 10_001}, ["/depends_on"]),
        ({"depends_on": ["x", "y"]}, ["/depends_on/0", "/depends_on/1"]),
        ({"depends_on": ["ref:x"]}, ["/depends_on/0"]),
        ({"on_parent_failure": "panic"}, ["/on_parent_failure"]),
        ({"unique_key": ""}, ["/unique_key"]),
        ({"unique_key": "a" * 256}, ["/unique_key"]),
        ({"unique_key": "a\0"}, ["/unique_key"]),
        ({"limit_key": 5}, ["/limit_key"]),
        ({"limit_key": "a\n"}, ["/limit_key"]),
        ({"ref": "a"}, ["/ref"]),
        ({"ref": ""}, ["/ref"]),
        ({"callback": "http://example.com"}, ["/callback"]),
            ({"callback": {"url": 5, "on": []}}, ["/callback/url", "/callback/on"]),
        ({"colour": 1, "a/b~c": 1}, ["/colour", "/a~1b~0c"]),
        ({"type": "dolgo.callback"}, ["/type"]),
        ({"type": 5}, ["/type"]),
        ({"type": ""}, ["/type"]),
        ({"type": "a" * 101}, ["/type"]),
        ({"priority": 10, "queue": "?", "tags": [""], "delay": -1, "colour": 1, "payload": {"seconds": "x"}},
         ["/priority", "/delay", "/tags/0", "/colour", "/queue", "/payload/seconds"]),
        ({"priority": 10, "type": "puase"}, ["/priority", "/type"]),
    ],
)  # fmt: skip
async def test_every_wrong_member_is_named_and_nothing_is_stored(web: Web, members: dict[str, Any], wrong: list[str]) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause", **members})
    refused(answer, 422, "invalid-request")
    assert set(pointers(answer)) >= set(wrong)
    if members.get("type", "pause") == "pause":
        assert sorted(pointers(answer)) == sorted(wrong)
    assert await stored(web) == 0


async def test_a_missing_type_is_pointed_at_itself(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"payload": {}})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/type"]


@pytest.mark.parametrize("body", [b"[]", b"5", b'"pause"', b"null", b"true"])
async def test_a_body_that_is_no_object_is_pointed_at_as_a_whole(web: Web, body: bytes) -> None:
    answer = await web.http.post("/tasks", content=body)
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == [""]


async def test_an_unknown_type_has_a_near_miss(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "puase"})
    assert "Did you mean 'pause'?" in refused(answer, 422, "unknown-type")["error"]
    assert pointers(answer) == ["/type"]


async def test_every_wrong_member_of_a_payload_is_named(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "thumbnail", "payload": {"width": "x", "hight": 1}})
    refused(answer, 422, "invalid-payload")
    assert sorted(pointers(answer)) == ["/payload/hight", "/payload/url", "/payload/width"]
    assert await stored(web) == 0


async def test_a_payload_that_is_null_is_not_one_that_is_absent(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause", "payload": None})
    refused(answer, 422, "invalid-payload")
    assert pointers(answer) == ["/payload"]


async def test_a_large_payload_is_refused(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "anything", "payload": {"value": "x" * 10_000}})
    refused(answer, 413, "too-large")
    assert pointers(answer) == ["/payload"]
    await web.submit("anything", payload={"value": "x" * 9_900})


async def test_a_wait_is_answered_when_the_task_ends(web: Web) -> None:
    waiting = asyncio.create_task(web.http.post("/tasks?wait=30", json={"type": "pause"}))
    while not await stored(web):
        await asyncio.sleep(0)
    (task,) = (await web.manager.list(Query())).tasks
    await web.run(task.id)
    answer = await waiting
    assert (answer.status_code, answer.json()) == (200, {"id": task.id, "status": "done", "result": {"result": "success"}})
    assert answer.headers["location"] == f"/tasks/{task.id}"
    assert "preference-applied" not in answer.headers


async def test_a_wait_that_runs_out_is_an_acceptance(web: Web) -> None:
    answer = await web.http.post("/tasks?wait=0.01", json={"type": "pause"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


@pytest.mark.parametrize("prefer", ["wait=0.01", 'respond-async, wait="0.01"', "WAIT=0.01;x=y, wait=99", "foo , wait = 0.01"])
async def test_a_wait_may_be_a_preference(web: Web, prefer: str) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause"}, headers={"Prefer": prefer})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0.01")


async def test_other_preferences_are_left_alone(web: Web) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause"}, headers={"Prefer": "respond-async, return=minimal"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize("wait", ["60.1", "61", "-1", "", "nan", "inf", "1_0", " 1", "1e1", "abc", "٣"])
async def test_a_wait_that_cannot_be_used_is_refused(web: Web, wait: str) -> None:
    for answer in (
        await web.http.post("/tasks", params={"wait": wait}, json={"type": "pause"}),
        await web.http.get("/tasks/x", params={"wait": wait}),
    ):
        refused(answer, 422, "invalid-request")
        assert pointers(answer) == ["/query/wait"]
    answer = await web.http.post("/tasks", headers={"Prefer": b"wait=" + wait.strip().encode()}, json={"type": "pause"})
    if wait != " 1":
        refused(answer, 422, "invalid-request")
        assert pointers(answer) == ["/header/Prefer"]
        assert await stored(web) == 0


async def test_the_same_key_and_body_are_one_task(web: Web) -> None:
    headers = {"Idempotency-Key": '"order-17"'}
    first = await web.http.post("/tasks", json={"type": "pause"}, headers=headers)
    again = await web.http.post("/tasks", json={"type": "pause"}, headers={"Idempotency-Key": "order-17"})
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert await stored(web) == 1


async def test_a_repeated_submit_waits_if_it_asks_to(web: Web) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first = await web.http.post("/tasks", json={"type": "pause"}, headers=headers)
    unfinished = await web.http.post("/tasks?wait=0.01", json={"type": "pause"}, headers=headers)
    assert (unfinished.status_code, unfinished.json()) == (202, first.json())
    await web.run(first.json()["id"])
    ended = await web.http.post("/tasks?wait=5", json={"type": "pause"}, headers=headers)
    assert (ended.status_code, ended.json()["status"]) == (200, "done")
    assert ended.headers["idempotency-replayed"] == "true"


async def test_a_key_with_another_body_is_refused(web: Web) -> None:
    headers = {"Idempotency-Key": "order-17"}
    await web.http.post("/tasks", json={"type": "pause"}, headers=headers)
    refused(await web.http.post("/tasks", json={"type": "anything"}, headers=headers), 422, "idempotency-key-reused")
    assert await stored(web) == 1


async def test_errors_are_not_kept_under_a_key(web: Web) -> None:
    headers = {"Idempotency-Key": "order-17"}
    refused(await web.http.post("/tasks", json={"type": "nope"}, headers=headers), 422, "unknown-type")
    assert (await web.http.post("/tasks", json={"type": "pause"}, headers=headers)).status_code == 202


async def test_a_key_belongs_to_its_address(web: Web) -> None:
    headers = {"Idempotency-Key": "order-17"}
    await web.http.post("/tasks", json={"type": "pause"}, headers=headers)
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause"}]}, headers=headers)
    assert answer.status_code == 202
    assert "idempotency-replayed" not in answer.headers


@pytest.mark.parametrize("key", [b"", b'""', b"a b", b"a" * 256, b"\xe9", b"a\tb"])
async def test_a_key_that_cannot_be_used_is_refused(web: Web, key: bytes) -> None:
    answer = await web.http.post("/tasks", json={"type": "pause"}, headers={b"Idempotency-Key": key})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/header/Idempotency-Key"]
    assert await stored(web) == 0
