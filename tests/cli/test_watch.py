"""`dolgo watch`: status and progress until the end."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, Stub, on_terminal

QUEUED = {"id": "a", "status": "queued", "attempt": 0, "waiting_for": {"code": "behind", "text": "It stands behind 2 others."}}
RUNNING = {"id": "a", "status": "in_progress", "attempt": 2, "progress": {"done": 1, "total": 4, "note": "page 1"}}
FURTHER = {**RUNNING, "progress": {"done": 2.5, "total": None, "note": ""}}
DONE = {"id": "a", "status": "done", "result": {"pages": 4}}


def script(stub: Stub, *bodies: object) -> None:
    """The task as it is at each of so many events."""
    for body in bodies:
        stub.answer("GET /tasks/a", body)
    stub.stream("GET /tasks/a/events", *["task.status"] * len(bodies))


def test_each_change_is_told_until_the_end(run: Run, stub: Stub) -> None:
    script(stub, QUEUED, QUEUED, RUNNING, FURTHER, DONE)
    lines = ["queued  It stands behind 2 others.", "in_progress  attempt 2  page 1  1/4", "in_progress  attempt 2  2.5"]
    assert run("watch", "a") == (0, "\n".join([*lines, "a  done", '{"pages":4}', ""]), "")


def test_it_looks_at_each_event_and_goes_on_where_the_stream_was_cut(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a/events", b"id: e-7\nevent: task.status\ndata: {}\n\n")
    script(stub, QUEUED, DONE)
    assert run("watch", "a", "--json").code == 0
    first, *others = stub.asked("GET /tasks/a/events")
    assert first.headers["accept"] == "text/event-stream"
    assert [made.headers["last-event-id"] for made in others] == ["e-7", "e-2"]
    assert len(stub.asked("GET /tasks/a")) == 2


def test_json_is_the_full_view_at_each_change(run: Run, stub: Stub) -> None:
    script(stub, QUEUED, DONE)
    ran = run("watch", "a", "--json")
    assert ran.code == 0
    assert [line[:27] for line in ran.out.splitlines()] == ['{"id":"a","status":"queued"', '{"id":"a","status":"done","']


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_another_end_is_code_3(status: str, run: Run, stub: Stub) -> None:
    script(stub, {"id": "a", "status": status, "error": {"code": "x", "message": "It broke."}})
    stub.answer("GET /tasks/a", {"id": "a", "status": status, "error": "It broke."})
    assert run("watch", "a") == (3, f"a  {status}\n  It broke.\n", "")


def test_time_that_runs_out_is_code_124(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", RUNNING)
    stub.answer("GET /tasks/a/events", b"event: task.status\ndata: {}\n\n")  # again and again
    assert run("watch", "a", "--timeout", "500ms") == (124, "in_progress  attempt 2  page 1  1/4\n", "")


def test_one_that_is_missing_is_code_4(run: Run) -> None:
    assert run("watch", "a").code == 4


def test_a_terminal_gets_a_bar(stub: Stub) -> None:
    script(stub, RUNNING, DONE)
    code, shown = on_terminal("stderr", "watch", "a", DOLGO_URL=stub.url)
    assert code == 0
    assert "in_progress" in shown
    assert "1/4" in shown
