"""What a test says to a server, with a deadline on every wait and the last state in every failure."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

T = TypeVar("T")

LOOK_EVERY = 0.02  # seconds between two looks at a state
FINAL = frozenset({"done", "failed", "cancelled"})
AT_ONCE = 1000  # tasks of a page of the list
ANSWER = 1.0  # seconds in which a server answers, whatever else happens


def until(look: Callable[[], T], within: float, what: str) -> T:
    """The first true thing that `look` answers; fails with the last one after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        last = look()
        if last:
            return last
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s; last seen: {last!r}"
        time.sleep(LOOK_EVERY)


def write_type(folder: Path, name: str, source: str) -> Path:
    """A file in the folder `tasks/` that servers of this folder load."""
    (folder / "tasks").mkdir(exist_ok=True)
    path = folder / "tasks" / f"{name}.py"
    path.write_text(source)
    return path


class Client:
    """Speaks to one server. Fails where an answer is not the expected one."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.http = httpx.Client(base_url=url, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.http.close()

    def submit(self, type: str, payload: dict[str, Any] | None = None, **options: Any) -> str:
        """The id of a task that was taken up."""
        answer = self.http.post("/tasks", json={"type": type, "payload": payload or {}, **options})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def batch(self, type: str, payloads: Sequence[dict[str, Any]], **options: Any) -> list[str]:
        """The ids of tasks that were taken up in one go."""
        tasks = [{"type": type, "payload": payload, **options} for payload in payloads]
        answer = self.http.post("/tasks/batch", json={"tasks": tasks})
        assert answer.status_code == 202, answer.text
        return [task["id"] for task in answer.json()["tasks"]]

    def get(self, path: str, **query: Any) -> Any:
        """The body of a 200."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def task(self, id: str, **query: Any) -> dict[str, Any]:
        """A task in full."""
        return dict(self.get(f"/tasks/{id}", view="full", **query))

    def end(self, id: str, within: float = 10.0) -> dict[str, Any]:
        """A task in full, once it has ended."""
        deadline = time.monotonic() + within
        while True:
            task = self.task(id, wait=round(max(0.0, min(5.0, deadline - time.monotonic())), 3))
            if task["status"] in FINAL:
                return task
            assert time.monotonic() < deadline, f"not ended within {within:g} s: {task}"

    def begun(self, id: str, within: float = 10.0) -> dict[str, Any]:
        """A task in full, once it is in progress."""
        return until(lambda: task if (task := self.task(id))["status"] == "in_progress" else {}, within, f"task {id} begins")

    def every(self, **query: Any) -> list[dict[str, Any]]:
        """All tasks there are, page by page."""
        tasks: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get("/tasks", limit=AT_ONCE, **query, **cursor)
            tasks += page["tasks"]
            if page["next"] is None:
                return tasks
            cursor = {"cursor": page["next"]}

    def counts(self) -> Counter[str]:
        """How many tasks there are of each status, over all queues."""
        counts: Counter[str] = Counter()
        for queue in self.get("/queues")["queues"]:
            counts.update(queue["counts"])
        return +counts

    def all_end(self, number: int, within: float) -> list[dict[str, Any]]:
        """All tasks in full, once so many have ended and none is unfinished."""
        deadline = time.monotonic() + within
        while sum(counts[status] for status in FINAL) < number if (counts := self.counts()) else number:
            assert time.monotonic() < deadline, f"{number} tasks do not end within {within:g} s: {dict(counts)}"
            time.sleep(LOOK_EVERY)
        return self.every(view="full")


def outcomes(task: dict[str, Any]) -> list[str]:
    """How each attempt of a task ended, oldest first."""
    return [attempt["outcome"] for attempt in task["attempts"]]


def lines(path: Path) -> list[str]:
    """What handlers have written into a file so far."""
    return path.read_text().splitlines() if path.exists() else []


class Prober:
    """Asks a server again and again, as long as the block lasts, and keeps how long the slowest answer took."""

    def __init__(self, url: str, *, path: str = "/tasks?limit=1", submits: bool = True) -> None:
        """It reads `path` and, in turn with that, sends a payload that is refused: the door and the store both answer."""
        self._url = url
        self._path = path
        self._submits = submits
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._probe, name="prober")
        self.answers = 0
        self.slowest = 0.0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if kind is None:
            self.check()

    def check(self, within: float = ANSWER) -> None:
        """Fails if an answer was wrong, late or did not come."""
        assert self.answers > 0, "nothing was asked"
        assert not self.wrong, self.wrong[:5]
        assert self.slowest < within, f"the slowest of {self.answers} answers took {self.slowest:.3f} s"

    def _probe(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as http:
            while not self._over.wait(LOOK_EVERY):
                self._ask(http, "GET", self._path, None, 200)
                if self._submits:
                    self._ask(http, "POST", "/tasks", {"type": "long_task", "payload": {"seconds": "x"}}, 422)

    def _ask(self, http: httpx.Client, method: str, path: str, body: object, expected: int) -> None:
        begun = time.monotonic()
        try:
            answer = http.request(method, path, json=body)
        except httpx.HTTPError as error:
            self.wrong.append(f"{method} {path}: {error!r}")
        else:
            if answer.status_code != expected:
                self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.answers += 1


def shown(value: object) -> str:
    """For a failure: as JSON, one line."""
    return json.dumps(value, ensure_ascii=False, default=str)
