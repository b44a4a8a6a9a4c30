"""Tasks that wait for tasks: they begin when all have ended, and none waits for something that is over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.blackbox.client import Client, outcomes, until

OPTIONS = ("--slots", "20", "--drain-timeout", "0")
MANY = 1000

HANDLERS = """
from dolgo import Context, Fail, SyncContext, task

@task
async def adds(ctx: Context, number: int = 0) -> int:
    return number + sum([parent.result or 0 async for parent in ctx.parents])

@task
def adds_alone(ctx: SyncContext, number: int = 0) -> int:
    return number + sum(parent.result for parent in ctx.parents)

@task
async def tells(ctx: Context) -> list[dict[str, object]]:
    return [
        {"id": p.id, "ref": p.ref, "type": p.type, "status": p.status, "result": p.result, "error": p.error}
        async for p in ctx.parents
    ]

@task(isolation="thread")
def tells_in_a_thread(ctx: SyncContext) -> list[list[object]]:
    return [[p.ref, p.status, p.result] for p in ctx.parents]

@task
async def fails() -> None:
    raise Fail("it broke")

@task
async def fails_first(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise Fail("it broke")
    return 10
"""


def batch(client: Client, tasks: Sequence[dict[str, Any]], within: float = 30.0) -> list[dict[str, str]]:
    answer = client.http.post("/tasks/batch", json={"tasks": tasks}, timeout=within)
    assert answer.status_code == 202, answer.text[:2000]
    return list(answer.json()["tasks"])


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def check_order(parents: Sequence[dict[str, Any]], child: dict[str, Any]) -> None:
    assert seconds(child["started_at"]) >= max(seconds(parent["finished_at"]) for parent in parents)


def code(task: dict[str, Any]) -> tuple[str, str]:
    return task["status"], task["error"]["code"]


@pytest.mark.parametrize("type", ["adds", "adds_alone"])
def test_a_chain_runs_one_after_the_other(type: str, client: Client) -> None:
    ids = [client.submit(type, {"number": 1}, delay=0.2)]
    for _ in range(5):
        ids.append(client.submit(type, {"number": 1}, depends_on=[ids[-1]]))
    tasks = [client.end(id) for id in ids]
    assert [task["result"] for task in tasks] == [1, 2, 3, 4, 5, 6]
    for parent, child in pairwise(tasks):
        check_order([parent], child)
        assert (child["parents"], parent["dependents"]) == ([parent["id"]], [child["id"]])


def test_a_diamond_in_a_batch_is_arranged_whatever_its_order(client: Client) -> None:
    tasks = [
        {"type": "tells", "ref": "end", "depends_on": ["ref:left", "ref:right"]},
        {"type": "adds", "ref": "right", "payload": {"number": 2}, "depends_on": ["ref:begin"]},
        {"type": "adds", "ref": "left", "payload": {"number": 1}, "depends_on": ["ref:begin"]},
        {"type": "adds", "ref": "begin", "payload": {"number": 10}},
    ]
    accepted = batch(client, tasks)
    assert [task["status"] for task in accepted] == ["waiting", "waiting", "waiting", "queued"]
    end, right, left, begin = (client.end(task["id"]) for task in accepted)
    shown = {"type": "adds", "status": "done", "error": None}
    assert end["result"] == [
        {"id": left["id"], "ref": "left", "result": 11, **shown},
        {"id": right["id"], "ref": "right", "result": 12, **shown},
    ]
    check_order([begin], left)
    check_order([left, right], end)


@pytest.mark.timeout(120)
def test_one_fans_out_to_a_thousand_and_they_come_together(client: Client) -> None:
    first = {"type": "adds", "ref": "first", "payload": {"number": 1}}
    middle = [{"type": "adds", "ref": f"m{n}", "payload": {"number": n}, "depends_on": ["ref:first"]} for n in range(MANY)]
    last = {"type": "adds", "depends_on": [f"ref:m{n}" for n in range(MANY)]}
    accepted = batch(client, [last, *middle, first])
    task = client.end(accepted[0]["id"], within=60)
    assert task["result"] == sum(n + 1 for n in range(MANY))
    assert len(task["parents"]) == MANY
    assert [client.task(id)["status"] for id in task["parents"][::97]] == ["done"] * 11
    first_task = client.task(accepted[-1]["id"])
    assert len(first_task["dependents"]) == MANY


@pytest.mark.timeout(120)
def test_ten_thousand_edges_in_a_batch(client: Client) -> None:
    chance = random.Random(4)
    places = list(range(2000))
    tasks: list[dict[str, Any]] = [
        {
            "type": "adds", "ref": f"t{place}",
            "depends_on": [f"ref:t{parent}" for parent in chance.sample(places[:place], 5)] if place > 5 else [],
        }
        for place in places
    ]  # fmt: skip
    assert sum(len(task["depends_on"]) for task in tasks) > 9_900
    chance.shuffle(tasks)
    accepted = batch(client, tasks)
    until(lambda: not client.counts()["waiting"], 90, "all are released")
    assert {client.end(task["id"], 60)["status"] for task in accepted[::50]} == {"done"}


@pytest.mark.parametrize("number", [3, 1200])
def test_when_a_parent_fails_all_below_it_is_cancelled(number: int, client: Client) -> None:
    parent = {"type": "fails", "ref": "parent", "delay": 0.3}
    direct = [{"type": "adds", "ref": f"d{n}", "depends_on": ["ref:parent"]} for n in range(number)]
    below = [
        {"type": "adds", "depends_on": [f"ref:d{number - 1}"]},
        {"type": "tells", "depends_on": ["ref:d0"], "on_parent_failure": "run"},
    ]
    ids = [task["id"] for task in batch(client, [parent, *direct, *below])]
    assert client.end(ids[0])["status"] == "failed"
    cancelled = [client.end(id, within=20) for id in (ids[1], ids[number], ids[-2])]
    assert list(map(code, cancelled)) == [("cancelled", "dependency_failed")] * 3
    assert ids[0] in cancelled[0]["error"]["message"]
    runs = client.end(ids[-1], within=20)
    assert (runs["status"], runs["result"][0]["status"], runs["result"][0]["result"]) == ("done", "cancelled", None)
    assert runs["result"][0]["error"]
    assert {client.end(id, 20)["status"] for id in ids[1:-2:101]} == {"cancelled"}


def test_a_parent_that_has_ended_already(client: Client) -> None:
    done, failed = client.submit("adds", {"number": 5}), client.submit("fails")
    client.end(done)
    client.end(failed)
    after = client.http.post("/tasks", json={"type": "adds", "depends_on": [done]}).json()
    assert after["status"] == "queued"
    assert client.end(after["id"])["result"] == 5
    cancelled = client.http.post("/tasks", json={"type": "adds", "depends_on": [done, failed]}).json()
    assert cancelled["status"] == "cancelled"
    assert code(client.task(cancelled["id"])) == ("cancelled", "dependency_failed")
    runs = client.submit("tells_in_a_thread", depends_on=[done, failed], on_parent_failure="run")
    assert client.end(runs)["result"] == [[None, "done", 5], [None, "failed", None]]


def test_a_cancelled_parent_cancels_and_what_is_cancelled_itself_is_not_released(client: Client) -> None:
    parent = client.submit("adds", delay=3600)
    child = client.submit("adds", depends_on=[parent])
    grandchild = client.submit("adds", depends_on=[child])
    other = client.submit("adds", depends_on=[parent])
    assert client.http.post(f"/tasks/{other}/cancel").status_code == 200
    client.http.post(f"/tasks/{parent}/cancel")
    assert [code(client.end(id)) for id in (child, grandchild)] == [("cancelled", "dependency_failed")] * 2
    assert code(client.task(other)) == ("cancelled", "cancelled")
    assert client.http.post(f"/tasks/{child}/retry").status_code == 409  # its parent has not ended done
    assert client.http.post(f"/tasks/{parent}/retry").status_code == 202
    assert [client.end(id)["status"] for id in (parent, child, grandchild)] == ["done"] * 3
    assert code(client.task(other)) == ("cancelled", "cancelled")  # by hand, so it is not brought back


def test_a_retry_of_a_failed_parent_brings_its_dependents_back(client: Client) -> None:
    ids = [task["id"] for task in batch(client, [
        {"type": "fails_first", "ref": "parent"},
        *({"type": "adds", "ref": f"d{n}", "payload": {"number": n}, "depends_on": ["ref:parent"]} for n in range(700)),
        {"type": "adds", "depends_on": [f"ref:d{n}" for n in range(700)]},
        {"type": "fails", "ref": "other"},
        {"type": "adds", "depends_on": ["ref:parent", "ref:other"]},
    ])]  # fmt: skip
    parent, dependents, last, both = ids[0], ids[1:701], ids[701], ids[-1]
    assert code(client.end(last)) == code(client.end(both)) == ("cancelled", "dependency_failed")
    assert client.http.post(f"/tasks/{parent}/retry").json() == {"id": parent, "status": "queued"}
    assert outcomes(client.end(parent)) == ["failed", "done"]
    until(lambda: client.get(f"/tasks/{last}")["status"] == "done", 30, "all below it is brought back and done")
    assert client.task(last)["result"] == sum(10 + n for n in range(700))
    assert Counter(client.task(id)["status"] for id in dependents[::50]) == {"done": 14}
    assert code(client.end(both)) == ("cancelled", "dependency_failed")  # the other one has failed still


def test_the_same_parent_twice_is_one(client: Client) -> None:
    parent = client.submit("adds", {"number": 1}, delay=0.2)
    task = client.end(client.submit("adds", depends_on=[parent, parent]))
    assert (task["parents"], task["result"]) == ([parent], 1)


def test_what_cannot_be_is_refused_and_nothing_of_the_batch_is_stored(client: Client) -> None:
    parent = client.submit("adds", delay=3600)
    before = client.counts().total()
    nobody = parent[:-4] + "ffff"
    wrong: list[tuple[list[dict[str, Any]], list[str]]] = [
        ([{"type": "adds", "ref": "a", "depends_on": ["ref:b"]}, {"type": "adds", "ref": "b", "depends_on": ["ref:a"]}],
         ["/tasks/0/depends_on/0", "/tasks/1/depends_on/0"]),
        ([{"type": "adds", "ref": "a", "depends_on": ["ref:a"]}], ["/tasks/0/depends_on/0"]),
        ([{"type": "adds"}, {"type": "adds", "depends_on": [parent, nobody]}], ["/tasks/1/depends_on/1"]),
        ([{"type": "adds", "depends_on": ["ref:nobody"]}], ["/tasks/0/depends_on/0"]),
        ([{"type": "adds", "ref": "a"}, {"type": "adds", "ref": "a"}], ["/tasks/1/ref"]),
        ([{"type": "adds", "depends_on": "x"}], ["/tasks/0/depends_on"]),
        ([{"type": "adds", "on_parent_failure": "ignore"}], ["/tasks/0/on_parent_failure"]),
    ]  # fmt: skip
    for tasks, pointers in wrong:
        answer = client.http.post("/tasks/batch", json={"tasks": tasks})
        assert answer.status_code == 422, answer.text
        assert sorted(error["pointer"] for error in answer.json()["errors"]) == pointers
    answer = client.http.post("/tasks", json={"type": "adds", "depends_on": [nobody]})
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, ["/depends_on/0"])
    assert client.counts().total() == before
