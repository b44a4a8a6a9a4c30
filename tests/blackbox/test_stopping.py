"""Timeouts and cancels stop the work, wherever it runs: what ran is gone, and the next task runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, outcomes, until
from tests.blackbox.server import Child, Server

OPTIONS = ("--slots", "3", "--drain-timeout", "0", "--grace", "0.4", "--max-losses", "1")  # who is charged fails at once

HANDLERS = """
import asyncio, os, signal, subprocess, time
from dolgo import SyncContext, task

@task
async def waits(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    try:
        await asyncio.sleep(60)
    finally:
        note(ledger, "cleaned up")

@task
async def is_deaf(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

@task
async def blocks_the_loop(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    time.sleep(60)

@task
def waits_alone(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    try:
        time.sleep(60)
    finally:
        note(ledger, "cleaned up")

@task
def is_deaf_alone(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

@task
def ignores_signals(ledger: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(ledger, "began", os.getpid())
    while True:
        time.sleep(60)

@task
def runs_a_program(ledger: str) -> None:
    program = subprocess.Popen(["sleep", "60"])
    note(ledger, "program", program.pid)
    note(ledger, "began", os.getpid())
    program.wait()

@task(isolation="process")
async def waits_in_a_process(ledger: str) -> None:
    note(ledger, "began", os.getpid())
    try:
        await asyncio.sleep(60)
    finally:
        note(ledger, "cleaned up")

@task(isolation="thread")
def listens_in_a_thread(ledger: str, ctx: SyncContext) -> str:
    note(ledger, "began", os.getpid())
    while not ctx.cancelled:
        time.sleep(0.01)
    note(ledger, "cleaned up")
    raise asyncio.CancelledError

@task(isolation="thread")
def returns_in_a_thread(ledger: str, ctx: SyncContext) -> str:
    note(ledger, "began", os.getpid())
    while not ctx.cancelled:
        time.sleep(0.01)
    return "so far"

@task(isolation="thread")
def is_deaf_in_a_thread(ledger: str) -> str:
    note(ledger, "began", os.getpid())
    time.sleep(60)

@task
async def quick() -> int:
    return os.getpid()

@task
def quick_alone() -> int:
    return os.getpid()

@task(isolation="thread")
def quick_in_a_thread() -> int:
    return os.getpid()

def note(ledger, *words):
    with open(ledger, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
"""

LISTENS = ("waits", "waits_alone", "waits_in_a_process", "listens_in_a_thread")
OWN_PROCESS = ("waits_alone", "is_deaf_alone", "ignores_signals", "runs_a_program", "waits_in_a_process")
RECYCLED = ("is_deaf", "blocks_the_loop", "is_deaf_in_a_thread")  # the loop child goes with them
ALL = tuple(dict.fromkeys((*LISTENS, *OWN_PROCESS, *RECYCLED)))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def processes(ledger: Path, server: Server) -> dict[str, Child]:
    """What began, by the word it was noted with."""
    noted = {words[0]: int(words[1]) for line in lines(ledger) if len(words := line.split()) == 2 and words[1].isdigit()}
    below = {child.pid: child for child in server.children()}
    return {word: below[pid] for word, pid in noted.items() if pid in below}


def began(ledger: Path, server: Server) -> dict[str, Child]:
    return until(lambda: found if "began" in (found := processes(ledger, server)) else {}, 10, "the handler begins")


def check_stopped(type: str, ledger: Path, ran: dict[str, Child], server: Server, client: Client) -> None:
    """Nothing of it goes on, and there is room for others."""
    if type in LISTENS:
        until(lambda: "cleaned up" in lines(ledger), 5, "its finally block runs")
    if type in OWN_PROCESS + RECYCLED:
        assert [child.command for child in ran.values() if not child.gone(10)] == []
    quick = [client.submit(next_) for next_ in ("quick", "quick_alone", "quick_in_a_thread")]
    assert [client.end(id)["status"] for id in quick] == ["done"] * 3
    assert os.getpid() not in {client.task(id)["result"] for id in quick}
    assert server.running


@pytest.mark.parametrize("type", ALL)
def test_an_attempt_that_takes_too_long_is_stopped(type: str, shared: Server, client: Client, ledger: Path) -> None:
    id = client.submit(type, {"ledger": str(ledger)}, timeout=1.5)
    ran = began(ledger, shared)
    task = client.end(id)
    assert (task["status"], task["error"]["code"], outcomes(task)) == ("failed", "timeout", ["timeout"])
    assert "1.5 s" in task["error"]["message"]
    check_stopped(type, ledger, ran, shared, client)
    assert client.task(id) == task


@pytest.mark.parametrize("type", ALL)
def test_a_cancel_stops_what_runs(type: str, shared: Server, client: Client, ledger: Path) -> None:
    id = client.submit(type, {"ledger": str(ledger)}, retries=5)
    ran = began(ledger, shared)
    answer = client.http.post(f"/tasks/{id}/cancel")
    assert (answer.status_code, answer.json()) == (202, {"id": id, "status": "in_progress"})
    task = client.end(id)
    assert (task["status"], task["error"]["code"], outcomes(task)) == ("cancelled", "cancelled", ["cancelled"])
    check_stopped(type, ledger, ran, shared, client)
    assert client.task(id) == task
    assert client.http.post(f"/tasks/{id}/cancel").json() == {"id": id, "status": "cancelled"}


@pytest.mark.parametrize("type", ["waits", "waits_alone", "listens_in_a_thread"])
def test_a_timeout_is_a_failure_that_is_tried_again(type: str, client: Client, ledger: Path) -> None:
    task = client.end(client.submit(type, {"ledger": str(ledger)}, timeout=0.2, retries=1))
    assert (task["status"], outcomes(task)) == ("failed", ["timeout", "timeout"])
    assert [attempt["error"]["code"] for attempt in task["attempts"]] == ["timeout", "timeout"]
    assert lines(ledger).count("cleaned up") == 2


@pytest.mark.parametrize("type", RECYCLED)
def test_those_that_ran_beside_it_are_charged_nothing(type: str, shared: Server, client: Client, ledger: Path) -> None:
    beside = client.submit("long_task", {"seconds": 3})
    client.begun(beside)
    stopped = client.submit(type, {"ledger": str(ledger)}, timeout=0.3)
    assert client.end(stopped)["error"]["code"] == "timeout"
    task: dict[str, Any] = client.end(beside, within=15)
    assert task["status"] == "done"
    assert outcomes(task) in (["done"], ["lost", "done"])


def test_what_a_thread_returns_after_it_was_told_to_stop_is_no_result(shared: Server, client: Client, ledger: Path) -> None:
    id = client.submit("returns_in_a_thread", {"ledger": str(ledger)})
    began(ledger, shared)
    client.http.post(f"/tasks/{id}/cancel")
    assert client.end(id)["status"] == "cancelled"
    id = client.submit("returns_in_a_thread", {"ledger": str(ledger)}, timeout=0.3)
    assert client.end(id)["error"]["code"] == "timeout"


def test_a_cancel_of_what_has_not_begun_holds(client: Client, ledger: Path) -> None:
    id = client.submit("waits", {"ledger": str(ledger)}, delay=1.0)
    assert client.http.post(f"/tasks/{id}/cancel").json() == {"id": id, "status": "cancelled"}
    again = client.submit("quick", delay=1.3)  # due later than the cancelled one
    client.end(again)
    assert (lines(ledger), client.task(id)["status"], client.task(id)["attempts"]) == ([], "cancelled", [])


def test_a_cancel_between_two_attempts_holds(client: Client, ledger: Path) -> None:
    id = client.submit("waits", {"ledger": str(ledger)}, timeout=0.1, retries=1000)
    until(lambda: "timeout" in outcomes(client.task(id)), 5, "an attempt has ended")
    client.http.post(f"/tasks/{id}/cancel")
    task = client.end(id)
    assert (task["status"], task["error"]["code"]) == ("cancelled", "cancelled")
    client.end(client.submit("quick", delay=0.5))
    assert client.task(id) == task
