"""`dolgo worker` as a service: drained over HTTP, watched by its health port, patient with its store, honest at its start."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.client import Client, until, write_type
from tests.blackbox.server import Process, Server, Worker

Serve = Callable[..., Server]
Work = Callable[..., Worker]

SHORT_LEASE = ("--lease", "1.5")  # a heartbeat every half second
SOON = 10.0  # seconds: some heartbeats, on a machine that is busy
HELD = 3.0  # seconds that a task takes at least which a drain has to wait for

HANDLERS = """
import asyncio, os, time
from dolgo import task

@task
async def until_there(file: str, mark: str) -> str:
    open(mark, "w").close()
    while not os.path.exists(file):
        await asyncio.sleep(0.02)
    return "there"

@task
def blocks(seconds: float, mark: str) -> str:
    open(mark, "w").close()
    time.sleep(seconds)
    return "slept"
"""

# `dolgo` with a store of its own kind. It is not there before the file `up` is, and answers no claim while there is `stuck`.
ODD = """
import asyncio, os, sys
from dolgo import cli, main
from dolgo.errors import StoreUnavailable
from dolgo.store.sqlite import SqliteStore
from dolgo.task import health

class Odd(SqliteStore):
    async def open(self):
        if not os.path.exists("up"):
            raise StoreUnavailable("Connection refused.")
        await super().open()

    async def claim(self, claim, **more):
        if os.path.exists("stuck"):
            await asyncio.Event().wait()
        return await super().claim(claim, **more)

main.open_store = lambda url: Odd("dolgo.db")
main.STORE_PATIENCE = float(os.environ.get("PATIENCE", main.STORE_PATIENCE))
main.SAY_EVERY = 0.3
health.LONGEST_TURN = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""


class Odd(Process):
    """`dolgo` before a store that comes and goes."""

    def __init__(self, folder: Path, *arguments: str, ready: str, **environ: str) -> None:
        (folder / "odd.py").write_text(ODD)
        super().__init__([sys.executable, "odd.py", *arguments], folder, ready=ready, name="odd", environ=environ)


def probe(url: str, path: str) -> tuple[int, dict[str, str]]:
    """The status of a probe and what it has looked at."""
    answer = httpx.get(f"{url}{path}", timeout=SOON)
    return answer.status_code, answer.json()["checks"]


def health(process: Process) -> str:
    """Where its health port is, once it has said so."""
    return until(lambda: re.search(r"health on (http://\S+)", process.said()), 30, "it says where its health port is")[1]  # type: ignore[index]


def worker_of(client: Client, process: Process) -> dict[str, Any]:
    """How a process is shown among the workers; nothing once it is gone."""
    return next((shown for shown in client.get("/workers")["workers"] if shown["pid"] == process.pid), {})


def begin(client: Client, folder: Path) -> tuple[str, Path]:
    """A task that runs until a file is there."""
    mark, file = folder / f"mark-{time.monotonic_ns()}", folder / f"file-{time.monotonic_ns()}"
    id = client.submit("until_there", {"file": str(file), "mark": str(mark)})
    until(mark.exists, SOON, "it has begun")
    return id, file


# -- workers are shown, and drained


def test_workers_are_shown_as_they_are(serve: Serve, worker: Work, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    with Client(serve("--slots", "0").url) as client:
        alone = worker("--slots", "3", "--queues", "default,other")
        id, file = begin(client, tmp_path)
        shown = worker_of(client, alone)
        assert list(shown) == [
            "id", "host", "pid", "version", "state", "queues", "types", "slots", "running", "heartbeat_age", "started_at",
        ]  # fmt: skip
        assert (shown["state"], shown["queues"], shown["slots"], shown["running"]) == ("running", ["default", "other"], 3, [id])
        assert {"until_there", "blocks", "long_task"} <= set(shown["types"])
        assert 0.0 <= shown["heartbeat_age"] < 15.0
        assert client.task(id)["worker"] == shown["id"]
        file.touch()
        client.end(id)
        until(lambda: worker_of(client, alone)["running"] == [], SOON, "it holds nothing")


def test_a_worker_elsewhere_drains_and_exits_when_its_tasks_have_ended(serve: Serve, worker: Work, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    with Client(serve("--slots", "0").url) as client:
        alone = worker("--health-port", "0")
        id, file = begin(client, tmp_path)
        path = f"/workers/{worker_of(client, alone)['id']}/drain"
        answers = [client.http.post(path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert [answer.json()["state"] for answer in answers] == ["draining", "draining"]
        until(lambda: probe(health(alone), "/readyz")[0] == 503, SOON, "it is not ready")
        assert probe(health(alone), "/livez")[0] == 200
        waits = client.submit("until_there", {"file": str(file), "mark": str(tmp_path / "never")})
        assert client.task(id)["status"] == "in_progress"
        assert client.task(waits)["waiting_for"]["code"] == "no_worker"
        file.touch()
        assert client.end(id)["result"] == "there"
        assert alone.wait() == 0
        assert worker_of(client, alone) == {}
        assert client.http.post(path).status_code == 404
        assert client.get(f"/tasks/{waits}")["status"] == "queued"
        assert "Traceback" not in alone.said()


def test_what_outlasts_the_time_to_drain_is_given_back_and_run_by_another(serve: Serve, worker: Work, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    with Client(serve("--slots", "0").url) as client:
        old = worker("--drain-timeout", "0.5")
        marks = [tmp_path / "a", tmp_path / "b"]
        ids = [
            client.submit("blocks", {"seconds": HELD, "mark": str(marks[0])}),
            client.submit("long_task", {"seconds": HELD}),
        ]
        client.begun(ids[1])
        until(marks[0].exists, SOON, "it has begun")
        client.http.post(f"/workers/{worker_of(client, old)['id']}/drain")
        worker()
        assert old.wait() == 0
        for id in ids:
            task = client.end(id, within=30)
            assert (task["status"], [attempt["outcome"] for attempt in task["attempts"]]) == ("done", ["given_back", "done"])


def test_an_idle_worker_drains_with_its_next_heartbeat(serve: Serve, worker: Work) -> None:
    with Client(serve("--slots", "0").url) as client:
        alone = worker(*SHORT_LEASE)
        client.http.post(f"/workers/{worker_of(client, alone)['id']}/drain")
        assert alone.wait(SOON) == 0


def test_the_worker_of_a_server_drains_and_the_web_goes_on(serve: Serve, worker: Work, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    server = serve("--slots", "2")
    with Client(server.url) as client:
        id, file = begin(client, tmp_path)
        client.http.post(f"/workers/{worker_of(client, server)['id']}/drain")
        assert worker_of(client, server)["state"] == "draining"
        file.touch()
        assert client.end(id)["status"] == "done"
        until(lambda: worker_of(client, server)["state"] == "drained", SOON, "it has drained")
        assert client.get("/readyz")["checks"]["claims"].startswith("ok: ")
        assert "claims" not in client.get("/livez")["checks"]
        waits = client.submit("long_task", {"seconds": 0})
        assert client.task(waits)["waiting_for"]["code"] == "no_worker"
        worker()
        assert client.end(waits)["worker"] != client.task(id)["worker"]
        server.kill(signal.SIGTERM)
        assert server.wait() == 0


def test_a_signal_while_a_worker_drains_cuts_nothing_short_and_a_second_one_does(
    serve: Serve, worker: Work, tmp_path: Path
) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    with Client(serve("--slots", "0").url) as client:
        alone = worker()
        id, file = begin(client, tmp_path)
        client.http.post(f"/workers/{worker_of(client, alone)['id']}/drain")
        until(lambda: "wants this worker to drain" in alone.said(), SOON, "it has heard")
        alone.kill(signal.SIGTERM)
        time.sleep(0.5)
        assert alone.running
        file.touch()
        assert client.end(id)["status"] == "done"
        assert alone.wait() == 0
        other = worker()
        begin(client, tmp_path)
        client.http.post(f"/workers/{worker_of(client, other)['id']}/drain")
        for _ in range(2):
            other.kill(signal.SIGTERM)
            time.sleep(0.1)
        assert other.wait(SOON) == 1


# -- the health port


def test_a_worker_answers_its_probes_and_nothing_else(worker: Work) -> None:
    alone = worker("--health-port", "0")
    url = health(alone)
    assert probe(url, "/livez") == (200, {"loop": "ok", "claims": "ok"})
    assert probe(url, "/readyz") == (200, {"store": "ok", "claims": "ok"})
    assert probe(url, "/healthz") == (200, {"loop": "ok", "claims": "ok", "store": "ok"})
    assert httpx.get(f"{url}/tasks").status_code == 404
    assert httpx.get(f"{url}/livez", headers={"Host": "elsewhere.example"}).status_code == 403
    alone.kill(signal.SIGTERM)
    assert alone.wait() == 0


def test_a_claim_loop_that_stands_still_is_found_dead(tmp_path: Path, processes: list[Process]) -> None:
    (tmp_path / "up").touch()
    stuck = Odd(tmp_path, "worker", "--lease", "0.5", "--health-port", "0", ready=r"worker \S+ ready")
    processes.append(stuck)
    url = health(stuck.ready())
    time.sleep(2.0)  # it is idle for longer than three leases
    assert probe(url, "/livez")[0] == 200
    (tmp_path / "stuck").touch()
    status, checks = until(lambda: found if (found := probe(url, "/livez"))[0] == 503 else (), SOON, "it is found dead")
    assert re.fullmatch(r"the claim loop has not come round for \d+ s", checks["claims"])
    assert status == 503
    assert stuck.running
    assert probe(url, "/healthz")[0] == 503


# -- a store that is not there yet


def test_a_worker_waits_for_its_store_and_says_so(tmp_path: Path, processes: list[Process]) -> None:
    early = Odd(
        tmp_path, "worker", "--health-port", "0", "--store", "redis://user:secret@host/0", ready=r"worker \S+ ready"
    ).start()
    processes.append(early)
    url = health(early)
    until(lambda: early.said().count("waiting for the store") >= 3, SOON, "it says that it waits")
    assert "dolgo: waiting for the store, for 30 s at most: redis://user:***@host/0: Connection refused." in early.said()
    assert "secret" not in early.said()
    assert probe(url, "/livez") == (200, {"loop": "ok"})
    assert probe(url, "/readyz") == (503, {"start": "the service is starting"})
    (tmp_path / "up").touch()
    early.wait_ready()
    assert probe(url, "/readyz")[0] == 200


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_store_that_never_comes_ends_the_start(command: str, tmp_path: Path, processes: list[Process]) -> None:
    port = [] if command == "worker" else ["--port", "0"]
    late = Odd(tmp_path, command, *port, ready="never", PATIENCE="1").start()
    processes.append(late)
    assert late.wait(30) == 1
    assert "The store was not there within 1 s: sqlite:///dolgo.db: Connection refused." in late.said().splitlines()[-1]
    assert "Traceback" not in late.said()


def test_a_signal_ends_the_wait_for_a_store(tmp_path: Path, processes: list[Process]) -> None:
    early = Odd(tmp_path, "worker", ready="never").start()
    processes.append(early)
    until(lambda: "waiting for the store" in early.said(), 30, "it waits")
    early.kill(signal.SIGTERM)
    assert early.wait(5) == 0
    assert "Traceback" not in early.said()


# -- a worker without work


def test_a_worker_that_has_nothing_to_do_says_so_and_goes_on(worker: Work, serve: Serve) -> None:
    alone = worker("--queues", "default,mial")
    said = [line for line in alone.said().splitlines() if "warning" in line]
    assert len(said) == 2
    assert "No task types of your own were found in ./tasks" in said[0]
    assert "serves the queue 'mial', which no task, task type or limit uses" in said[1]
    with Client(serve("--slots", "0").url) as client:
        assert client.end(client.submit("long_task", {"seconds": 0}, queue="mial"))["status"] == "done"
        assert worker_of(client, alone)["queues"] == ["default", "mial"]


def test_a_worker_that_has_something_to_do_says_nothing(worker: Work, tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    assert "warning" not in worker("--queues", "default").said()
    assert os.path.exists(tmp_path / "dolgo.db")
