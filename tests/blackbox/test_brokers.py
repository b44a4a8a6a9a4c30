"""With a broker beside the store: workers hear of tasks, and everything else is as without one."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.blackbox.client import Client, lines, until, write_type
from tests.blackbox.server import Server, Worker
from tests.brokers import SHARED, by_way_of, metrics
from tests.store.kinds import redis_url

pytestmark = pytest.mark.timeout(300)  # the first test of a run may build or start the broker

STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'dolgo.db'}",
    "redis": lambda folder: f"{redis_url()}?prefix={folder.name}",
}
TOLD = 30  # tasks one after the other
LOOKS = 1.0  # seconds between two looks of a worker that is told of tasks
ENDS = 30.0  # seconds, on a machine that is busy
HANDLERS = """
import asyncio, os
from dolgo import task

def say(ledger, line):
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{line}\\n".encode())
    os.close(file)

@task
async def works(ledger: str, name: str = "", seconds: float = 0) -> str:
    say(ledger, f"+{name}")
    await asyncio.sleep(seconds)
    say(ledger, f"-{name}")
    return name
"""


class Site:
    """A server without slots and a worker, on one store and one broker."""

    def __init__(self, folder: Path, store: str, queue: str | None) -> None:
        write_type(folder, "handlers", HANDLERS)
        self.folder = folder
        self.options = ("--store", store, "--drain-timeout", "0", *(("--queue", queue) if queue else ()))
        self.server = Server(folder, "--slots", "0", *self.options)
        self.worker = Worker(folder, "--slots", "2", "--health-port", "0", *self.options)

    def __enter__(self) -> Site:
        self.server.ready()
        self.worker.ready()
        self.client = Client(self.server.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.http.close()
        self.worker.close()
        self.server.close()

    def of_worker(self) -> dict[str, float]:
        """The worker's metrics."""
        found = re.search(r"health on (http://\S+)", self.worker.said())
        assert found
        return metrics(httpx.get(f"{found[1]}/metrics").text)

    def of_server(self) -> dict[str, float]:
        return metrics(self.client.http.get("/metrics").text)

    def ledger(self) -> Path:
        """A file that nobody has written to."""
        return self.folder / f"ledger-{uuid.uuid4().hex}"


# Every broker and every store once: neither knows of the other.
@pytest.fixture(scope="module", params=[("amqp", "sqlite"), ("nsq", "redis")], ids="-".join)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    broker, store = request.param
    folder = tmp_path_factory.mktemp(f"{broker}-{store}")
    with Site(folder, STORES[store](folder), by_way_of(broker, SHARED[broker]().port, folder.name)) as site:
        yield site
        if request.session.testsfailed:
            site.server.show()
            site.worker.show()


def test_a_worker_hears_of_what_a_server_takes_up(site: Site) -> None:
    payload = {"ledger": str(site.ledger())}
    begun = time.monotonic()
    for _ in range(TOLD):
        answer = site.client.http.post("/tasks?wait=10", json={"type": "works", "payload": payload})
        assert answer.json()["status"] == "done"
    assert time.monotonic() - begun < TOLD * LOOKS / 2, "it has looked for them instead"
    until(lambda: site.of_server()["dolgo_broker_notices_published_total"] >= TOLD, ENDS, "all are told")
    until(lambda: site.of_worker().get('dolgo_broker_notices_heard_total{outcome="rang"}', 0) >= TOLD / 2, ENDS, "they are heard")
    for probe in ("/readyz", "/healthz"):
        assert site.client.get(probe)["checks"]["broker"] == "ok"


def test_what_is_paused_is_not_begun_however_many_notices_there_are(site: Site) -> None:
    ledger, queue = site.ledger(), f"q{uuid.uuid4().hex[:8]}"
    site.client.http.put(f"/queues/{queue}/pause", json={}).raise_for_status()
    ids = site.client.batch("works", [{"ledger": str(ledger), "name": "held"}] * 20, queue=queue)
    site.client.end(site.client.submit("works", {"ledger": str(ledger), "name": "other"}), ENDS)
    assert set(lines(ledger)) == {"+other", "-other"}
    site.client.http.delete(f"/queues/{queue}/pause").raise_for_status()
    assert [site.client.end(id, ENDS)["status"] for id in ids] == ["done"] * 20


def test_higher_priority_begins_first_and_no_more_run_than_may(site: Site) -> None:
    ledger, queue = site.ledger(), f"q{uuid.uuid4().hex[:8]}"
    site.client.http.patch(f"/queues/{queue}", json={"max_running": 1}).raise_for_status()
    site.client.http.put(f"/queues/{queue}/pause", json={}).raise_for_status()
    ids = [
        site.client.submit("works", {"ledger": str(ledger), "name": str(priority)}, queue=queue, priority=priority)
        for priority in (1, 9, 5, 7, 3)
    ]
    site.client.http.delete(f"/queues/{queue}/pause").raise_for_status()
    for id in ids:
        site.client.end(id, ENDS)
    assert lines(ledger) == [f"{sign}{priority}" for priority in (9, 7, 5, 3, 1) for sign in "+-"]


def test_a_delayed_task_is_begun_when_it_is_due(site: Site) -> None:
    ledger = site.ledger()
    task = site.client.end(site.client.submit("works", {"ledger": str(ledger)}, delay=1.5), ENDS)
    assert task["started_at"] >= task["run_at"]


def test_tasks_that_wait_for_others_go_on_when_those_have_ended(site: Site) -> None:
    payload = {"ledger": str(site.ledger())}
    tasks = [
        {"type": "works", "payload": payload, "ref": "a"},
        *({"type": "works", "payload": payload, "depends_on": ["ref:a"]} for _ in range(5)),
    ]
    answer = site.client.http.post("/tasks/batch", json={"tasks": tasks})
    assert [site.client.end(task["id"], ENDS)["status"] for task in answer.json()["tasks"]] == ["done"] * 6


def test_a_store_in_memory_and_a_broker_do_not_go_together(tmp_path: Path) -> None:
    server = Server(tmp_path, "--store", "memory://", "--queue", "nsq://127.0.0.1:1")
    with server.start():
        assert server.wait(30) == 2
        assert "none can share a store in memory" in server.said()


def test_a_password_of_the_broker_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    server = Server(tmp_path, "--slots", "0", "--queue", "amqp://app:hunter2@127.0.0.1:1/")
    with server.ready():
        until(lambda: "cannot be used" in server.said(), ENDS, "it is said that there is no broker")
        shown = httpx.get(f"{server.url}/readyz")
        assert shown.status_code == 200
        assert shown.json()["checks"]["broker"].startswith("ok: the broker cannot be used now")
        assert "hunter2" not in server.said() + shown.text + httpx.get(f"{server.url}/metrics").text
