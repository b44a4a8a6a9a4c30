"""What holds tasks back: pauses, limits and rates, over two workers; and which queues a worker takes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, until
from tests.blackbox.server import Server, Worker

QUICK = ("--drain-timeout", "0")
OPTIONS = ("--slots", "0", *QUICK)  # the workers below do the work

HANDLERS = """
import asyncio, os, time
from dolgo import task

async def span(ledger, seconds):
    note(ledger, "begin")
    await asyncio.sleep(seconds)
    note(ledger, "end")

@task
async def spans(ledger: str, seconds: float = 0.03) -> None:
    await span(ledger, seconds)

@task(max_running=2)
async def two_at_once(ledger: str, seconds: float = 0.03) -> None:
    await span(ledger, seconds)

@task(max_running_per_key=1)
def one_at_once_of_a_key(ledger: str, seconds: float = 0.03) -> None:
    note(ledger, "begin")
    time.sleep(seconds)
    note(ledger, "end")

@task(rate=20)
async def is_rated() -> None:
    pass

def note(ledger, word):
    line = f"{time.monotonic()} {word} {os.getpid()}\\n".encode()
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, line)
    os.close(file)
"""


@pytest.fixture(scope="module")
def workers(shared: Server) -> Iterator[list[Worker]]:
    """Two, on the store of the server."""
    with (
        Worker(shared.folder, "--slots", "8", *QUICK, name="one").ready() as one,
        Worker(shared.folder, "--slots", "8", *QUICK, name="two").ready() as two,
    ):
        yield [one, two]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def most_at_once(ledger: Path) -> int:
    """How many of those that wrote into the ledger ran at the same moment."""
    running = most = 0
    for _, word, _ in sorted((float(at), word, pid) for at, word, pid in map(str.split, lines(ledger))):
        running += 1 if word == "begin" else -1
        most = max(most, running)
    assert running == 0
    return most


def moment(after: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() + after, UTC).isoformat()


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def end_all(client: Client, ids: list[str], within: float = 30.0) -> list[dict[str, Any]]:
    return [client.end(id, within) for id in ids]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("limit", [1, 3, 10])  # one worker has 8 slots
def test_no_more_of_a_queue_run_than_may_over_all_workers(limit: int, client: Client, ledger: Path) -> None:
    queue = f"limited-{limit}"
    answer = client.http.patch(f"/queues/{queue}", json={"max_running": limit})
    assert (answer.status_code, answer.json()["max_running"]) == (200, limit)
    tasks = end_all(client, client.batch("spans", [{"ledger": str(ledger), "seconds": 0.02 * limit}] * 40, queue=queue))
    assert Counter(task["status"] for task in tasks) == {"done": 40}
    assert most_at_once(ledger) == limit  # and no less: a limit is used up
    if limit > 8:
        assert len({task["worker"] for task in tasks}) == 2


@pytest.mark.usefixtures("workers")
def test_no_more_of_a_type_run_than_may_whatever_their_queue(client: Client, ledger: Path) -> None:
    ids = [
        id for queue in ("default", "another") for id in client.batch("two_at_once", [{"ledger": str(ledger)}] * 15, queue=queue)
    ]
    end_all(client, ids)
    assert most_at_once(ledger) == 2


@pytest.mark.usefixtures("workers")
def test_no_more_of_a_key_run_than_may_and_other_keys_do_not_wait_for_it(client: Client, tmp_path: Path) -> None:
    assert client.http.patch("/queues/keyed", json={"max_running_per_key": 2}).status_code == 200
    blocked = client.batch("spans", [{"ledger": str(tmp_path / "full"), "seconds": 60}] * 12, queue="keyed", limit_key="full")
    until(lambda: len(lines(tmp_path / "full")) == 2, 5, "the key is used up")
    others = {key: client.batch("spans", [{"ledger": str(tmp_path / key)}] * 8, queue="keyed", limit_key=key) for key in "abc"}
    free = client.batch("spans", [{"ledger": str(tmp_path / "free")}] * 8, queue="keyed")
    for ids in (*others.values(), free):
        assert Counter(task["status"] for task in end_all(client, ids)) == {"done": 8}
    assert len(lines(tmp_path / "full")) == 2
    assert [most_at_once(tmp_path / key) for key in "abc"] == [2, 2, 2]
    assert most_at_once(tmp_path / "free") > 2  # a task without a key is in nobody's way
    client.http.post("/tasks/cancel", params={"queue": "keyed"})
    assert {task["status"] for task in end_all(client, blocked)} == {"cancelled"}


@pytest.mark.usefixtures("workers")
def test_no_more_of_a_key_of_a_type_run_than_may(client: Client, tmp_path: Path) -> None:
    ids = [
        id for key in "abcd" for id in client.batch("one_at_once_of_a_key", [{"ledger": str(tmp_path / key)}] * 6, limit_key=key)
    ]
    end_all(client, ids)
    assert [most_at_once(tmp_path / key) for key in "abcd"] == [1] * 4


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("scope", ["queue", "type"])
def test_no_more_start_in_any_time_than_a_rate_lets(scope: str, client: Client, ledger: Path) -> None:
    rate, burst, number = 20.0, 2, 40
    if scope == "queue":
        assert client.http.patch("/queues/rated", json={"rate": rate}).json()["rate"] == rate
        ids = client.batch("spans", [{"ledger": str(ledger), "seconds": 0}] * number, queue="rated")
    else:
        ids = client.batch("is_rated", [{}] * number)
    starts = sorted(seconds(task["started_at"]) for task in end_all(client, ids))
    for first in range(number):
        for last in range(first, number):
            span = starts[last] - starts[first]
            assert last - first + 1 <= rate * span + burst + 1e-3, f"{last - first + 1} starts in {span:.3f} s"


@pytest.mark.usefixtures("workers")
def test_nothing_of_a_paused_queue_starts_after_the_answer(client: Client, ledger: Path) -> None:
    client.http.patch("/queues/stopped", json={"max_running": 4})  # so that it takes a while
    ids = client.batch("spans", [{"ledger": str(ledger), "seconds": 0.01}] * 600, queue="stopped")
    until(lambda: len(lines(ledger)) > 50, 10, "some have begun")
    answer = client.http.put("/queues/stopped/pause", json={"reason": "the disk is full"})
    answered = time.time()
    assert (answer.status_code, answer.json()["paused"]) == (200, {"reason": "the disk is full", "until": None})
    until(lambda: client.get("/queues/stopped")["counts"]["in_progress"] == 0, 5, "what runs goes on to its end")
    begun = lines(ledger)
    counts = client.get("/queues/stopped")["counts"]
    assert counts["queued"] > 0, "it was too late for a test"
    assert all(seconds(client.task(id)["started_at"] or moment()) <= answered for id in ids[: counts["done"]])
    time.sleep(0.5)  # not to be lucky: something that starts now would be the fault
    assert lines(ledger) == begun
    assert client.http.delete("/queues/stopped/pause").json()["paused"] is None
    assert {task["status"] for task in end_all(client, ids)} == {"done"}
    assert client.http.delete("/queues/stopped/pause").status_code == 200  # again


@pytest.mark.usefixtures("workers")
def test_a_pause_ends_at_its_time(client: Client, ledger: Path) -> None:
    until_ = moment(1.0)
    shown = client.http.put("/queues/until/pause", json={"until": until_}).json()["paused"]
    assert (shown["reason"], seconds(shown["until"])) == (None, pytest.approx(seconds(until_), abs=1e-5))
    task = client.end(client.submit("spans", {"ledger": str(ledger)}, queue="until"))
    assert seconds(task["started_at"]) >= seconds(until_) - 1e-5
    assert client.get("/queues/until")["paused"] is None


@pytest.mark.usefixtures("workers")
def test_pauses_and_limits_outlive_the_server(shared: Server, client: Client) -> None:
    client.http.put("/queues/kept/pause", json={"reason": "for a while"})
    client.http.patch("/queues/kept", json={"max_running": 7, "rate": 3.5, "max_running_per_key": 2})
    client.http.patch("/queues/kept", json={"rate": None})
    before = client.get("/queues/kept")
    shared.kill()
    shared.wait()
    shared.start().wait_ready()
    after = client.get("/queues/kept")
    assert {**after, "workers": 0} == {**before, "workers": 0}
    assert (after["max_running"], after["rate"], after["max_running_per_key"]) == (7, None, 2)
    assert after["paused"]["reason"] == "for a while"


def test_a_worker_takes_the_queues_it_is_told_alone(
    serve: Callable[..., Server], worker: Callable[..., Worker], tmp_path: Path, ledger: Path
) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "handlers.py").write_text(HANDLERS)
    payload = {"ledger": str(ledger)}
    with Client(serve(*OPTIONS).url) as client:
        few = worker("--queues", "a,b", *QUICK)
        until(lambda: client.http.get("/types/spans").status_code == 200, 5, "the types are known")
        other = client.submit("spans", payload, queue="c")
        mine = end_all(client, [client.submit("spans", payload, queue=queue) for queue in "abab"])
        assert {task["status"] for task in mine} == {"done"}
        assert client.task(other)["waiting_for"]["code"] == "no_worker"
        (shown,) = client.get("/workers")["workers"]
        assert (shown["queues"], shown["pid"]) == (["a", "b"], few.pid)
        worker("--queues", "c", *QUICK)
        assert client.end(other)["worker"] != mine[0]["worker"]
    assert os.getpid() not in {int(line.split()[2]) for line in lines(ledger)}
