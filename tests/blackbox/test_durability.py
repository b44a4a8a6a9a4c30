"""Accepted means kept: flushed before it is said, private, and with a full disk nothing is promised that is not kept."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blackbox.client import Client, until
from tests.blackbox.server import DOLGO, Server
from tests.blackbox.trace import OPTIONS, answers
from tests.faults.disk import SmallDisk, started, url
from tests.missing import need

Serve = Callable[..., Server]

QUICK = ("--drain-timeout", "0")
RESUMED = 5.0  # seconds in which the service goes on once there is room


@pytest.mark.timeout(90)
def test_between_a_request_and_its_202_a_flush_has_finished(tmp_path: Path) -> None:
    need("strace")
    trace = tmp_path / "trace"
    argv = ["strace", *OPTIONS, "-o", str(trace), DOLGO, "serve", "--port", "0", *QUICK]
    with started(argv, tmp_path) as process:

        def submit(number: int) -> None:
            with Client(url(process), timeout=30) as client:
                for _ in range(number):
                    client.submit("long_task", {"seconds": 0})

        submit(20)  # one after the other: each has a flush of its own
        together = [threading.Thread(target=submit, args=(20,)) for _ in range(6)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        with Client(url(process), timeout=30) as client:
            client.batch("long_task", [{"seconds": 0}] * 50)
    found = answers(trace.read_text(errors="replace").splitlines())
    assert found.sent == 20 + 6 * 20 + 1
    assert not found.unsynced, "\n".join(found.unsynced[:5])


def test_its_files_are_for_its_user_alone(serve: Serve, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        server = serve(*QUICK)
    finally:
        os.umask(before)
    with Client(server.url) as client:
        client.end(client.submit("long_task", {"seconds": 0}))
    modes = {path.name: stat.filemode(path.stat().st_mode) for path in tmp_path.glob("dolgo.db*")}
    names = ("dolgo.db", "dolgo.db-wal", "dolgo.db-shm", "dolgo.db-turn-a", "dolgo.db-turn-b")
    assert modes == dict.fromkeys(names, "-rw-------")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path)
    yield disk
    disk.close()


def submit_until_refused(client: Client, acknowledged: list[str]) -> None:
    """Tasks for tomorrow, with payloads large enough to need room, until the store has none."""
    body = {"type": "long_task", "payload": {"seconds": 0, "ballast": "x" * 20_000}, "delay": 86_400}

    def refused() -> bool:
        answer = client.http.post("/tasks", json=body)
        if answer.status_code == 202:
            acknowledged.append(answer.json()["id"])
            return False
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"].endswith("store-unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert "Traceback" not in answer.text
        return True

    until(refused, 20, "the disk is full")


def test_a_full_disk_refuses_keeps_and_goes_on(small: SmallDisk) -> None:
    with Client(url(small.process), timeout=20) as client:
        acknowledged = [client.submit("long_task", {"seconds": 0}) for _ in range(5)]
        running = client.submit("long_task", {"seconds": 1.5})
        client.begun(running)
        small.fill()
        submit_until_refused(client, acknowledged)
        for id in acknowledged:  # reads go on, and what was acknowledged is there
            assert client.http.get(f"/tasks/{id}").status_code == 200
        assert {task["id"] for task in client.every()} >= {*acknowledged, running}
        assert client.http.get("/livez").status_code == 200
        for _ in range(5):  # still: a 503 is not forgotten after the first
            assert client.http.post(
                "/tasks/batch", json={"tasks": [{"type": "long_task", "payload": {"x": "y" * 50_000}}]}
            ).is_error
        before = len(client.every())
        time.sleep(1.0)  # the running task ends meanwhile, and its end finds no room
        assert len(client.every()) == before
        small.make_room()
        last = until(lambda: accepted(client), RESUMED, "it takes up tasks again")
        assert client.end(last)["status"] == "done"
        ended = client.end(running)
        assert (ended["status"], ended["error"]) == ("done", None)
        assert [attempt["outcome"] for attempt in ended["attempts"]] == ["done"]
        assert {task["id"] for task in client.every()} >= {*acknowledged, running, last}
        assert "Traceback" not in small.process.said()


def accepted(client: Client) -> str:
    """The id of a new task, nothing if it is not taken up."""
    answer = client.http.post("/tasks", json={"type": "long_task", "payload": {"seconds": 0}})
    assert answer.status_code in (202, 503), answer.text
    return str(answer.json()["id"]) if answer.status_code == 202 else ""


def test_what_a_full_disk_took_up_is_there_after_a_kill(small: SmallDisk) -> None:
    acknowledged: list[str] = []
    with Client(url(small.process), timeout=20) as client:
        small.fill()
        submit_until_refused(client, acknowledged)
        small.make_room()
        acknowledged.append(until(lambda: accepted(client), RESUMED, "it takes up tasks again"))
        small.fill()
        submit_until_refused(client, acknowledged)
    small.process.kill(children=True)
    small.process.wait()
    small.make_room()
    with Client(url(small.process.start().wait_ready())) as client:
        assert {task["id"] for task in client.every()} >= set(acknowledged)


def test_a_flush_that_fails_is_not_a_202(tmp_path: Path) -> None:
    need("strace")
    fail = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=25..40"]
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", *fail, DOLGO, "serve", "--port", "0", *QUICK]
    acknowledged = []
    with started(argv, tmp_path) as process, Client(url(process), timeout=20) as client:
        seen = set()
        for _ in range(60):
            answer = client.http.post("/tasks", json={"type": "long_task", "payload": {"seconds": 60}, "delay": 86_400})
            seen.add(answer.status_code)
            if answer.status_code == 202:
                acknowledged.append(answer.json()["id"])
        assert seen == {202, 503}, seen
        last = until(lambda: accepted(client), RESUMED, "it takes up tasks again")
        assert {task["id"] for task in client.every()} >= {*acknowledged, last}
        assert re.search("opened anew and is sound", process.said())
