"""`dolgo queue`: list, pause, resume, limit."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, Stub

QUEUE = {"name": "default", "counts": {"queued": 3, "done": 1}, "oldest_age": 90.0, "workers": 2, "paused": None}
HELD = {**QUEUE, "paused": {"reason": "moving", "until": None}, "max_running": 3, "max_running_per_key": 1, "rate": 0.5}
LINE = "default\t0\t3\t0\t1\t0\t0\t2m\t2\t"


def test_queues_are_listed_with_counts_and_what_holds_them_back(run: Run, stub: Stub) -> None:
    stub.answer("GET /queues", {"queues": [QUEUE, HELD]})
    assert run("queue", "list").out == f"{LINE}\t\n{LINE}moving\t3 at once, 1 a key, 0.5/s\n"
    assert run("queue", "list", "--json").out.startswith('{"queues":[')


def test_a_queue_is_paused_with_reason_and_time_and_resumed(run: Run, stub: Stub) -> None:
    stub.answer("PUT /queues/a%2Fb/pause", HELD)
    stub.answer("DELETE /queues/a%2Fb/pause", QUEUE)
    shown = run("queue", "pause", "a/b").out.splitlines()
    assert shown[:3] == ["queue: default", "waiting: 0", "queued: 3"]
    assert shown[-2:] == ["paused: moving", "limits: 3 at once, 1 a key, 0.5/s"]
    run("queue", "pause", "a/b", "--reason", "moving", "--until", "2030-01-01T00:00:00Z")
    bodies = [made.body for made in stub.asked("PUT /queues/a%2Fb/pause")]
    assert bodies == [{}, {"reason": "moving", "until": "2030-01-01T00:00:00Z"}]
    assert "paused" not in run("queue", "resume", "a/b").out
    assert run("queue", "resume", "a/b", "--json").out.startswith('{"name":"default"')
    assert stub.requests[-1].body is None


@pytest.mark.parametrize(
    ("pause", "said"),
    [
        ({"reason": None, "until": None}, "until it is resumed"),
        ({"reason": None, "until": "2030-01-01T00:00:00Z"}, "until 20"),
        ({"reason": "moving", "until": "2030-01-01T00:00:00Z"}, "0: moving"),
    ],
)
def test_a_pause_is_told_in_words(pause: dict[str, str | None], said: str, run: Run, stub: Stub) -> None:
    stub.answer("PUT /queues/q/pause", {**QUEUE, "paused": pause})
    (line,) = [line for line in run("queue", "pause", "q").out.splitlines() if line.startswith("paused: ")]
    assert said in line


def test_limits_are_set_and_lifted(run: Run, stub: Stub) -> None:
    stub.answer("PATCH /queues/q", HELD)
    assert run("queue", "limit", "q", "--max-running", "3", "--rate", "0.5", "--max-running-per-key", "none").code == 0
    assert stub.requests[-1].body == {"max_running": 3, "rate": 0.5, "max_running_per_key": None}


@pytest.mark.parametrize(
    "arguments",
    [
        ["limit", "q"],
        ["limit", "q", "--rate", "fast"],
        ["limit", "q", "--rate", "nan"],
        ["limit", "q", "--max-running", "inf"],
        ["pause"],
        ["stop", "q"],
        [],
    ],
)
def test_what_says_nothing_is_a_usage_error(arguments: list[str], run: Run, stub: Stub) -> None:
    assert run("queue", *arguments).code == 2
    assert stub.requests == []


def test_a_queue_that_is_refused_is_told_with_its_member(run: Run, stub: Stub) -> None:
    stub.refuse("PATCH /queues/q", 422, "The request cannot be used.", _rate="Expected `float` > 0")
    assert run("queue", "limit", "q", "--rate", "-1").err == "dolgo: The request cannot be used.\n  /rate: Expected `float` > 0\n"
