"""`dolgo logs`: what a handler wrote."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Run, Stub


def line(number: int, attempt: int = 1, text: str = "Fetching.") -> dict[str, Any]:
    return {"attempt": attempt, "number": number, "time": "2026-01-31T12:00:00Z", "level": "info", "text": text}


def test_all_lines_are_shown_page_by_page(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a/logs", {"lines": [line(1), line(2)], "next": "1-2"})
    stub.answer("GET /tasks/a/logs", {"lines": [line(1, 2, "Bad \x1b[2J\tname.")], "next": "2-1"})
    stub.answer("GET /tasks/a/logs", {"lines": [], "next": "2-1"})
    ran = run("logs", "a")
    assert (ran.code, ran.err) == (0, "attempt 1:\nattempt 2:\n")
    lines = ran.out.splitlines()
    assert [shown.split("  ", 1)[1] for shown in lines] == ["info      Fetching."] * 2 + ["info      Bad \\x1b[2J\tname."]
    assert [made.query for made in stub.requests] == [{}, {"after": "1-2"}, {"after": "2-1"}]


def test_one_attempt_is_shown_if_asked_for(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a/logs", {"lines": [line(1, 2)], "next": "2-1"})
    stub.answer("GET /tasks/a/logs", {"lines": [], "next": "2-1"})
    ran = run("logs", "a", "--attempt", "2", "--json")
    assert ran.out == '{"attempt":2,"number":1,"time":"2026-01-31T12:00:00Z","level":"info","text":"Fetching."}\n'
    assert [made.query["attempt"] for made in stub.requests] == ["2", "2"]


def test_a_log_is_followed_to_the_end_of_its_task(run: Run, stub: Stub) -> None:
    stub.stream("GET /tasks/a/events", "task.status", "task.log", "task.status")
    stub.answer("GET /tasks/a/logs", {"lines": [line(1)], "next": "1-1"})
    stub.answer("GET /tasks/a/logs", {"lines": [], "next": "1-1"})
    stub.answer("GET /tasks/a/logs", {"lines": [line(2, text="The end.")], "next": "1-2"})
    stub.answer("GET /tasks/a/logs", {"lines": [], "next": "1-2"})
    ran = run("logs", "a", "--follow")
    assert (ran.code, ran.out.count("\n")) == (0, 2)
    assert ran.out.endswith("The end.\n")


def test_a_task_without_lines_shows_none(run: Run, stub: Stub) -> None:
    stub.answer("GET /tasks/a/logs", {"lines": [], "next": None})
    assert run("logs", "a") == (0, "", "")
    assert run("logs", "b").code == 4
