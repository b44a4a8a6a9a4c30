"""Many tasks cancelled and retried at once: first only counted, then in steps that hold nobody up."""

from __future__ import annotations

import pytest

from tests.blackbox.client import Client, Prober, until
from tests.blackbox.server import Server

OPTIONS = ("--slots", "20", "--drain-timeout", "0")
MANY = 3_000

HANDLERS = """
from dolgo import Context, Fail, task

@task
async def fails_first(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise Fail("at first")
"""


@pytest.mark.timeout(120)
def test_thousands_are_cancelled_and_retried_while_others_are_served(shared: Server, client: Client) -> None:
    for _ in range(MANY // 1000):
        client.batch("long_task", [{"seconds": 0}] * 1000, tags=["many"], delay=3600)
    other = client.submit("long_task", {"seconds": 0}, delay=3600)
    params = {"tag": "many", "type": "long_task"}
    dry = client.http.post("/tasks/cancel", params={**params, "dry_run": "true"}).json()
    assert dry == {"matched": MANY, "changed": 0, "more": False}
    assert len(client.every(tag="many", status="queued")) == MANY  # it was dry
    with Prober(shared.url) as prober:
        until(lambda: prober.answers, 5, "others are served")
        assert client.http.post("/tasks/cancel", params=params).json() == {"matched": MANY, "changed": MANY, "more": False}
    assert len(client.every(tag="many", status="cancelled")) == MANY
    assert client.http.post("/tasks/cancel", params=params).json() == {"matched": 0, "changed": 0, "more": False}
    assert client.task(other)["status"] == "queued"
    with Prober(shared.url) as prober:
        until(lambda: prober.answers, 5, "others are served")
        assert client.http.post("/tasks/retry", params=params).json() == {"matched": MANY, "changed": MANY, "more": False}
    until(lambda: len(client.every(tag="many", status="done")) == MANY, 60, "all of them are done")


def test_what_failed_is_retried_by_type_and_status(client: Client) -> None:
    ids = client.batch("fails_first", [{}] * 50)
    for id in ids:
        client.end(id)
    said = client.http.post("/tasks/retry", params={"type": "fails_first", "status": "failed"}).json()
    assert said == {"matched": 50, "changed": 50, "more": False}
    assert {client.end(id)["status"] for id in ids} == {"done"}


def test_what_runs_is_asked_to_stop(client: Client) -> None:
    ids = client.batch("long_task", [{"seconds": 60}] * 5, tags=["running"])
    for id in ids:
        client.begun(id)
    assert client.http.post("/tasks/cancel", params={"tag": "running"}).json()["matched"] == 5
    assert {client.end(id)["status"] for id in ids} == {"cancelled"}


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_filter_is_needed_and_a_wrong_one_is_pointed_at(verb: str, client: Client) -> None:
    before = client.counts()
    for params, pointer in (
        ({}, "/query"),
        ({"dry_run": "true"}, "/query"),
        ({"color": "red"}, "/query/color"),
        ({"status": "over"}, "/query/status"),
        ({"tag": "x", "dry_run": "perhaps"}, "/query/dry_run"),
        ({"created_after": "yesterday"}, "/query/created_after"),
    ):
        answer = client.http.post(f"/tasks/{verb}", params=params)
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert client.counts() == before
