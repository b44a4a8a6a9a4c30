"""Wrong input of every kind: refused with a pointer to each member that is wrong, and nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blackbox.client import Client

OPTIONS = ("--slots", "0", "--tasks", "tasks", "--drain-timeout", "0")

HANDLERS = """
from dolgo import task

@task
async def scales(url: str, width: int = 320) -> None: ...
"""

LONG = "x" * 256

MEMBERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"timeout": 0}, {"/timeout"}),
    ({"timeout": -1}, {"/timeout"}),
    ({"timeout": "5"}, {"/timeout"}),
    ({"timeout": 1e9}, {"/timeout"}),
    ({"retries": -1}, {"/retries"}),
    ({"retries": 1001}, {"/retries"}),
    ({"retries": 1.5}, {"/retries"}),
    ({"retries": True}, {"/retries"}),
    ({"keep": -0.1}, {"/keep"}),
    ({"keep": "a week"}, {"/keep"}),
    ({"expires_at": "tomorrow"}, {"/expires_at"}),
    ({"expires_at": 5}, {"/expires_at"}),
    ({"expires_at": "2026-01-01T00:00:00"}, {"/expires_at"}),
    ({"run_at": "2030-01-01T00:00:00Z", "delay": 5}, {"/delay"}),
    ({"delay": -1}, {"/delay"}),
    ({"priority": 10}, {"/priority"}),
    ({"priority": -1}, {"/priority"}),
    ({"priority": "high"}, {"/priority"}),
    ({"unique_key": ""}, {"/unique_key"}),
    ({"unique_key": LONG}, {"/unique_key"}),
    ({"unique_key": 5}, {"/unique_key"}),
    ({"unique_key": "a\nb"}, {"/unique_key"}),
    ({"limit_key": ""}, {"/limit_key"}),
    ({"limit_key": LONG}, {"/limit_key"}),
    ({"limit_key": ["a"]}, {"/limit_key"}),
    ({"depends_on": "x"}, {"/depends_on"}),
    ({"depends_on": [1]}, {"/depends_on/0"}),
    ({"depends_on": [""]}, {"/depends_on/0"}),
    ({"depends_on": ["x"]}, {"/depends_on/0"}),
    ({"depends_on": ["ref:a"]}, {"/depends_on/0"}),
    ({"depends_on": ["x"] * 10_001}, {"/depends_on"}),
    ({"on_parent_failure": "stop"}, {"/on_parent_failure"}),
    ({"ref": "a"}, {"/ref"}),
    ({"callback": "ftp://example.com"}, {"/callback"}),
    ({"colour": 1}, {"/colour"}),
    ({"queue": "a b"}, {"/queue"}),
    ({"tags": [""]}, {"/tags/0"}),
    ({"timeout": 0, "retries": -1, "keep": -1, "unique_key": "", "on_parent_failure": 1},
     {"/timeout", "/retries", "/keep", "/unique_key", "/on_parent_failure"}),
    ({"payload": {"width": "x"}}, {"/payload/width", "/payload/url"}),
    ({"payload": {"url": "u", "depth": 1}}, {"/payload/depth"}),
    ({"type": "scale"}, {"/type"}),
    ({"type": "dolgo.callback"}, {"/type"}),
]  # fmt: skip


def pointers(answer: Any) -> set[str]:
    assert answer.status_code == 422, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["error"]
    assert all(error["detail"] for error in problem["errors"])
    return {error["pointer"] for error in problem["errors"]}


def test_each_wrong_member_of_a_task_is_pointed_at(client: Client) -> None:
    for members, wrong in MEMBERS:
        body = {"type": "scales", "payload": {"url": "u"}, **members}
        found = pointers(client.http.post("/tasks", json=body))
        assert found == wrong, f"{str(members)[:200]}: {found}"
    assert client.every() == []


def test_and_so_in_a_batch_of_which_nothing_is_stored(client: Client) -> None:
    right = {"type": "scales", "payload": {"url": "u"}}
    for members, wrong in MEMBERS:
        if members == {"ref": "a"}:
            continue
        answer = client.http.post("/tasks/batch", json={"tasks": [right, {**right, **members}, right]})
        assert pointers(answer) == {f"/tasks/1{pointer}" for pointer in wrong}, str(members)[:200]
    assert client.every() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("PUT", "/queues/q/pause", {"until": "soon"}, {"/until"}),
        ("PUT", "/queues/q/pause", {"reason": 5}, {"/reason"}),
        ("PUT", "/queues/q/pause", {"reason": "a\nb"}, {"/reason"}),
        ("PUT", "/queues/q/pause", {"since": 1}, {"/since"}),
        ("PUT", "/queues/a%20b/pause", {}, {"/path/queue"}),
        ("PATCH", "/queues/q", {"max_running": 0}, {"/max_running"}),
        ("PATCH", "/queues/q", {"max_running": 1.5, "rate": 0}, {"/max_running", "/rate"}),
        ("PATCH", "/queues/q", {"max_running_per_key": "2"}, {"/max_running_per_key"}),
        ("PATCH", "/queues/q", {"rate": -1}, {"/rate"}),
        ("PATCH", "/queues/q", {"slots": 3}, {"/slots"}),
    ],
)
def test_a_queue_takes_no_nonsense(method: str, path: str, body: dict[str, Any], wrong: set[str], client: Client) -> None:
    assert pointers(client.http.request(method, path, json=body)) == wrong
    assert client.http.get("/queues/q").status_code == 404  # nothing was stored


def test_a_wrong_query_is_pointed_at(client: Client) -> None:
    id = "01890000-0000-7000-8000-000000000000"
    for path in (f"/tasks/{id}/logs?attempt=x", f"/tasks/{id}/logs?limit=0", f"/tasks/{id}?wait=61", "/tasks?limit=1001"):
        answer = client.http.get(path)
        assert answer.status_code == 422, f"{path}: {answer.text}"
        assert len(answer.json()["errors"]) == 1
