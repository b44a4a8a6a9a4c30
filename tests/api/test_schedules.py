"""Schedules: put, shown, run, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.web import Web, pointers, refused

pytestmark = pytest.mark.anyio

NIGHTLY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "type": "pause", "payload": {"seconds": 1.50}}


async def test_a_schedule_is_shown_as_it_was_put_with_what_comes_next(web: Web) -> None:
    assert (await web.http.get("/schedules")).json() == {"schedules": []}
    options = {
        "queue": "slow",
        "priority": 1,
        "timeout": 5,
        "retries": 3,
        "keep": 0,
        "tags": ["a"],
        "limit_key": "l",
        "callback": {"url": "https://example.com/", "on": ["failed"]},
        "unique_key": "u",
    }
    body = {**NIGHTLY, "options": options, "missed": "once", "overlap": "skip", "paused": False}
    answer = await web.http.put("/schedules/nightly", json=body)
    assert answer.status_code == 201
    shown = answer.json()
    assert shown == {
        "name": "nightly", **body, "every": None, "last_run": None, "last_error": None,
        "next": [f"2023-11-{day}T01:30:00.000000Z" for day in (15, 16, 17, 18, 19)],
    }  # fmt: skip
    assert list(shown) == [
        "name", "cron", "every", "timezone", "type", "payload", "options", "missed", "overlap", "paused", "next", "last_run",
        "last_error",
    ]  # fmt: skip
    assert (await web.http.get("/schedules/nightly")).json() == shown
    assert (await web.http.get("/schedules")).json() == {"schedules": [shown]}


async def test_what_is_not_said_has_a_value_all_the_same(web: Web) -> None:
    shown = (await web.http.put("/schedules/often", json={"every": 60, "type": "pause"})).json()
    assert (shown["timezone"], shown["missed"], shown["overlap"], shown["paused"]) == ("UTC", "skip", "allow", False)
    assert (shown["cron"], shown["every"], shown["payload"]) == (None, 60.0, {})
    assert set(shown["options"].values()) == {None}
    assert len(shown["next"]) == 5


async def test_a_payload_comes_back_as_it_was_sent(web: Web) -> None:
    body = b'{"every":60,"type":"pause","payload":{"z":1.50,"a":1e2}}'
    assert b'"payload":{"z":1.50,"a":1e2}' in (await web.http.put("/schedules/often", content=body)).content


async def test_what_is_shown_of_a_schedule_can_be_put_again(web: Web) -> None:
    shown = (await web.http.put("/schedules/nightly", json=NIGHTLY)).json()
    again = {name: value for name, value in shown.items() if name not in ("name", "next", "last_run", "last_error")}
    answer = await web.http.put("/schedules/nightly", json=again)
    assert (answer.status_code, answer.json()) == (200, shown)


async def test_a_schedule_that_is_replaced_is_another(web: Web) -> None:
    await web.http.put("/schedules/nightly", json=NIGHTLY)
    answer = await web.http.put("/schedules/nightly", json={"every": 60, "type": "anything", "paused": True})
    assert answer.status_code == 200
    assert (answer.json()["cron"], answer.json()["type"], answer.json()["next"]) == (None, "anything", [])


async def test_a_schedule_is_run_by_hand(web: Web) -> None:
    await web.http.put("/schedules/nightly", json={**NIGHTLY, "paused": True, "options": {"tags": ["night"], "retries": 2}})
    headers = {"Idempotency-Key": "tonight"}
    answer = await web.http.post("/schedules/nightly/run", headers=headers)
    assert (answer.status_code, list(answer.json())) == (202, ["id", "status"])
    id = answer.json()["id"]
    assert answer.headers["location"] == f"/tasks/{id}"
    task = await web.manager.get(id)
    assert (task.type, task.tags, task.max_attempts, task.payload) == ("pause", ("night",), 3, b'{"seconds":1.5}')
    again = await web.http.post("/schedules/nightly/run", headers=headers)
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (id, "true")
    last = (await web.http.get("/schedules/nightly")).json()["last_run"]
    assert last == {"time": "2023-11-14T22:13:20.000000Z", "id": id}


async def test_a_schedule_that_is_due_submits_its_task(web: Web) -> None:
    await web.http.put("/schedules/often", json={"every": 60, "type": "pause"})
    web.clock.advance(61)
    await web.schedules.fire()
    (task,) = (await web.http.get("/tasks")).json()["tasks"]
    assert (await web.http.get("/schedules/often")).json()["last_run"] == {
        "time": "2023-11-14T22:14:20.000000Z",
        "id": task["id"],
    }


async def test_a_schedule_is_paused_and_resumed_and_stays_as_it_is_otherwise(web: Web) -> None:
    shown = (await web.http.put("/schedules/nightly", json=NIGHTLY)).json()
    for method, now in (("PUT", {"paused": True, "next": []}), ("DELETE", {})):
        for _ in range(2):
            answer = await web.http.request(method, "/schedules/nightly/pause")
            assert (answer.status_code, answer.json()) == (200, {**shown, **now})
    refused(await web.http.put("/schedules/nightly/pause", json={"until": "2030-01-01T00:00:00Z"}), 422, "invalid-request")


async def test_a_schedule_is_deleted(web: Web) -> None:
    await web.http.put("/schedules/nightly", json=NIGHTLY)
    answer = await web.http.delete("/schedules/nightly")
    assert (answer.status_code, answer.content) == (204, b"")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/run"), ("PUT", "/pause"), ("DELETE", "/pause")):
        refused(await web.http.request(method, f"/schedules/nightly{path}"), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"type": "pause"}, ["/cron"]),
        ({"type": "pause", "cron": "* * * * *", "every": 5}, ["/every"]),
        ({"cron": "* * * * *"}, ["/type"]),
        ({"type": "pause", "cron": "99 * * * *"}, ["/cron"]),
        ({"type": "pause", "cron": "0 0 30 2 *"}, ["/cron"]),
        ({"type": "pause", "cron": ""}, ["/cron"]),
        ({"type": "pause", "cron": 5}, ["/cron"]),
        ({"type": "pause", "every": 0.5}, ["/every"]),
        ({"type": "pause", "every": 4e7}, ["/every"]),
        ({"type": "pause", "cron": "* * * * *", "timezone": "Europe/Atlantis"}, ["/timezone"]),
        ({"type": "pause", "cron": "* * * * *", "timezone": "../../etc/passwd"}, ["/timezone"]),
        ({"type": "pause", "every": 5, "missed": "all", "overlap": "no", "paused": "x", "colour": 1},
         ["/missed", "/overlap", "/paused", "/colour"]),
        ({"type": "pause", "every": 5, "options": {"retries": -1, "delay": 5, "tags": [""]}},
         ["/options/retries", "/options/delay", "/options/tags/0"]),
        ({"type": "pause", "every": 5, "options": {"queue": "a b", "tags": ["\0"], "unique_key": "\n"}},
         ["/options/queue", "/options/tags/0", "/options/unique_key"]),
        ({"type": "dolgo.callback", "every": 5}, ["/type"]),
        ({"type": "thumbnail", "every": 0.5, "cron": "* * * * *"}, ["/every"]),
        ({"type": "thumbnail", "payload": {}, "cron": "99 * * * *"}, ["/cron", "/payload/url"]),
        ({"type": "puase", "cron": "* * * * *", "timezone": "Mars/Base"}, ["/timezone", "/type"]),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_pointed_at_and_nothing_is_kept(web: Web, body: dict[str, Any], wrong: list[str]) -> None:
    answer = await web.http.put("/schedules/nightly", json=body)
    refused(answer, 422, "invalid-request")
    assert sorted(pointers(answer)) == sorted(wrong)
    assert (await web.http.get("/schedules")).json() == {"schedules": []}


async def test_its_task_is_checked_when_it_is_put(web: Web) -> None:
    answer = await web.http.put("/schedules/nightly", json={"every": 5, "type": "thumbnail", "payload": {"width": "x"}})
    refused(answer, 422, "invalid-payload")
    assert sorted(pointers(answer)) == ["/payload/url", "/payload/width"]
    refused(await web.http.put("/schedules/nightly", json={"every": 5, "type": "puase"}), 422, "unknown-type")
    refused(await web.http.put("/schedules/a%20b", json={"every": 5, "type": "pause"}), 422, "invalid-request")
