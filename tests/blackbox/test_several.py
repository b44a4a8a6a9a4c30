"""Several processes on one SQLite file: they share the work, see each other's tasks, and none can undo another's."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.blackbox.client import Client, outcomes, until, write_type
from tests.blackbox.server import Process, Server, Worker

Serve = Callable[..., Server]
Work = Callable[..., Worker]

QUICK = ("--drain-timeout", "0")
HEARD = 0.2  # seconds in which another process's commit is heard of
LEASE = 1.5  # seconds
TAKEN_OVER = LEASE + 5.0  # seconds in which a lease that is not renewed is at an end for sure

HANDLERS = """
import asyncio, os, time
from dolgo import task

@task
async def notes(ledger: str, number: int, seconds: float = 0) -> int:
    _note(ledger, number)
    await asyncio.sleep(seconds)
    return os.getpid()

@task
def notes_alone(ledger: str, number: int, seconds: float = 0) -> int:
    _note(ledger, number)
    time.sleep(seconds)
    return os.getpid()

def _note(ledger, number):
    with open(ledger, "a") as file:
        file.write(f"{number} {os.getpid()}\\n")
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where handlers write that they began, a line each."""
    write_type(tmp_path, "handlers", HANDLERS)
    return tmp_path / "ledger"


def runs(ledger: Path) -> Counter[int]:
    """How often each task has begun."""
    return Counter(int(line.split()[0]) for line in ledger.read_text().splitlines()) if ledger.exists() else Counter()


def test_a_worker_runs_what_a_server_without_slots_takes_up(serve: Serve, worker: Work, ledger: Path) -> None:
    with Client(serve("--slots", "0", *QUICK).url) as client:
        assert "unknown-type" in client.http.post("/tasks", json={"type": "notes"}).json()["type"]  # nobody has announced any
        alone = worker("--slots", "2", *QUICK)
        until(lambda: client.http.get("/types/notes").status_code == 200, 2, "the worker's types are known")
        answer = client.http.post("/tasks?wait=10", json={"type": "notes", "payload": {"ledger": str(ledger), "number": 1}})
        assert answer.status_code == 200
        assert answer.json()["result"] in {child.pid for child in alone.children()}
        (shown,) = client.get("/workers")["workers"]
        assert (shown["pid"], shown["slots"]) == (alone.pid, 2)


def test_a_server_without_slots_announces_what_it_is_told_to(serve: Serve, ledger: Path) -> None:
    with Client(serve("--slots", "0", "--tasks", "tasks", *QUICK).url) as client:
        id = client.submit("notes", {"ledger": str(ledger), "number": 1})
        assert client.get(f"/tasks/{id}", wait=0.1) == {"id": id, "status": "queued"}
        assert client.get("/types/notes")["workers"] == 0


def test_two_servers_share_the_work_and_each_task_runs_once(serve: Serve, ledger: Path) -> None:
    servers = [serve("--slots", "2", *QUICK) for _ in range(2)]
    clients = [Client(server.url) for server in servers]
    number = 120
    ids = []
    for half, client in enumerate(clients):
        payloads = [{"ledger": str(ledger), "number": half * number + n, "seconds": 0.02} for n in range(number)]
        ids += client.batch("notes", payloads[::2]) + client.batch("notes_alone", payloads[1::2])
    tasks = clients[0].all_end(2 * number, 30)
    assert sorted(task["id"] for task in tasks) == sorted(ids)
    assert {(task["status"], task["attempt"]) for task in tasks} == {("done", 1)}
    assert runs(ledger) == Counter(range(2 * number))
    share = Counter(task["worker"] for task in tasks)
    assert len(share) == 2, share
    assert min(share.values()) > number / 4, share
    assert clients[1].every(view="full") == tasks
    for client in clients:
        client.http.close()


def test_a_wait_hears_of_an_end_in_another_process_at_once(serve: Serve, worker: Work, ledger: Path) -> None:
    first, second = serve("--slots", "0", *QUICK), serve("--slots", "0", *QUICK)
    worker("--slots", "2", *QUICK)
    with Client(first.url) as here, Client(second.url) as there:
        late = []
        for _ in range(5):
            id = here.submit("long_task", {"seconds": 0.3})
            ended = there.end(id)  # waits there for what was submitted here and runs elsewhere
            late.append(time.time() - moment(ended["finished_at"]))
        assert sorted(late)[2] < HEARD, late  # the one in the middle: one alone may meet a busy machine
        began = []
        for _ in range(5):
            before = time.time()
            ended = there.end(here.submit("long_task", {"seconds": 0}))
            began.append(moment(ended["started_at"]) - before)
        assert sorted(began)[2] < HEARD, began


def moment(text: str) -> float:
    """A time of an answer as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def test_a_cancel_reaches_the_process_that_runs_the_task(serve: Serve, worker: Work) -> None:
    server = serve("--slots", "0", *QUICK)
    worker("--slots", "2", *QUICK)
    with Client(server.url) as client:
        id = client.submit("long_task", {"seconds": 60})
        client.begun(id)
        assert client.http.post(f"/tasks/{id}/cancel").status_code == 202
        ended = client.end(id, within=2)
        assert (ended["status"], ended["error"]["code"]) == ("cancelled", "cancelled")


def stop(process: Process) -> None:
    """Freeze it with all its children."""
    process.kill(signal.SIGSTOP, children=True)


def go_on(process: Process) -> None:
    process.kill(signal.SIGCONT, children=True)


@pytest.mark.parametrize("whole", [True, False], ids=["frozen with its children", "frozen alone"])
@pytest.mark.parametrize("type", ["notes", "notes_alone"])
def test_a_worker_that_froze_and_came_back_changes_nothing(
    whole: bool, type: str, serve: Serve, worker: Work, ledger: Path
) -> None:
    with Client(serve("--slots", "0", "--lease", str(LEASE), *QUICK).url) as client:
        frozen = worker("--slots", "1", "--lease", str(LEASE), *QUICK)
        id = client.submit(type, {"ledger": str(ledger), "number": 1, "seconds": 1})
        until(lambda: runs(ledger)[1] == 1, 10, "it runs")
        stop(frozen) if whole else frozen.kill(signal.SIGSTOP)
        other = worker("--slots", "1", "--lease", str(LEASE), *QUICK)
        until(lambda: runs(ledger)[1] == 2, TAKEN_OVER, "another worker takes it over")
        assert other.came_ready is not None
        assert client.task(id)["worker"] == other.came_ready[1]
        ended = client.end(id)
        assert ended["result"] in {child.pid for child in other.children()}
        assert outcomes(ended) == ["lost", "done"]
        before = client.http.get(f"/tasks/{id}?view=full").content
        go_on(frozen)
        again = client.submit(type, {"ledger": str(ledger), "number": 2})
        assert client.end(again)["status"] == "done"
        until(lambda: heartbeat(client, frozen) < LEASE, 10, "the one that froze is at work again")
        assert client.http.get(f"/tasks/{id}?view=full").content == before
        assert runs(ledger) == {1: 2, 2: 1}


def heartbeat(client: Client, process: Worker) -> float:
    """Seconds since this worker was last heard of."""
    ages = [shown["heartbeat_age"] for shown in client.get("/workers")["workers"] if shown["pid"] == process.pid]
    return float(ages[0]) if ages else float("inf")


def test_a_late_end_while_another_still_runs_is_refused(serve: Serve, worker: Work, ledger: Path) -> None:
    with Client(serve("--slots", "0", "--lease", str(LEASE), *QUICK).url) as client:
        frozen = worker("--slots", "1", "--lease", str(LEASE), *QUICK)
        id = client.submit("notes", {"ledger": str(ledger), "number": 1, "seconds": 3})
        until(lambda: runs(ledger)[1] == 1, 10, "it runs")
        frozen.kill(signal.SIGSTOP)  # its child goes on, and ends the task while nobody listens
        other = worker("--slots", "1", "--lease", str(LEASE), *QUICK)
        until(lambda: runs(ledger)[1] == 2, TAKEN_OVER, "another worker takes it over")
        frozen.kill(signal.SIGCONT)
        until(lambda: heartbeat(client, frozen) < LEASE / 2, 5, "the one that froze is at work again")
        assert client.task(id)["status"] == "in_progress"
        ended = client.end(id)
        assert (ended["result"] in {child.pid for child in other.children()}, outcomes(ended)) == (True, ["lost", "done"])


def test_a_killed_worker_is_replaced_at_once_by_another_on_the_same_machine(serve: Serve, worker: Work) -> None:
    with Client(serve("--slots", "0", *QUICK).url) as client:
        doomed = worker("--slots", "1", *QUICK)  # its lease is half a minute, and is not waited for
        id = client.submit("long_task", {"seconds": 60})
        client.begun(id)
        worker("--slots", "1", *QUICK)
        doomed.kill()
        until(lambda: client.task(id)["attempt"] == 2, 3, "the other takes it over")
        assert outcomes(client.task(id)) == ["lost", None]


def test_two_servers_take_turns_under_load_without_an_error(serve: Serve) -> None:
    servers = [serve("--slots", "5", *QUICK) for _ in range(2)]
    slowest: list[float] = []
    wrong: list[str] = []

    def submit(server: Server) -> None:
        with Client(server.url) as client:
            for _ in range(100):
                begun = time.monotonic()
                answer = client.http.post("/tasks", json={"type": "long_task", "payload": {"seconds": 0}})
                slowest.append(time.monotonic() - begun)
                if answer.status_code != 202:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=submit, args=(server,)) for server in servers for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert max(slowest) < 1.0
    with Client(servers[0].url) as client:
        assert Counter(task["status"] for task in client.all_end(400, 20)) == {"done": 400}
