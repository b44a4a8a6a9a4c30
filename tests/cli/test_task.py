"""`dolgo get`, `result` and `list`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run, Stub

QUEUED = {"id": "a", "status": "queued"}
FULL = {"id": "a", "status": "done", "type": "t", "queue": "q", "attempt": 1, "created_at": "2026-01-31T12:00:00Z", "tags": []}


def test_get_shows_status_result_and_error(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", QUEUED)
    stub.answer("GET /tasks/b", b'{"id":"b","status":"done","result":{"z":1.10,"a":12345678901234567890123}}')
    stub.answer("GET /tasks/c", {"id": "c", "status": "failed", "error": "It broke."})
    ran = run("get", "a", "b", "c")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == 'a  queued\nb  done\n{"z":1.10,"a":12345678901234567890123}\nc  failed\n  It broke.\n'


def test_json_is_what_the_server_sent_one_task_a_line(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", b'{"id": "a",\n "status": "done", "result": 1.0}')
    assert run("get", "a", "a", "--json").out == '{"id":"a","status":"done","result":1.0}\n' * 2


def test_a_task_that_is_missing_does_not_hide_the_others(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", QUEUED)
    ran = run("get", "missing", "a")
    assert (ran.code, ran.out) == (4, "a  queued\n")
    assert ran.err == "dolgo: missing: There is nothing under this address.\n"


def test_get_full_shows_every_member_that_has_a_value(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {**FULL, "error": None})
    ran = run("get", "a", "--full")
    assert ran.out.splitlines() == [
        "id: a",
        "status: done",
        "type: t",
        "queue: q",
        "attempt: 1",
        "created_at: 2026-01-31T12:00:00Z",
    ]
    assert stub.requests[0].query == {"view": "full"}


def test_result_prints_the_result_alone(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", b'{"id":"a","status":"done","result":{"words": 3}}')
    assert run("result", "a") == (0, '{"words":3}\n', "")


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"status": "failed", "error": "It broke."}, 3, "The task ended failed: It broke."),
        ({"status": "cancelled", "error": "By hand."}, 3, "The task ended cancelled: By hand."),
        ({"status": "in_progress"}, 1, "The task has no result yet, it is in_progress; `dolgo wait a` waits for it."),
    ],
)
def test_a_task_without_a_result_says_why(body: dict[str, Any], code: int, said: str, run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", {"id": "a", **body})
    assert run("result", "a") == (code, "", f"dolgo: {said}\n")


def test_list_follows_the_pages_up_to_the_limit(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [FULL], "next": "c1"})
    stub.answer("GET /tasks", {"tasks": [], "next": "c2"})
    stub.answer("GET /tasks", {"tasks": [FULL, FULL], "next": "c3"})
    ran = run("list", "--limit", "3", "--status", "done", "--tag", "x", "--json")
    assert (ran.code, len(ran.out.splitlines())) == (0, 3)
    assert ran.err == "There are more; --limit 30 shows some of them.\n"
    asked = [made.query for made in stub.requests]
    assert asked[0] == {"status": "done", "tag": "x", "limit": "3"}
    assert asked[2] == {"status": "done", "tag": "x", "limit": "2", "cursor": "c2"}


def test_a_long_list_is_asked_for_in_pages_of_a_thousand(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [FULL] * 1000, "next": "c1"})
    stub.answer("GET /tasks", {"tasks": [FULL] * 10, "next": None})
    ran = run("list", "--limit", "1500", "--json")
    assert (len(ran.out.splitlines()), ran.err) == (1010, "")
    assert [made.query["limit"] for made in stub.requests] == ["1000", "500"]


def test_a_list_that_is_piped_has_tabs_and_no_heads(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [{**FULL, "type": "odd\ttype\n"}], "next": None})
    line = run("list").out
    assert line.startswith("a\tdone\todd type \tq\t1\t2026-01-31 ")
    assert line.count("\n") == 1
