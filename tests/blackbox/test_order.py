"""Which task comes next, from when on and until when; why one does not run; and when it goes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, outcomes, until
from tests.blackbox.server import DOLGO, Server

OPTIONS = ("--slots", "1", "--drain-timeout", "0", "--ageing", "10", "--queues", "default,held,limited,rated")

HANDLERS = """
import asyncio
from dolgo import task

@task
async def notes(ledger: str, name: str) -> None:
    with open(ledger, "a") as file:
        file.write(f"{name}\\n")

@task(keep=0)
async def is_not_kept() -> None:
    pass

@task
async def waits(seconds: float = 60) -> None:
    await asyncio.sleep(seconds)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def held(client: Client) -> Iterator[Callable[..., str]]:
    """`held("a", priority=9)` submits a task to a queue that is paused; the queue is open again afterwards."""
    assert client.http.put("/queues/held/pause").status_code == 200
    yield lambda ledger, name, **options: client.submit("notes", {"ledger": str(ledger), "name": name}, queue="held", **options)
    client.http.delete("/queues/held/pause")


def ago(seconds: float) -> str:
    """A time so long before now."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - seconds, UTC).isoformat()


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def test_higher_priority_comes_first_and_within_one_who_came_first(
    held: Callable[..., str], client: Client, ledger: Path
) -> None:
    order = [5, 0, 9, 3, 9, 5, 0, 7]
    ids = [held(ledger, f"{priority}-{number}", priority=priority) for number, priority in enumerate(order)]
    client.http.delete("/queues/held/pause")
    for id in ids:
        client.end(id)
    assert lines(ledger) == [
        f"{priority}-{number}" for number, priority in sorted(enumerate(order), key=lambda it: (-it[1], it[0]))
    ]


def test_a_low_one_that_is_old_enough_comes_before_a_high_one(held: Callable[..., str], client: Client, ledger: Path) -> None:
    ids = [
        held(ledger, "high", priority=9),
        held(ledger, "low and old", priority=0, run_at=ago(120)),  # 9 levels of 10 s are less
        held(ledger, "low and not so old", priority=0, run_at=ago(60)),
    ]
    client.http.delete("/queues/held/pause")
    for id in ids:
        client.end(id)
    assert lines(ledger) == ["low and old", "high", "low and not so old"]


@pytest.mark.parametrize("how", ["delay", "run_at"])
def test_a_task_does_not_begin_before_its_time(how: str, client: Client, ledger: Path) -> None:
    later = {"delay": 2.0} if how == "delay" else {"run_at": ago(-2.0)}
    id = client.submit("notes", {"ledger": str(ledger), "name": "later"}, **later)
    assert client.end(client.submit("notes", {"ledger": str(ledger), "name": "now"}))["status"] == "done"
    assert lines(ledger) == ["now"]
    task = client.end(id)
    assert seconds(task["started_at"]) >= seconds(task["run_at"])
    assert seconds(task["run_at"]) - seconds(task["created_at"]) > 0.5
    assert lines(ledger) == ["now", "later"]


def test_a_task_that_has_not_begun_in_time_is_cancelled_with_its_dependents(client: Client) -> None:
    id = client.submit("waits", delay=3600, expires_at=ago(-0.3))
    dependent = client.submit("waits", depends_on=[id])
    waiting = client.submit("waits", depends_on=[client.submit("waits", delay=3600)], expires_at=ago(-0.3))
    for expired in (id, waiting):
        task = client.end(expired)
        assert (task["status"], task["error"]["code"], task["attempts"]) == ("cancelled", "expired", [])
        assert seconds(task["finished_at"]) >= seconds(task["expires_at"])
    assert client.end(dependent)["error"]["code"] == "dependency_failed"


def test_the_time_to_begin_does_not_bind_what_has_begun(client: Client) -> None:
    id = client.submit("waits", {"seconds": 3.5}, expires_at=ago(-2.5))
    client.begun(id)
    task = client.end(id)
    assert (task["status"], seconds(task["finished_at"]) > seconds(task["expires_at"])) == ("done", True)


# -- why it is not running


def reason(client: Client, id: str, code: str) -> str:
    """The sentence, once the code is this one."""
    found: dict[str, Any] = until(
        lambda: task["waiting_for"] if ((task := client.task(id))["waiting_for"] or {}).get("code") == code else {}, 5, code
    )
    assert set(found) == {"code", "text"}
    assert found["text"].endswith(".")
    return str(found["text"])


def test_it_says_that_it_is_scheduled_and_when(client: Client) -> None:
    id = client.submit("waits", run_at="2999-01-02T03:04:05Z")
    assert "2999-01-02T03:04:05Z" in reason(client, id, "scheduled")


def test_it_says_which_tasks_it_waits_for(client: Client) -> None:
    parents = [client.submit("waits", delay=3600) for _ in range(2)]
    text = reason(client, client.submit("waits", depends_on=parents), "parents")
    assert all(parent in text for parent in parents)


def test_it_says_that_its_queue_is_paused(held: Callable[..., str], client: Client, ledger: Path) -> None:
    id = held(ledger, "held")
    assert "held" in reason(client, id, "queue_paused")
    client.http.delete("/queues/held/pause")
    assert client.end(id)["waiting_for"] is None


def test_it_says_that_no_worker_takes_its_queue(client: Client) -> None:
    assert "nobody" in reason(client, client.submit("waits", queue="nobody"), "no_worker")


def test_it_says_that_no_worker_runs_its_type(serve: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "handlers.py").write_text(HANDLERS)
    with Client(serve("--slots", "0", "--tasks", "tasks").url) as client:
        reason(client, client.submit("waits"), "no_worker")


def test_it_says_that_others_come_first_or_that_a_limit_is_reached(client: Client) -> None:
    assert client.http.patch("/queues/limited", json={"max_running": 1}).status_code == 200
    running = client.submit("waits", queue="limited")
    client.begun(running)
    try:
        assert "limited" in reason(client, client.submit("waits", queue="limited", delay=0, tags=["x"]), "limit")
        first, second = (client.submit("waits", {"seconds": 0}) for _ in range(2))
        reason(client, first, "behind")
        until(lambda: "1 other" in (client.task(second)["waiting_for"] or {}).get("text", ""), 5, "the first is before it")
        assert client.task(running)["waiting_for"] is None
    finally:
        assert client.http.post("/tasks/cancel", params={"queue": "limited"}).status_code == 200
    assert outcomes(client.end(second)) == ["done"]


def test_it_says_that_a_rate_is_reached(client: Client) -> None:
    assert client.http.patch("/queues/rated", json={"rate": 0.01}).status_code == 200
    first, second = (client.submit("waits", {"seconds": 0}, queue="rated") for _ in range(2))
    client.end(first)
    assert "rated" in reason(client, second, "rate")
    client.http.patch("/queues/rated", json={"rate": None})
    assert client.end(second)["status"] == "done"


# -- how long it is kept


def prune(server: Server, *options: str) -> str:
    done = subprocess.run([DOLGO, "prune", *options], cwd=server.folder, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout + done.stderr


def test_a_task_goes_when_it_was_kept_as_long_as_it_said(shared: Server, client: Client) -> None:
    short = client.submit("waits", {"seconds": 0}, keep=0)
    by_type, kept_after_all = client.submit("is_not_kept"), client.submit("is_not_kept", keep=3600)
    long = client.submit("waits", {"seconds": 0}, keep=3600)
    needed = client.submit("waits", {"seconds": 0}, keep=0)
    client.submit("waits", delay=3600, depends_on=[needed])
    for id in (long, needed, kept_after_all):
        client.end(id)
    for id in (short, by_type):
        until(lambda id=id: prune(shared) and client.http.get(f"/tasks/{id}").status_code == 404, 15, "it goes")  # type: ignore[misc]
    prune(shared, "--keep", "0")
    assert client.task(needed)["status"] == "done"  # an unfinished one depends on it
    assert [client.task(id)["status"] for id in (long, kept_after_all)] == ["done", "done"]  # they said an hour
