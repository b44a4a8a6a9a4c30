"""Queues: counted, paused, limited."""

from __future__ import annotations

from typing import Any

import pytest

from dolgo.store.base import Claim
from tests.api.web import TYPES, WORKER, Web, pointers, refused

pytestmark = pytest.mark.anyio

ZERO = {"waiting": 0, "queued": 0, "in_progress": 0, "done": 0, "failed": 0, "cancelled": 0}


async def claimed(web: Web) -> list[str]:
    """Ids of all that a worker gets now."""
    claim = Claim(WORKER, 1000, 30.0, frozenset(info.name for info in TYPES))
    return [lease.id for lease in (await web.manager.claim(claim)).leases]


async def test_queues_are_counted(web: Web) -> None:
    done, _, _ = [await web.submit() for _ in range(3)]
    await web.http.post(f"/tasks/{done}/cancel")
    web.clock.advance(2.5)
    await web.submit(queue="slow", delay=10)
    await web.announce_worker(queues=("slow", "idle"))
    await web.announce_worker(id="worker-2", queues=None)
    queues = {queue["name"]: queue for queue in (await web.http.get("/queues")).json()["queues"]}
    assert list(queues) == ["default", "idle", "pictures", "slow"]
    zero = {"waiting": 0, "queued": 0, "in_progress": 0, "done": 0, "failed": 0, "cancelled": 0}
    null = {"paused": None, "max_running": None, "max_running_per_key": None, "rate": None}
    counts = {**zero, "queued": 2, "cancelled": 1}
    assert queues["default"] == {"name": "default", "counts": counts, "oldest_age": 2.5, **null, "workers": 1}
    assert queues["idle"] == {"name": "idle", "counts": zero, "oldest_age": None, **null, "workers": 2}
    assert queues["slow"]["counts"] == {**zero, "queued": 1}
    assert queues["slow"]["oldest_age"] is None
    assert list(queues["slow"]) == ["name", "counts", "oldest_age", *null, "workers"]
    assert (await web.http.get("/queues/slow")).json() == queues["slow"]


async def test_a_queue_that_is_paused_starts_nothing_and_says_why(web: Web) -> None:
    id = await web.submit()
    answer = await web.http.put("/queues/default/pause", json={"reason": "moving", "until": "2030-01-31T13:00:00+01:00"})
    assert answer.status_code == 200
    assert answer.json()["paused"] == {"reason": "moving", "until": "2030-01-31T12:00:00.000000Z"}
    assert (await web.http.get("/queues/default")).json() == answer.json()
    assert await claimed(web) == []
    waiting = (await web.http.get(f"/tasks/{id}?view=full")).json()["waiting_for"]
    assert waiting["code"] == "queue_paused"
    for _ in range(2):
        answer = await web.http.delete("/queues/default/pause")
        assert (answer.status_code, answer.json()["paused"]) == (200, None)
    assert await claimed(web) == [id]


async def test_a_pause_without_a_word_lasts_until_it_is_lifted(web: Web) -> None:
    for body in (b"", b"{}", b'{"reason":null,"until":null}', b'{"reason":""}'):
        answer = await web.http.put("/queues/default/pause", content=body)
        assert answer.json()["paused"] == {"reason": None, "until": None}


async def test_a_pause_ends_when_its_time_has_come(web: Web) -> None:
    id = await web.submit()
    await web.http.put("/queues/default/pause", json={"until": "2023-11-14T22:13:30Z"})
    assert await claimed(web) == []
    web.clock.advance(11)
    assert (await web.http.get("/queues/default")).json()["paused"] is None
    assert await claimed(web) == [id]


async def test_limits_are_set_changed_and_lifted_one_by_one(web: Web) -> None:
    ids = [await web.submit(limit_key="k") for _ in range(3)]
    answer = await web.http.patch("/queues/default", json={"max_running": 2, "max_running_per_key": 1, "rate": 0.5})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["max_running"], shown["max_running_per_key"], shown["rate"]) == (2, 1, 0.5)
    answer = await web.http.patch("/queues/default", json={"rate": None, "max_running_per_key": None})
    assert (answer.json()["max_running"], answer.json()["max_running_per_key"], answer.json()["rate"]) == (2, None, None)
    assert (await web.http.patch("/queues/default", json={})).json() == answer.json()
    assert len(await claimed(web)) == 2
    waiting = (await web.http.get(f"/tasks/{ids[2]}?view=full")).json()["waiting_for"]
    assert waiting["code"] == "limit"


async def test_a_queue_need_not_have_tasks_to_be_held_back(web: Web) -> None:
    refused(await web.http.get("/queues/later"), 404, "not-found")
    answer = await web.http.patch("/queues/later", json={"max_running": 1})
    assert answer.json() == {
        "name": "later", "counts": ZERO, "oldest_age": None, "paused": None, "max_running": 1, "max_running_per_key": None,
        "rate": None, "workers": 0,
    }  # fmt: skip
    assert "later" in [queue["name"] for queue in (await web.http.get("/queues")).json()["queues"]]
    await web.http.patch("/queues/later", json={"max_running": None})
    refused(await web.http.get("/queues/later"), 404, "not-found")
    assert (await web.http.delete("/queues/later/pause")).json()["paused"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("PATCH", "/queues/q", {"max_running": 0}, ["/max_running"]),
        ("PATCH", "/queues/q", {"max_running": 1.5, "max_running_per_key": -1, "rate": 0, "colour": 1},
         ["/max_running", "/max_running_per_key", "/rate", "/colour"]),
        ("PATCH", "/queues/q", {"rate": "fast"}, ["/rate"]),
        ("PATCH", "/queues/q", {"rate": 1e-7}, ["/rate"]),
        ("PATCH", "/queues/q", {"rate": 1e7}, ["/rate"]),
        ("PATCH", "/queues/q", [], [""]),
        ("PATCH", "/queues/a%20b", {"rate": 1}, ["/path/queue"]),
        ("PUT", "/queues/q/pause", {"until": "tomorrow", "reason": 5, "why": ""}, ["/until", "/reason", "/why"]),
        ("PUT", "/queues/q/pause", {"until": "2030-01-31T12:00:00"}, ["/until"]),
        ("PUT", "/queues/q/pause", {"until": "0001-01-01T00:00:00+23:59"}, ["/until"]),
        ("PUT", "/queues/q/pause", {"until": "2023-11-14T22:13:20Z"}, ["/until"]),
        ("PUT", "/queues/q/pause", {"reason": "a\0"}, ["/reason"]),
        ("PUT", "/queues/q/pause", {"reason": "a" * 1001}, ["/reason"]),
        ("PUT", "/queues/a%2Fb/pause", {}, ["/path/queue"]),
        ("DELETE", "/queues/a%2Fb/pause", None, ["/path/queue"]),
    ],
)  # fmt: skip
async def test_what_cannot_be_used_is_pointed_at_and_changes_nothing(
    web: Web, method: str, path: str, body: Any, wrong: list[str]
) -> None:
    answer = await web.http.request(method, path, json=body)
    if path.count("/") > 3 or "%2F" in path:  # a slash is one however it is written
        refused(answer, 404, "not-found")
    else:
        refused(answer, 422, "invalid-request")
        assert sorted(pointers(answer)) == sorted(wrong)
    assert not await web.manager.gates()
