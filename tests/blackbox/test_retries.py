"""Attempts after the first: which ends lead to one, when it comes, and what is kept of each."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, outcomes

OPTIONS = ("--slots", "4", "--drain-timeout", "0", "--max-losses", "2", "--max-result", "1000")

HANDLERS = """
import os, time
from dolgo import Backoff, Context, Fail, Retry, SyncContext, task

@task(retries=2, backoff=0.01)
async def always_fails(ctx: Context) -> None:
    raise ValueError(f"attempt {ctx.attempt}")

@task(retries=3, backoff=[0.05, 0.4])
def fails_until(ctx: SyncContext, attempt: int) -> int:
    if ctx.attempt < attempt:
        raise ValueError("not yet")
    return ctx.attempt

@task(retries=5, backoff=Backoff(base=0.01, factor=2, cap=0.02))
async def fails_with_jitter() -> None:
    raise ValueError

@task(isolation="thread", retries=1, backoff=0)
def fails_in_a_thread() -> None:
    raise ValueError("in a thread")

@task
async def asks_again(ctx: Context, times: int, delay: float = 0.0) -> int:
    if ctx.attempt <= times:
        raise Retry(delay=delay, reason="not ready")
    return ctx.attempt

@task(retries=5, backoff=0)
def gives_up(ledger: str) -> None:
    note(ledger)
    raise Fail("there is no such file")

@task(retries=1, backoff=0)
def dies(ledger: str) -> None:
    note(ledger)
    os._exit(3)

@task(retries=5, backoff=0)
async def returns(ledger: str, what: str) -> object:
    note(ledger)
    return {"much": "x" * 2000, "a set": {1, 2}, "an object": object(), "a little": 1}[what]

@task(retries=0)
async def fails_once(ledger: str) -> int:
    note(ledger)
    if len(open(ledger).readlines()) == 1:
        raise ValueError("the first time")
    return 1

def note(ledger):
    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def pauses(task: dict[str, Any]) -> list[float]:
    """Seconds between the end of an attempt and the beginning of the next."""
    attempts = task["attempts"]
    return [seconds(after["started_at"]) - seconds(before["finished_at"]) for before, after in pairwise(attempts)]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where handlers write that they began, a line each."""
    return tmp_path / "ledger"


def test_a_task_has_failed_when_its_attempts_are_used_up_and_each_is_kept(client: Client) -> None:
    task = client.end(client.submit("always_fails"))
    assert (task["status"], task["attempt"], task["max_attempts"]) == ("failed", 3, 3)
    assert [attempt["number"] for attempt in task["attempts"]] == [1, 2, 3]
    assert outcomes(task) == ["failed"] * 3
    assert [attempt["error"]["message"] for attempt in task["attempts"]] == [f"attempt {n}" for n in (1, 2, 3)]
    for attempt in task["attempts"]:
        assert attempt["worker"]
        assert attempt["error"]["code"] == "handler_error"
        assert attempt["error"]["type"] == "ValueError"
        assert "raise ValueError" in attempt["error"]["traceback"]
        assert seconds(attempt["started_at"]) <= seconds(attempt["finished_at"])
    assert client.get(f"/tasks/{task['id']}") == {"id": task["id"], "status": "failed", "error": task["error"]["message"]}


def test_a_submit_says_how_often_it_is_tried(client: Client) -> None:
    assert outcomes(client.end(client.submit("always_fails", retries=0))) == ["failed"]
    assert outcomes(client.end(client.submit("always_fails", retries=4))) == ["failed"] * 5


def test_delays_are_kept_and_the_last_of_them_repeats(client: Client) -> None:
    task = client.end(client.submit("fails_until", {"attempt": 4}))
    assert (task["status"], task["result"], outcomes(task)) == ("done", 4, ["failed", "failed", "failed", "done"])
    assert [pause >= least for pause, least in zip(pauses(task), (0.05, 0.4, 0.4), strict=True)] == [True] * 3, pauses(task)


def test_an_exponential_backoff_with_a_cap_comes_to_its_end(client: Client) -> None:
    assert outcomes(client.end(client.submit("fails_with_jitter"))) == ["failed"] * 6


def test_a_handler_in_a_thread_is_tried_again_as_well(client: Client) -> None:
    assert outcomes(client.end(client.submit("fails_in_a_thread"))) == ["failed"] * 2


def test_a_handler_that_asks_for_another_attempt_is_charged_nothing(client: Client) -> None:
    task = client.end(client.submit("asks_again", {"times": 3, "delay": 0.1}))
    assert (task["status"], task["result"], task["max_attempts"]) == ("done", 4, 1)
    assert outcomes(task) == ["retry", "retry", "retry", "done"]
    assert min(pauses(task)) >= 0.1
    assert "not ready" in task["attempts"][0]["error"]["message"]


def test_a_handler_that_asks_for_ever_has_failed_after_a_thousand_times(client: Client) -> None:
    id = client.submit("asks_again", {"times": 5000})
    client.end(client.submit("asks_again", {"times": 0}, depends_on=[id], on_parent_failure="run"), within=50)
    task = client.task(id)
    assert (task["status"], task["attempt"], outcomes(task)[-1]) == ("failed", 1001, "failed")
    assert "1,000 times" in task["error"]["message"]
    assert "not ready" in task["error"]["message"]


def test_a_handler_that_gives_up_is_not_tried_again(client: Client, ledger: Path) -> None:
    task = client.end(client.submit("gives_up", {"ledger": str(ledger)}))
    assert (task["status"], outcomes(task), len(lines(ledger))) == ("failed", ["failed"], 1)
    assert (task["error"]["code"], task["error"]["message"]) == ("handler_error", "there is no such file")


def test_losses_are_counted_apart_from_failures(client: Client, ledger: Path) -> None:
    task = client.end(client.submit("dies", {"ledger": str(ledger)}, retries=7))
    assert (task["status"], task["error"]["code"], outcomes(task)) == ("failed", "worker_lost", ["lost", "lost"])
    assert "code 3" in task["error"]["message"]
    assert len(set(lines(ledger))) == 2  # each in a process of its own
    assert pauses(task)[0] >= 1.0  # it is not let loose again at once


@pytest.mark.parametrize(
    ("what", "code"),
    [("much", "result_too_large"), ("a set", None), ("an object", "unserialisable_result"), ("a little", None)],
)
def test_a_result_that_cannot_be_kept_fails_the_task_at_once(what: str, code: str | None, client: Client, ledger: Path) -> None:
    task = client.end(client.submit("returns", {"ledger": str(ledger), "what": what}))
    assert len(lines(ledger)) == 1
    if code is None:
        assert (task["status"], task["error"]) == ("done", None)
    else:
        assert (task["status"], task["error"]["code"], outcomes(task)) == ("failed", code, ["failed"])


def test_a_retry_by_hand_begins_the_count_anew_and_keeps_the_attempts(client: Client) -> None:
    id = client.submit("always_fails")
    client.end(id)
    answer = client.http.post(f"/tasks/{id}/retry")
    assert (answer.status_code, answer.json()) == (202, {"id": id, "status": "queued"})
    task = client.end(id)
    assert (task["status"], outcomes(task)) == ("failed", ["failed"] * 6)
    assert [attempt["number"] for attempt in task["attempts"]] == [1, 2, 3, 4, 5, 6]


def test_what_is_done_or_unfinished_cannot_be_retried(client: Client, ledger: Path) -> None:
    done = client.submit("returns", {"ledger": str(ledger), "what": "a little"})
    client.end(done)
    later = client.submit("returns", {"ledger": str(ledger), "what": "a little"}, delay=3600)
    for id in (done, later):
        answer = client.http.post(f"/tasks/{id}/retry")
        assert (answer.status_code, answer.json()["type"].rpartition("#")[2]) == (409, "conflict")


def test_a_cancelled_task_runs_when_it_is_retried(client: Client, ledger: Path) -> None:
    id = client.submit("fails_once", {"ledger": str(ledger)}, delay=3600)
    assert client.http.post(f"/tasks/{id}/cancel").status_code == 200
    assert lines(ledger) == []
    for status in ("failed", "done"):
        assert client.http.post(f"/tasks/{id}/retry").status_code == 202
        assert client.end(id)["status"] == status
