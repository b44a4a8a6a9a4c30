"""Submitting many tasks at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dolgo.task.manager import Accepted
from dolgo.task.types import Query
from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio


async def stored(web: Web) -> int:
    """How many tasks there are."""
    return len((await web.manager.list(Query(limit=1000))).tasks)


async def test_all_are_taken_in_order(web: Web) -> None:
    tasks = [{"type": "anything", "payload": {"value": n}, "tags": [f"n{n}"]} for n in range(500)]
    answer = await web.http.post("/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 202
    assert list(answer.json()) == ["tasks"]
    ids = [task["id"] for task in answer.json()["tasks"]]
    assert all(task == {"id": task["id"], "status": "queued"} for task in answer.json()["tasks"])
    assert (await web.manager.get(ids[17])).payload == b'{"value":17}'
    assert len(set(ids)) == await stored(web) == 500


async def test_one_wrong_task_keeps_all_out_and_is_pointed_at(web: Web) -> None:
    tasks: list[dict[str, Any]] = [{"type": "thumbnail", "payload": {"url": "x"}} for _ in range(300)]
    tasks[17]["payload"] = {"width": "x"}
    tasks[299]["priority"] = 10
    tasks[3]["type"] = "nope"
    answer = await web.http.post("/tasks/batch", json={"tasks": tasks})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/tasks/3/type", "/tasks/17/payload/url", "/tasks/17/payload/width", "/tasks/299/priority"]
    assert await stored(web) == 0


async def test_wrong_payloads_alone_are_told_as_such(web: Web) -> None:
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause"}, {"type": "thumbnail"}]})
    refused(answer, 422, "invalid-payload")
    assert pointers(answer) == ["/tasks/1/payload/url"]
    assert await stored(web) == 0


async def test_what_is_wrong_around_the_tasks_is_named_with_what_is_wrong_in_them(web: Web) -> None:
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause", "colour": 1}], "atomic": False})
    refused(answer, 422, "invalid-request")
    assert pointers(answer) == ["/atomic", "/tasks/0/colour"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"tasks": []}, ["/tasks"]),
        ({"tasks": {}}, ["/tasks"]),
        ({"tasks": None}, ["/tasks"]),
        ({}, ["/tasks"]),
        ([], [""]),
        ({"tasks": [1, None, []]}, ["/tasks/0", "/tasks/1", "/tasks/2"]),
        ({"tasks": [{}] * 10_001}, ["/tasks"]),
    ],
)
async def test_what_is_no_batch_is_refused(web: Web, body: Any, wrong: list[str]) -> None:
    answer = await web.http.post("/tasks/batch", json=body)
    refused(answer, 422, "invalid-request")
    assert pointers(answer)[: len(wrong)] == wrong


async def test_a_member_sent_twice_once_wrong_is_refused(web: Web) -> None:
    for body in (b'{"tasks":5,"tasks":[{"type":"pause"}]}', b'{"tasks":[{"type":"pause","priority":"x","priority":1}]}'):
        answer = await web.http.post("/tasks/batch", content=body)
        refused(answer, 422, "invalid-request")
        assert await stored(web) == 0


async def test_no_more_than_a_thousand_wrong_members_are_named(web: Web) -> None:
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"kind": "pause"}] * 5_000})
    refused(answer, 422, "invalid-request")
    assert len(pointers(answer)) == 1000


async def test_a_large_payload_of_a_batch_is_refused(web: Web) -> None:
    large = {"type": "anything", "payload": {"value": "x" * 10_000}}
    answer = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause"}, large]})
    refused(answer, 413, "too-large")
    assert pointers(answer) == ["/tasks/1/payload"]
    assert await stored(web) == 0


async def test_a_large_batch_is_refused(web: Web) -> None:
    refused(await web.http.post("/tasks/batch", content=b"x" * 1_000_001), 413, "too-large")


async def test_a_batch_is_taken_once_under_a_key(web: Web) -> None:
    headers = {"Idempotency-Key": "night-1"}
    first = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause"}] * 3}, headers=headers)
    again = await web.http.post("/tasks/batch", json={"tasks": [{"type": "pause"}] * 3}, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await stored(web) == 3


async def test_what_is_beyond_a_thousand_wrong_members_is_not_looked_at(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    find = web.types.find

    async def counted(name: str, **more: Any) -> Any:
        nonlocal looked
        looked += 1
        return await find(name, **more)

    monkeypatch.setattr(web.types, "find", counted)
    await web.http.post("/tasks/batch", json={"tasks": [{"type": "nope", "priority": 10}] * 5_000})
    assert looked < 600


@pytest.mark.parametrize("item", [b'{"type":"pause"}', b'{"kind":"pause"}'], ids=["right", "wrong"])
async def test_others_are_answered_while_a_batch_is_read(web: Web, item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: Any, **__: Any) -> Accepted:
        return Accepted([])

    monkeypatch.setattr(web.manager, "submit", at_once)
    batch = asyncio.create_task(web.http.post("/tasks/batch", content=b'{"tasks":[' + b",".join([item] * 10_000) + b"]}"))
    answered = 0
    while not batch.done():
        await asyncio.sleep(0)
        await web.http.get("/livez")
        answered += 1
    assert (await batch).status_code in (202, 422)
    assert answered > 10
