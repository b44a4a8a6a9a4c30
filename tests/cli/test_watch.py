"""`dolgo watch`: status and progress until the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from tests.cli.conftest import DOLGO, Run, Stub, on_terminal

QUEUED = {"id": "a", "status": "queued", "attempt": 0, "waiting_for": {"code": "behind", "text": "It stands behind 2 others."}}
RUNNING = {"id": "a", "status": "in_progress", "attempt": 2, "progress": {"done": 1, "total": 4, "note": "page 1"}}
FURTHER = {**RUNNING, "progress": {"done": 2.5, "total": None, "note": ""}}
DONE = {"id": "a", "status": "done", "result": {"pages": 4}}


def script(stub: Stub, *bodies: object, id: str = "a") -> None:
    """The task as it is at first, and at each of so many events."""
    for body in bodies:
        stub.answer(f"GET /tasks/{id}", body)
    stub.stream(f"GET /tasks/{id}/events", *["task.status"] * len(bodies))


def test_each_change_is_told_until_the_end(run: Run, stub: Stub) -> None:
    script(stub, QUEUED, QUEUED, RUNNING, FURTHER, DONE)
    lines = ["queued  It stands behind 2 others.", "in_progress  attempt 2  page 1  1/4", "in_progress  attempt 2  2.5"]
    assert run("watch", "a") == (0, "\n".join([*lines, "a  done", '{"pages":4}', ""]), "")


def test_it_goes_on_where_the_stream_broke_off_and_says_so(run: Run, stub: Stub) -> None:
    stub.send_events("GET /tasks/a/events", ("e-7", "task.status", {}))
    script(stub, QUEUED, QUEUED, DONE)
    ran = run("watch", "a")
    assert ran.code == 0
    assert ran.err == f"dolgo: {stub.url} broke off: the stream was ended. Coming back to it.\n"
    first, second = stub.asked("GET /tasks/a/events")
    assert first.headers["accept"] == "text/event-stream"
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "e-7"


def test_a_log_line_is_no_change(run: Run, stub: Stub) -> None:
    stub.stream("GET /tasks/a/events", "task.log", "task.log", "task.status")
    for body in (RUNNING, DONE):
        stub.answer("GET /tasks/a", body)
    assert run("watch", "a", "--json").out.count("\n") == 2


def test_json_is_the_full_view_at_each_change(run: Run, stub: Stub) -> None:
    script(stub, QUEUED, DONE)
    ran = run("watch", "a", "--json")
    assert ran.code == 0
    assert [line[:27] for line in ran.out.splitlines()] == ['{"id":"a","status":"queued"', '{"id":"a","status":"done","']


def test_one_that_has_ended_is_told_at_once(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", DONE)
    assert run("watch", "a", "--timeout", "0").out == 'a  done\n{"pages":4}\n'
    assert not stub.asked("GET /tasks/a/events")


def test_several_are_watched_side_by_side_and_named(run: Run, stub: Stub) -> None:
    script(stub, RUNNING, DONE)
    script(stub, {"id": "b", "status": "failed", "error": {"code": "x", "message": "It broke."}}, id="b")
    stub.answer("GET /tasks/b", {"id": "b", "status": "failed", "error": "It broke."})
    ran = run("watch", "a", "b", "missing")
    assert ran.code == 4
    assert ran.err.startswith("dolgo: missing: ")
    told = ["a  in_progress  attempt 2  page 1  1/4", "a  done", '{"pages":4}', "b  failed", "  It broke."]
    assert sorted(ran.out.splitlines()) == sorted(told)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_another_end_is_code_3(status: str, run: Run, stub: Stub) -> None:
    script(stub, {"id": "a", "status": status, "error": {"code": "x", "message": "It broke."}})
    stub.answer("GET /tasks/a", {"id": "a", "status": status, "error": "It broke."})
    assert run("watch", "a") == (3, f"a  {status}\n  It broke.\n", "")


def test_time_that_runs_out_is_code_124(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a", RUNNING)
    stub.send_events("GET /tasks/a/events", ("e-1", "task.status", {}))  # again and again
    ran = run("watch", "a", "--timeout", "500ms")
    assert (ran.code, ran.out) == (124, "in_progress  attempt 2  page 1  1/4\n")
    assert run("watch", "a", "--timeout", "0").code == 124


def test_one_that_is_missing_is_code_4(run: Run) -> None:
    assert run("watch", "a").code == 4


def test_a_terminal_gets_a_bar(stub: Stub) -> None:
    script(stub, RUNNING, DONE)
    code, shown = on_terminal("stderr", "watch", "a", DOLGO_URL=stub.url)
    assert code == 0
    assert "in_progress" in shown
    assert "1/4" in shown


def test_a_terminal_gets_a_bar_for_each_of_several(stub: Stub) -> None:
    script(stub, RUNNING, DONE)
    script(stub, {**RUNNING, "id": "b"}, {**DONE, "id": "b"}, id="b")
    code, shown = on_terminal("stderr", "watch", "a", "b", DOLGO_URL=stub.url)
    assert code == 0
    assert "a  in_progress" in shown
    assert "b  in_progress" in shown


# -- everything


STARTED = {"seq": 4, "time": "2026-01-31T12:00:00Z", "event": "task.status", "id": "a", "type": "t", "status": "in_progress"}
ON_PAGE = {**STARTED, "seq": 5, "event": "task.progress", "attempt": 2, "progress": {"done": 1, "total": 4, "note": "page 1"}}
WROTE = {**STARTED, "seq": 6, "event": "task.log"}


def happen(stub: Stub) -> None:
    """Three events, and then it is not known how the log goes on."""
    events = [(f"e-{event['seq']}", str(event["event"]), event) for event in (STARTED, ON_PAGE, WROTE)]
    stub.send_events("GET /events", *events, ("f-9", "reset", {"epoch": "f", "next": 9}))
    stub.refuse("GET /events", 403, "Not any more.")


def test_without_ids_all_that_happens_is_told(run: Run, stub: Stub) -> None:
    happen(stub)
    ran = run("watch", "--type", "t", "--queue", "q", "--status", "in_progress", "--after", "3")
    assert ran.code == 6
    assert [line.split("  ", 1)[1] for line in ran.out.splitlines()] == [
        "a  t  in_progress",
        "a  t  in_progress  attempt 2  page 1  1/4",
        "a  t  in_progress  wrote to its log",
    ]
    missing, broke_off, refused = ran.err.splitlines()
    assert missing == "dolgo: Some events before this may be missing."
    assert (broke_off.split()[2:4], refused) == (["broke", "off:"], "dolgo: Not any more.")
    first, second = stub.asked("GET /events")
    assert first.query == {"type": "t", "queue": "q", "status": "in_progress", "after": "3"}
    assert second.headers["last-event-id"] == "f-9"


def test_json_is_the_events_one_a_line(run: Run, stub: Stub) -> None:
    happen(stub)
    lines = [json.loads(line) for line in run("watch", "--json").out.splitlines()]
    assert lines == [STARTED, ON_PAGE, WROTE, {"event": "reset", "epoch": "f", "next": 9}]


@pytest.mark.parametrize("option", ["--type", "--queue", "--status", "--after"])
def test_what_narrows_everything_does_not_go_with_ids(option: str, run: Run, stub: Stub) -> None:
    assert run("watch", "a", option, "x").code == 2
    assert not stub.requests


def test_ctrl_c_ends_a_watch_quietly(stub: Stub) -> None:
    stub.send_events("GET /events", ("e-4", "task.status", STARTED))
    watching = subprocess.Popen(
        [DOLGO, "watch"], env=os.environ | {"DOLGO_URL": stub.url}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell runs in the background ignores it
    )  # fmt: skip
    assert watching.stdout is not None
    assert "in_progress" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["watch", "--json"], ["logs", "-f", "a", "--json"]])
def test_a_reader_that_goes_away_ends_it_quietly(command: list[str], stub: Stub) -> None:
    stub.send_events("GET /events", *(("e-4", "task.status", STARTED) for _ in range(5000)))
    stub.send_events("GET /tasks/a/events", ("e-4", "task.status", STARTED))
    line = {"attempt": 1, "number": 1, "time": "2026-01-31T12:00:00Z", "level": "info", "text": "x" * 100}
    stub.answer("GET /tasks/a/logs", {"lines": [line] * 5000, "next": "1-1"})
    environ = os.environ | {"DOLGO_URL": stub.url, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([DOLGO, *command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stderr is not None
        listening.stdout.readline()
        listening.stdout.close()
        assert listening.stderr.read() in ("", "attempt 1:\n")
        assert listening.wait(20) in (0, 1)
