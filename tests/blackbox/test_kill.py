"""`kill -9` of a child, of a worker, of everything: nothing acknowledged is lost, no outcome changes, nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.checker import FINAL, History
from tests.blackbox.client import Client, Prober, outcomes, shown, until, write_type
from tests.blackbox.server import Child, Process, Server, Worker

Serve = Callable[..., Server]

MANY = 200  # tasks that run in one child
ENDED = 30.0  # seconds in which all of them have ended, whatever became of their child
ORPHANS = 2.0  # seconds a child may outlive its worker
RESUMED = 2.0  # seconds after a restart in which what was running runs again
QUICK = ("--drain-timeout", "0")

HANDLERS = """
import asyncio, os, re, subprocess, time
from dolgo import task

@task
async def waits() -> None:
    await asyncio.sleep(60)

@task
async def blocks_the_loop() -> None:
    time.sleep(60)

@task
def blocks() -> None:
    time.sleep(60)

@task
def holds_the_gil() -> None:
    re.match(r"(a+)+b", "a" * 60)  # in C, for longer than anybody waits

@task
async def holds_the_gil_of_the_loop() -> None:
    re.match(r"(a+)+b", "a" * 60)

@task
def starts_a_program() -> None:
    subprocess.run(["sleep", "60"])

@task
async def writes_its_pid(ledger: str) -> None:
    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\\n")
    await asyncio.sleep(60)

@task
def halves(number: int) -> int:
    if number % 7 == 0:
        raise ValueError(f"{number} is unlucky")
    return number // 2
"""


def loop_child(process: Process) -> Child:
    """The child that runs all `async def` handlers."""
    return next(child for child in process.children() if " loop " in child.command)


@pytest.mark.timeout(90)
def test_a_killed_child_costs_none_of_its_200_tasks_anything(serve: Serve) -> None:
    server = serve("--slots", str(MANY), "--max-losses", "1", *QUICK)  # a task that is charged fails at once
    with Client(server.url) as client, Prober(server.url):
        ids = client.batch("long_task", [{"seconds": 1.5}] * MANY)
        until(lambda: client.counts()["in_progress"] == MANY, 10, "all are begun")
        killed = loop_child(server)
        killed.kill()
        tasks = client.all_end(MANY, ENDED)
    assert sorted(task["id"] for task in tasks) == sorted(ids)
    assert Counter(task["status"] for task in tasks) == {"done": MANY}
    assert all(task["error"] is None and task["result"] == {"result": "success"} for task in tasks)
    assert Counter(map(tuple, map(outcomes, tasks))) == {("lost", "done"): MANY}
    assert "was killed by SIGKILL" in server.said()


def test_a_task_that_waits_for_a_slot_notices_nothing_of_a_killed_child(serve: Serve) -> None:
    server = serve("--slots", "2", *QUICK)
    with Client(server.url) as client:
        running = client.batch("long_task", [{"seconds": 1}] * 2)
        waiting = client.submit("long_task", {"seconds": 0.1})
        for id in running:
            client.begun(id)
        loop_child(server).kill()
        assert [outcomes(client.end(id)) for id in running] == [["lost", "done"]] * 2
        ended = client.end(waiting)
        assert (ended["status"], outcomes(ended), ended["attempt"]) == ("done", ["done"], 1)


def test_a_task_alone_in_its_child_is_charged_and_fails_after_the_third(serve: Serve, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    ledger = tmp_path / "pids"
    with Client(serve("--slots", "2", *QUICK).url) as client:
        id = client.submit("writes_its_pid", {"ledger": str(ledger)})
        for number in (1, 2, 3):
            pids = until(lambda number=number: lines if len(lines := read(ledger)) == number else [], 10, "it runs")  # type: ignore[misc]
            os.kill(int(pids[-1]), signal.SIGKILL)
        ended = client.end(id)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_lost")
    assert "SIGKILL" in ended["error"]["message"]
    assert outcomes(ended) == ["lost"] * 3
    assert len(set(read(ledger))) == 3


def read(ledger: Path) -> list[str]:
    """The lines handlers have written so far."""
    return ledger.read_text().splitlines() if ledger.exists() else []


@pytest.mark.parametrize("program", [Server, Worker])
def test_no_child_outlives_the_kill_of_its_worker(program: type[Server] | type[Worker], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    types = ("waits", "blocks", "holds_the_gil", "holds_the_gil", "starts_a_program", "blocks_the_loop")
    with Server(tmp_path, *(("--slots", "0", "--tasks", "tasks") if program is Worker else ("--slots", "9"))).ready() as server:
        process: Process = Worker(tmp_path, "--slots", "9", name="other").ready() if program is Worker else server
        with process, Client(server.url) as client:
            ids = [client.submit(type) for type in types]
            until(lambda: all(client.task(id)["status"] == "in_progress" for id in ids), 10, "all are begun")
            until(lambda: len(process.children()) == 6, 10, "the loop child, four single ones and a program of a handler")
            until(lambda: any(child.command.startswith("sleep") for child in process.children()), 10, "the program runs")
            below = process.children()
            process.kill()
            process.wait()
            deadline = time.monotonic() + ORPHANS
            left = [child.command for child in below if not child.gone(max(0.0, deadline - time.monotonic()))]
            assert not left


def test_a_loop_child_whose_gil_is_held_does_not_outlive_its_worker(serve: Serve, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    server = serve("--slots", "2", *QUICK)
    with Client(server.url) as client:
        client.begun(client.submit("holds_the_gil_of_the_loop"))
    child = loop_child(server)
    server.kill()
    assert child.gone(ORPHANS)


def test_what_ran_when_everything_was_killed_runs_again_at_once(serve: Serve) -> None:
    server = serve("--slots", "1", *QUICK)  # the lease is half a minute, and is not waited for
    with Client(server.url) as client:
        running = client.submit("long_task", {"seconds": 0.5})
        waiting = client.submit("long_task", {"seconds": 0})
        client.begun(running)
        kill_all(server)
        server.start().wait_ready()
        ready = time.monotonic()
        until(lambda: client.task(running)["attempt"] == 2, RESUMED, "what ran runs again")
        assert outcomes(client.end(running)) == ["lost", "done"]
        assert outcomes(client.end(waiting)) == ["done"]
        assert time.monotonic() - ready < RESUMED + 2 * 0.5


def kill_all(server: Server) -> None:
    """Leaves no process of it, and no time to say goodbye."""
    server.kill(children=True)
    server.wait()


class Load:
    """Clients that submit under an Idempotency-Key each, again until they have an answer, and one that looks at what they had."""

    def __init__(self, url: str, history: History, *, seed: int, clients: int = 3) -> None:
        self._url = url
        self._history = history
        self._over = threading.Event()
        self.wrong: list[str] = []
        targets = [(self._submit, seed * 100 + number) for number in range(clients)] + [(self._look, seed)]
        self._threads = [threading.Thread(target=target, args=(chance,)) for target, chance in targets]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self._url, timeout=5.0) as http:
            number = 0
            while not self._over.wait(0.005):
                key, number = f"{seed}-{number}", number + 1
                self._history.attempt(key)
                self._insist(http, key, task_of(chance, key), patient=chance.random() < 0.8)

    def _insist(self, http: httpx.Client, key: str, body: dict[str, Any], *, patient: bool) -> None:
        """An impatient client does not ask again: whether its task was taken up, nobody knows."""
        while not self._over.is_set():
            try:
                answer = http.post("/tasks", json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                if not patient:
                    return
                time.sleep(0.02)
                continue
            if answer.status_code == 202:
                self._history.acknowledge(key, answer.json()["id"])
            else:
                self.wrong.append(f"{key}: {answer.status_code} {answer.text}")
            return

    def _look(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(base_url=self._url, timeout=5.0) as http:
            while not self._over.wait(0.005):
                ids = list(self._history.acknowledged.copy().values())
                if ids:
                    self._show(http, chance.choice(ids))

    def _show(self, http: httpx.Client, id: str) -> None:
        try:
            answer = http.get(f"/tasks/{id}")
        except httpx.HTTPError:
            return
        if answer.status_code == 200:
            self._history.saw(answer.json())
        else:
            self.wrong.append(f"{id}: {answer.status_code} {answer.text}")


def task_of(chance: random.Random, key: str) -> dict[str, Any]:
    """Mostly short, some longer than a server lives."""
    if chance.random() < 0.2:
        return {"type": "halves", "payload": {"number": chance.randrange(100)}, "tags": [key]}
    seconds = chance.choice((0.0, 0.0, 0.02, 0.1, 1.0))
    return {"type": "long_task", "payload": {"seconds": seconds}, "tags": [key]}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1])
def test_everything_is_killed_under_load_again_and_again(seed: int, serve: Serve, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    chance, history = random.Random(seed), History()
    server = serve("--slots", "20", *QUICK)
    load = Load(server.url, history, seed=seed).start()
    try:
        for _ in range(8):
            time.sleep(chance.uniform(0.2, 1.5))  # the moment of the kill is what chance is to choose
            if chance.random() < 0.25:
                chance.choice(server.children()).kill()
            else:
                kill_all(server)
                server.start().wait_ready()
    finally:
        load.stop()
    with Client(server.url) as client:
        until(lambda: not client.counts().keys() - FINAL, ENDED, "all that was taken up ends")
        tasks = client.every(view="full")
    verdict = history.judge(tasks)
    summary = f"{len(history.acknowledged)} acknowledged, {verdict.recovered} more stored, {Counter(t['status'] for t in tasks)}"
    assert not load.wrong, load.wrong[:5]
    assert not verdict.wrong, f"{shown(verdict.wrong)} ({summary})"
    assert len(history.acknowledged) > 200, summary
    right = [task for task in tasks if task["type"] == "long_task"]
    assert {task["status"] for task in right} == {"done"}, summary
