"""`dolgo schedule`: list, get, set, delete, run, pause, resume."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Run, Stub

SHOWN: dict[str, Any] = {
    "name": "nightly", "cron": "30 2 * * *", "every": None, "timezone": "Europe/Berlin", "type": "t", "payload": {"n": 1},
    "options": {"queue": None, "retries": 3}, "missed": "skip", "overlap": "allow", "paused": False,
    "next": ["2026-02-01T01:30:00Z"], "last_run": {"time": "2026-01-31T01:30:00Z", "id": "a"}, "last_error": None,
}  # fmt: skip
EVERY = {**SHOWN, "name": "often", "cron": None, "every": 60.0, "paused": True, "next": [], "last_run": None}


def test_schedules_are_listed(run: Run, stub: Stub) -> None:
    stub.answer("GET /schedules", {"schedules": [SHOWN, EVERY, {**EVERY, "every": 90}]})
    first, second, third = (line.split("\t") for line in run("schedule", "list").out.splitlines())
    assert first[:3] == ["nightly", "30 2 * * * Europe/Berlin", "t"]
    assert first[3].startswith("2026-0")
    assert (first[4][:7], first[5]) == ("2026-01", "")
    assert second == ["often", "every 1m", "t", "", "", "paused"]
    assert third[1] == "every 90s"
    assert run("schedule", "list", "--json").out.startswith('{"schedules":[')


def test_a_schedule_is_shown(run: Run, stub: Stub) -> None:
    stub.answer("GET /schedules/nightly", SHOWN)
    assert "cron: 30 2 * * *\n" in run("schedule", "get", "nightly").out
    assert 'options: {"retries":3}\n' in run("schedule", "get", "nightly").out
    assert run("schedule", "get", "nightly", "--json").out.startswith('{"name":"nightly"')
    assert run("schedule", "get", "other").code == 4


def test_a_schedule_is_set_with_its_task(run: Run, stub: Stub) -> None:
    stub.answer("PUT /schedules/nightly", SHOWN, 201)
    when = ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--missed", "once", "--overlap", "skip", "--paused"]
    assert run("schedule", "set", "nightly", "t", "n=1", *when, "--retries", "3", "--tag", "a").code == 0
    assert stub.requests[-1].body == {
        "type": "t", "payload": {"n": 1}, "cron": "30 2 * * *", "timezone": "Europe/Berlin", "missed": "once",
        "overlap": "skip", "paused": True, "options": {"retries": 3, "tags": ["a"]},
    }  # fmt: skip
    run("schedule", "set", "nightly", "t", "--every", "12h")
    assert stub.requests[-1].body == {"type": "t", "payload": {}, "every": 43_200, "paused": False}


@pytest.mark.parametrize(
    "when", [[], ["--cron", "* * * * *", "--every", "5"], ["--every", "often"], ["--every", "5", "--missed", "x"]]
)
def test_a_schedule_needs_one_time(when: list[str], run: Run, stub: Stub) -> None:
    assert run("schedule", "set", "nightly", "t", *when).code == 2
    assert stub.requests == []


@pytest.mark.parametrize(("verb", "method"), [("pause", "PUT"), ("resume", "DELETE")])
def test_a_schedule_is_paused_and_resumed_in_one_request(verb: str, method: str, run: Run, stub: Stub) -> None:
    stub.answer(f"{method} /schedules/nightly/pause", SHOWN)
    assert run("schedule", verb, "nightly").out.startswith("name: nightly\n")
    assert [(made.method, made.path, made.body) for made in stub.requests] == [(method, "/schedules/nightly/pause", None)]
    assert run("schedule", verb, "other").code == 4


def test_a_schedule_is_run_now_and_its_task_named(run: Run, stub: Stub) -> None:
    stub.answer("POST /schedules/nightly/run", b"", 0)
    stub.answer("POST /schedules/nightly/run", {"id": "a", "status": "queued"}, 202)
    assert run("schedule", "run", "nightly") == (0, "a\n", "")
    assert len({made.headers["idempotency-key"] for made in stub.requests}) == 1


def test_a_schedule_whose_task_is_unique_names_the_one_that_has_not_ended(run: Run, stub: Stub) -> None:
    stub.answer("POST /schedules/nightly/run", {"id": "a", "status": "queued"}, 202, Dolgo_Existing="true")
    ran = run("schedule", "run", "nightly")
    assert ran.out == "a\n"
    assert ran.err.startswith("Nothing new: ")


def test_a_schedule_is_deleted(run: Run, stub: Stub) -> None:
    stub.answer("DELETE /schedules/nightly", b"", 204)
    assert run("schedule", "delete", "nightly") == (0, "", "nightly is deleted.\n")
    assert run("schedule", "delete", "nightly", "--json").out == '{"deleted":"nightly"}\n'
    assert run("schedule", "delete", "other").code == 4
