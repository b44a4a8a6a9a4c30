"""Workers with different code on one store: each runs what it knows, old and new versions side by side, restarts under load."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, lines, outcomes, until, write_type
from tests.blackbox.server import Process, Server, Worker

pytestmark = pytest.mark.timeout(180)

LEASE = "6"  # seconds: an idle worker hears within two that it is to drain
SOON = 15.0  # seconds
ENOUGH = 60.0  # seconds for all that was submitted to end
KNOWN = 3.0  # seconds within which a type that was announced can be submitted
LOAD_PAUSE = 0.01  # seconds between two submits of the load
BETWEEN = 1.0  # seconds of load before, between and after the restarts

ONE = "from dolgo import task\n\n@task\nasync def {name}() -> str:\n    return {name!r}\n"

# The second version takes more, and can do without it: it runs what was submitted to the first, but not the other way round.
WIDER = """
import os, time
from dolgo import task

def note(ledger, *words):
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, (" ".join(map(str, words)) + "\\n").encode())
    os.close(file)
"""
FIRST = (
    WIDER
    + """
@task
async def rolled(ledger: str, number: int) -> int:
    note(ledger, number, 1)
    return 1

@task
def rolled_alone(ledger: str, number: int) -> int:
    note(ledger, number, 1)
    return 1
"""
)
SECOND = (
    WIDER
    + """
@task
async def rolled(ledger: str, number: int, more: int = 0) -> int:
    note(ledger, number, 2)
    return 2

@task
def rolled_alone(ledger: str, number: int, more: int = 0) -> int:
    note(ledger, number, 2)
    return 2
"""
)

# Two versions of which neither can decode what was submitted to the other.
APART = "from dolgo import task\n\n@task\n{kind} parted({parameter}: int) -> int:\n    return {version}\n"


@pytest.fixture
def work(tmp_path: Path, processes: list[Process]) -> Callable[..., Worker]:
    """`work("old", handlers=SOURCE)` is a worker in a folder of its own, with these task types, on the store of the test."""

    def start(name: str, *options: str, **types: str) -> Worker:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for type, source in types.items():
            write_type(folder, type, source)
        there = ("--store", f"sqlite:///{tmp_path}/dolgo.db", "--lease", LEASE)
        worker = Worker(folder, *there, *options, name=f"worker-{len(processes)}")
        processes.append(worker)
        return worker.ready()

    return start


def id_of(client: Client, worker: Worker) -> str:
    """What a process is called among the workers."""
    (id,) = [shown["id"] for shown in client.get("/workers")["workers"] if shown["pid"] == worker.pid]
    return str(id)


def known(client: Client, type: str, member: str = "") -> None:
    """Return once a type can be submitted, with this member in its payload."""

    def look() -> bool:
        answer = client.http.get(f"/types/{type}")
        return answer.status_code == 200 and member in str(answer.json()["payload_schema"])

    until(look, KNOWN, f"{type} is known")


def drain(client: Client, worker: Worker) -> None:
    """Have it stop as a rollout does, and see it go."""
    assert client.http.post(f"/workers/{id_of(client, worker)}/drain").status_code == 202
    assert worker.wait(30) == 0


# -- different sets of types


def test_each_worker_runs_the_types_it_knows(serve: Callable[..., Server], work: Callable[..., Worker]) -> None:
    with Client(serve("--slots", "0").url) as client:  # without any task code, and before any worker
        assert client.get("/types")["types"] == []
        left = work("left", a=ONE.format(name="a"), both=ONE.format(name="both"))
        right = work("right", b=ONE.format(name="b"), both=ONE.format(name="both"))
        for type in ("a", "b", "both"):
            known(client, type)
        ids = {type: client.batch(type, [{}] * 40) for type in ("a", "b", "both")}
        ran: dict[str, Counter[str]] = {}
        for type, mine in ids.items():
            tasks = [client.end(id, ENOUGH) for id in mine]
            assert {(task["status"], task["result"], task["attempt"]) for task in tasks} == {("done", type, 1)}
            ran[type] = Counter(task["worker"] for task in tasks)
        assert set(ran["a"]) == {id_of(client, left)}
        assert set(ran["b"]) == {id_of(client, right)}
        assert {type["name"]: type["workers"] for type in client.get("/types")["types"]} == {
            "a": 1, "b": 1, "both": 2, "http_request": 2, "long_task": 2,
        }  # fmt: skip


def test_a_task_that_no_worker_knows_says_so_and_waits_for_one(serve: Callable[..., Server], work: Callable[..., Worker]) -> None:
    with Client(serve("--slots", "0").url) as client:
        knows = work("knows", rare=ONE.format(name="rare"))
        known(client, "rare")
        drain(client, knows)
        id = client.submit("rare")
        assert client.task(id)["waiting_for"] == {"code": "no_worker", "text": "No live worker takes the queue 'default'."}
        work("other", other=ONE.format(name="other"))
        said = client.task(id)["waiting_for"]
        assert said == {"code": "no_worker", "text": "No live worker of the queue 'default' runs the type 'rare'."}
        known(client, "other")
        assert client.end(client.submit("other"))["status"] == "done"  # it stands in nobody's way
        assert client.task(id)["status"] == "queued"
        work("knows")
        assert client.end(id, SOON)["result"] == "rare"


# -- versions


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_what_was_submitted_to_one_version_is_run_by_that_version(
    kind: str, serve: Callable[..., Server], work: Callable[..., Worker]
) -> None:
    with Client(serve("--slots", "0").url) as client:
        old = work("old", parted=APART.format(kind=kind, parameter="before", version=1))
        known(client, "parted", "before")
        client.http.put("/queues/default/pause")
        ids = {1: client.batch("parted", [{"before": n} for n in range(30)])}
        new = work("new", parted=APART.format(kind=kind, parameter="afterwards", version=2))
        known(client, "parted", "afterwards")
        ids[2] = client.batch("parted", [{"afterwards": n} for n in range(30)])
        late = client.submit("parted", {"afterwards": 1}, delay=2)
        client.http.delete("/queues/default/pause")
        for version, worker in ((1, old), (2, new)):
            tasks = [client.end(id, ENOUGH) for id in ids[version]]
            assert {(task["status"], task["result"], task["worker"]) for task in tasks} == {
                ("done", version, id_of(client, worker))
            }
            assert {tuple(outcomes(task)) for task in tasks} == {("done",)}  # one that could not decode it does not count
        assert client.end(late, SOON)["result"] == 2


def test_a_task_of_a_version_that_is_gone_says_so_and_is_run_when_it_comes_back(
    serve: Callable[..., Server], work: Callable[..., Worker]
) -> None:
    with Client(serve("--slots", "0").url) as client:
        old = work("old", parted=APART.format(kind="async def", parameter="before", version=1))
        known(client, "parted", "before")
        client.http.put("/queues/default/pause")
        id = client.submit("parted", {"before": 1})
        drain(client, old)
        client.http.delete("/queues/default/pause")
        work("new", parted=APART.format(kind="async def", parameter="afterwards", version=2))
        known(client, "parted", "afterwards")

        def reason() -> dict[str, Any]:
            return client.task(id)["waiting_for"] or {}

        said = until(lambda: found if "version" in (found := reason()).get("text", "") else {}, SOON, "it says why it waits")
        assert said["code"] == "no_worker"
        assert client.end(client.submit("parted", {"afterwards": 1}))["result"] == 2
        work("old")
        task = client.end(id, SOON)
        assert (task["status"], task["result"], outcomes(task)) == ("done", 1, ["done"])


# -- a rolling restart


class Load(threading.Thread):
    """Submits one task after the other until it is told to stop, with what only the second version takes once that is known."""

    def __init__(self, url: str, ledger: Path) -> None:
        super().__init__(name="load")
        self._url = url
        self._ledger = str(ledger)
        self.wider = threading.Event()
        self.over = threading.Event()
        self.sent: dict[str, tuple[int, bool]] = {}  # by id: its number, and whether only the second version takes it
        self.refused: list[str] = []

    def run(self) -> None:
        with Client(self._url) as client:
            number = 0
            while not self.over.wait(LOAD_PAUSE):
                number += 1
                wide = self.wider.is_set() and number % 4 < 2
                payload = {"ledger": self._ledger, "number": number} | ({"more": 1} if wide else {})
                answer = client.http.post("/tasks", json={"type": ("rolled", "rolled_alone")[number % 2], "payload": payload})
                if answer.status_code == 202:
                    self.sent[answer.json()["id"]] = number, wide
                else:
                    self.refused.append(answer.text)


def test_a_rolling_restart_under_load_loses_and_fails_nothing(
    serve: Callable[..., Server], work: Callable[..., Worker], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    server = serve("--slots", "0")
    with Client(server.url) as client:
        old = [work(f"old-{n}", "--slots", "3", rolled=FIRST) for n in range(2)]
        known(client, "rolled_alone")
        load = Load(server.url, ledger)
        load.start()
        try:
            time.sleep(BETWEEN)
            new = []
            for n, worker in enumerate(old):
                new.append(work(f"new-{n}", "--slots", "3", rolled=SECOND))
                known(client, "rolled_alone", "more")
                load.wider.set()
                time.sleep(BETWEEN)  # both versions are at work
                drain(client, worker)
            time.sleep(BETWEEN)
        finally:
            load.over.set()
            load.join()
        tasks = {task["id"]: task for task in client.all_end(len(load.sent), ENOUGH)}
        seconds = {id_of(client, worker) for worker in new}
    assert load.refused == []
    assert set(tasks) == set(load.sent)
    assert {task["status"] for task in tasks.values()} == {"done"}
    assert {outcome for task in tasks.values() for outcome in outcomes(task)} <= {"done", "given_back"}
    ran = dict(line.split() for line in lines(ledger))
    assert Counter(line.split()[0] for line in lines(ledger)) == Counter(str(number) for number, _ in load.sent.values())
    for id, (number, wide) in load.sent.items():
        version = tasks[id]["result"]
        assert ran[str(number)] == str(version)
        assert version == (2 if tasks[id]["worker"] in seconds else 1)
        assert version == 2 or not wide, tasks[id]
    versions = Counter((task["result"], load.sent[id][1]) for id, task in tasks.items())
    assert min(versions[1, False], versions[2, False], versions[2, True]) > 10, versions
