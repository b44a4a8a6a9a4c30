"""dolgo as it is measured: started on a file, filled by batches over HTTP, and asked whether every task ended as it should."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench.errors import Invalid
from bench.place import Place, folder
from tests.blackbox.server import Process, Server

ROOT = Path(__file__).parents[1]
OPTIONS = ("--tasks", str(ROOT / "bench" / "types"), "--queues", "default")
QUEUE = "default"
PAGE = 1_000  # tasks the service lists at most
TIMEOUT = 60.0  # seconds for one request
STALLED = 30.0  # seconds without a task ending, after which a run is given up


@contextlib.contextmanager
def serving(place: Place, *options: str, slots: int) -> Iterator[Service]:
    """`dolgo serve` on the store of a place, ready; stopped afterwards."""
    server = Server(place.folder, "--store", place.store, "--slots", str(slots), *OPTIONS, *options)
    with server.ready(), httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        yield Service(server, client)


@contextlib.contextmanager
def http_floor() -> Iterator[str]:
    """Where the bare Starlette application answers."""
    with bare() as process:
        assert process.came_ready is not None
        yield process.came_ready[1]


@contextlib.contextmanager
def bare() -> Iterator[Process]:
    """The bare Starlette application."""
    with folder() as place:
        argv = [sys.executable, "-m", "bench.http_floor"]
        environ = {"PYTHONPATH": str(ROOT)}
        with Process(argv, place, ready=r"floor ready on (http://\S+)", name="floor", environ=environ).ready() as process:
            yield process


class Service:
    """A running dolgo."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self.server = server
        self.url = server.url
        self._client = client

    def fill(self, tasks: int, *, batch: int, **options: Any) -> None:
        """Submit tasks that are numbered, in batches."""
        self.submit([{"type": "nothing", "payload": {"n": n}, **options} for n in range(tasks)], batch=batch)

    def submit(self, tasks: Sequence[dict[str, Any]], *, batch: int) -> list[str]:
        """Submit tasks in batches; their ids."""
        ids: list[str] = []
        for first in range(0, len(tasks), batch):
            answer = self._client.post("/tasks/batch", json={"tasks": tasks[first : first + batch]}).raise_for_status()
            ids += [task["id"] for task in answer.json()["tasks"]]
        return ids

    def limit(self, **limits: float) -> None:
        """Limit the measured queue."""
        self._client.patch(f"/queues/{QUEUE}", json=limits).raise_for_status()

    def pause(self) -> None:
        """Have nothing more of the measured queue started."""
        self._client.put(f"/queues/{QUEUE}/pause", json={}).raise_for_status()

    def resume(self) -> None:
        """Have it go on."""
        self._client.delete(f"/queues/{QUEUE}/pause").raise_for_status()

    def cancel(self, id: str) -> None:
        """Have a task end that would run on. Returns when it has."""
        self._client.post(f"/tasks/{id}/cancel").raise_for_status()
        self._client.get(f"/tasks/{id}", params={"wait": TIMEOUT / 2}).raise_for_status()

    def counts(self) -> dict[str, int]:
        """How many tasks of the measured queue stand at each status."""
        queues = self._client.get("/queues").raise_for_status().json()["queues"]
        return next((queue["counts"] for queue in queues if queue["name"] == QUEUE), {})

    def done(self) -> int:
        """How many are done."""
        return self.counts().get("done", 0)

    def stored(self) -> int:
        """How many there are at all."""
        return sum(self.counts().values())

    def until_done(self, total: int) -> None:
        """Return when so many are done. Raises Invalid if nothing goes on before."""
        seen, since = self.done(), time.monotonic()
        while seen < total:
            time.sleep(0.05)
            now = self.done()
            if now == seen and time.monotonic() > since + STALLED:
                raise Invalid(f"{total - seen} tasks are missing: {self.counts()}")
            since = time.monotonic() if now != seen else since
            seen = now

    def check(self, newest: int) -> tuple[float, float]:
        """When the first of the `newest` tasks that ended was begun and the last one ended. Raises Invalid as `times` does."""
        times = self.times(newest)
        return min(started for started, _ in times), times[-1][1]

    def times(self, newest: int) -> list[tuple[float, float]]:
        """When each of the `newest` tasks that ended was begun and ended, in the order they ended.

        Raises Invalid unless each ended by its first attempt and its result is the number it was sent."""
        ids: set[str] = set()
        times: list[tuple[float, float]] = []
        cursor: dict[str, str] = {}
        while len(ids) < newest:
            size = min(PAGE, newest - len(ids))
            query = {"status": "done", "order": "-finished_at", "view": "full", "limit": str(size), **cursor}
            page = self._client.get("/tasks", params=query).raise_for_status().json()
            for task in page["tasks"]:
                if task["attempt"] != 1 or task["result"] != task["payload"]["n"] or task["id"] in ids:
                    raise Invalid(f"a task did not end as it should: {task}")
                ids.add(task["id"])
                times.append((_seconds(task["started_at"]), _seconds(task["finished_at"])))
            if page["next"] is None and len(ids) < newest:
                raise Invalid(f"{newest - len(ids)} of {newest} tasks are missing")
            cursor = {"cursor": page["next"]} if page["next"] else {}
        return times[::-1]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
