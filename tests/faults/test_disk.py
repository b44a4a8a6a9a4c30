"""While the disk fails, or another program holds the file, nothing is acknowledged that is not kept; then all goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.blackbox.client import Client, outcomes, until
from tests.blackbox.server import Server
from tests.faults.disk import WRITES, FailingDisk, OtherWriter
from tests.missing import need

PATIENCE = 5.0  # seconds a request waits for its turn to write
ANSWERED = PATIENCE + 3.0  # seconds in which a 503 has come: it looks once a second, and a machine may be busy
RECOVERED = 5.0  # seconds
SAID = 12  # log lines about a store that is away: a few at once, and then about one a second


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, "--slots", "2", "--drain-timeout", "0", "--lease", "30").ready() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, timeout=30) as client:
        yield client


def ask(client: Client) -> httpx.Response:
    """The answer to a submit: a 202, or a 503 as it is to be."""
    answer = client.http.post("/tasks", json={"type": "long_task", "payload": {"seconds": 0}})
    if answer.status_code != 202:
        assert answer.status_code == 503, answer.text
        assert answer.json()["type"].endswith("store-unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert "Traceback" not in answer.text
    return answer


def accepted(client: Client) -> str:
    """The id of a new task, nothing if it is not taken up."""
    answer = ask(client)
    return str(answer.json()["id"]) if answer.status_code == 202 else ""


def check_all(client: Client, server: Server, running: str, acknowledged: list[str]) -> None:
    """It goes on without a restart: nothing is lost, and what ended meanwhile is settled under its first lease."""
    acknowledged.append(until(lambda: accepted(client), RECOVERED, "it takes up tasks again"))
    until(lambda: client.http.get("/readyz").status_code == 200, RECOVERED, "it is ready")
    for id in (running, *acknowledged):
        task = client.end(id, 15)
        assert (task["status"], outcomes(task)) == ("done", ["done"])
    assert "Traceback" not in server.said()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("error", "calls"), [("EROFS", WRITES), ("EACCES", (*WRITES, "openat"))])
def test_a_disk_that_becomes_read_only_for_a_while_costs_nothing_that_was_promised(
    error: str, calls: tuple[str, ...], server: Server, client: Client, tmp_path: Path
) -> None:
    need("strace")
    acknowledged = [client.submit("long_task", {"seconds": 0}) for _ in range(5)]
    for id in acknowledged:
        client.end(id)
    running = client.submit("long_task", {"seconds": 1.0})
    client.begun(running)
    with FailingDisk(server, tmp_path, error, calls):
        begun, before = time.monotonic(), server.said().count("\n")
        until(lambda: not accepted(client), ANSWERED, "it refuses")
        assert client.http.get("/readyz").status_code == 503
        assert client.http.get("/livez").status_code == 200
        seen = [ask(client).status_code for _ in range(5)]
        assert seen == [503] * 5  # still: a 503 is not forgotten after the first
        time.sleep(max(0.0, begun + 3.0 - time.monotonic()))  # the running task ends meanwhile
        assert server.said().count("\n") - before < SAID + time.monotonic() - begun, server.said()[-3_000:]
    check_all(client, server, running, acknowledged)


@pytest.mark.parametrize("seconds", [1.0])
def test_a_lock_that_another_program_holds_for_a_moment_is_waited_for(
    seconds: float, server: Server, client: Client, tmp_path: Path
) -> None:
    with OtherWriter(tmp_path / "dolgo.db", seconds).ready():
        assert client.http.post("/tasks?wait=20", json={"type": "long_task", "payload": {"seconds": 0}}).status_code == 200


@pytest.mark.timeout(120)
def test_a_lock_that_another_program_keeps_is_a_503_in_time_and_then_all_goes_on(
    server: Server, client: Client, tmp_path: Path
) -> None:
    running = client.submit("long_task", {"seconds": 1.0})
    client.begun(running)
    acknowledged: list[str] = []
    slowest: list[float] = []

    def submit() -> None:
        with Client(server.url, timeout=30) as own:
            begun = time.monotonic()
            if id := accepted(own):
                acknowledged.append(id)
            slowest.append(time.monotonic() - begun)

    with OtherWriter(tmp_path / "dolgo.db", 60.0).ready() as other:  # it is ended as soon as all have their answers
        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert client.http.get(f"/tasks/{running}").status_code == 200  # reads go on
        assert client.http.get("/livez").status_code == 200
        assert client.http.get("/readyz").status_code == 503
        for thread in threads:
            thread.join()
        assert not acknowledged
        assert max(slowest) < ANSWERED, slowest
        assert other.running, "the lock was let go before the answers came"
    check_all(client, server, running, acknowledged)
