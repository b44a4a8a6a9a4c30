"""Clients of a run: they submit tasks of every kind, insist on an answer, look at what they had, cancel and retry some of it.

Whatever they do they write into the history. No answer, or a 503, says nothing: the request may have been heard.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

from tests.faults.records import Journal

PATIENCE = 4.0  # seconds a client waits for an answer
AGAIN = 0.05  # seconds before it asks again
INSISTS = 30.0  # seconds in which there is an answer, once nothing is broken any more
UNIQUE = 3  # unique keys that are used, again and again
PLAIN = ("waits", "waits", "waits_alone", "waits_in_a_thread")

Tasks = list[dict[str, Any]]


class Load:
    """Some clients, each in a thread, that submit as many tasks as they are allowed to."""

    def __init__(self, urls: Sequence[str], journal: Journal, *, seed: int, submitters: int = 3) -> None:
        self._urls = urls
        self._journal = journal
        self._allowed = threading.Semaphore(0)
        self._over = threading.Event()
        self._give_up_at = float("inf")  # monotonic
        self._lock = threading.Lock()
        self._ended: list[str] = []  # ids of tasks that were seen failed or cancelled
        self.ids: list[str] = []  # of what was acknowledged
        self.wrong: list[str] = []
        self.submitted = 0
        jobs = [self._submit] * submitters + [self._look, self._cancel, self._retry]
        self._threads = [
            threading.Thread(target=self._work, args=(job, random.Random(f"{seed}/{number}"), number))
            for number, job in enumerate(jobs)
        ]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def allow(self, tasks: int) -> None:
        """So many more may be submitted; a batch may go beyond."""
        self._allowed.release(tasks)

    def stop(self) -> None:
        """No more; what was begun is insisted on. Calling it twice is harmless."""
        self._give_up_at = time.monotonic() + INSISTS
        self._over.set()
        self._allowed.release(len(self._threads))
        for thread in self._threads:
            thread.join()

    def _work(self, job: Callable[[httpx.Client, random.Random], None], chance: random.Random, number: int) -> None:
        threading.current_thread().name = f"client-{number}"
        with httpx.Client(timeout=PATIENCE) as http:
            try:
                job(http, chance)
            except Exception as error:  # a thread that ends in silence would make an easy run
                self.wrong.append(f"a client has failed: {error!r}")
                raise

    # -- submits

    def _submit(self, http: httpx.Client, chance: random.Random) -> None:
        while True:
            self._allowed.acquire()
            if self._over.is_set():
                return
            key, tasks = f"{chance.getrandbits(60):x}", some(chance)
            for number, task in enumerate(tasks):
                task["tags"] = [f"{key}/{number}"]
                if number:
                    self._allowed.acquire(blocking=False)
            with self._lock:
                self.submitted += len(tasks)
            self._insist(http, chance, key, tasks)

    def _insist(self, http: httpx.Client, chance: random.Random, key: str, tasks: Tasks) -> None:
        """Ask until there is an answer; one client of ten is impatient."""
        patient, asks = chance.random() < 0.9, True
        path, body = ("/tasks", tasks[0]) if len(tasks) == 1 else ("/tasks/batch", {"tasks": tasks})
        while asks:
            begun = time.time()
            answer = self._ask(http, "POST", chance.choice(self._urls) + path, json=body, headers={"Idempotency-Key": key})
            fields = {"key": key, "keys": [task["tags"][0] for task in tasks]}
            if answer is None:
                self._journal.write("submit", begun, how="info", **fields)
                asks = patient and self._may_ask_again(key)
                continue
            ok = answer.status_code == 202
            ids = [task["id"] for task in (answer.json()["tasks"] if len(tasks) > 1 else [answer.json()])] if ok else []
            self._journal.write("submit", begun, how="ok" if ok else "fail", code=answer.status_code, ids=ids, **fields)
            if not ok:
                self.wrong.append(f"submit {key}: {answer.status_code} {answer.text[:300]}")
            with self._lock:
                self.ids += ids
            return

    def _may_ask_again(self, key: str) -> bool:
        """After a moment: yes, unless nothing was broken for so long that there has to be an answer."""
        if time.monotonic() > self._give_up_at:
            self.wrong.append(f"submit {key}: no answer, and nothing was broken for {INSISTS:g} s")
            return False
        time.sleep(AGAIN)
        return True

    # -- looks and changes

    def _look(self, http: httpx.Client, chance: random.Random) -> None:
        for id in self._any(chance, 0.02):
            begun = time.time()
            answer = self._ask(http, "GET", f"{chance.choice(self._urls)}/tasks/{id}")
            if answer is not None and answer.status_code == 200:
                task = answer.json()
                self._journal.write("look", begun, how="ok", task=task)
                if task["status"] in ("failed", "cancelled"):
                    self._ended.append(id)
            elif answer is not None:
                self._journal.write("look", begun, how="fail", id=id, code=answer.status_code)
                self.wrong.append(f"look at {id}: {answer.status_code} {answer.text[:300]}")

    def _cancel(self, http: httpx.Client, chance: random.Random) -> None:
        for id in self._any(chance, 0.15):
            self._change(http, chance, "cancel", id, {200, 202})

    def _retry(self, http: httpx.Client, chance: random.Random) -> None:
        while not self._over.wait(0.3):
            if self._ended:
                self._change(http, chance, "retry", self._ended.pop(chance.randrange(len(self._ended))), {202})

    def _change(self, http: httpx.Client, chance: random.Random, verb: str, id: str, right: set[int]) -> bool:
        """Whether there was an answer."""
        begun = time.time()
        answer = self._ask(http, "POST", f"{chance.choice(self._urls)}/tasks/{id}/{verb}")
        if answer is None:
            self._journal.write(verb, begun, how="info", id=id)
            return False
        ok = answer.status_code in right
        self._journal.write(verb, begun, how="ok" if ok else "fail", id=id, code=answer.status_code)
        if not ok and answer.status_code != 409:
            self.wrong.append(f"{verb} {id}: {answer.status_code} {answer.text[:300]}")
        return True

    def cancel_now(self, ids: Sequence[str]) -> None:
        """Cancel these, from the thread of whoever calls; no more of them once one has no answer."""
        with httpx.Client(timeout=PATIENCE / 4) as http:
            for id in ids:
                if not self._change(http, random.Random(id), "cancel", id, {200, 202}):
                    return

    def _any(self, chance: random.Random, every: float) -> Iterator[str]:
        """One of the tasks that were acknowledged, rather a new one."""
        while not self._over.wait(every):
            with self._lock:
                ids = self.ids[-200:] if chance.random() < 0.8 else self.ids
                id = chance.choice(ids) if ids else None
            if id is not None:
                yield id

    def _ask(self, http: httpx.Client, method: str, url: str, **more: Any) -> httpx.Response | None:
        """The answer; None if there was none, or the service is not ready: then nobody knows."""
        try:
            answer = http.request(method, url, **more)
        except httpx.HTTPError:
            return None
        return None if answer.status_code == 503 else answer


def some(chance: random.Random) -> Tasks:
    """Tasks of one kind, in a batch."""
    (kind,) = chance.choices([alone, chain, diamond], weights=[10, 3, 2])
    return list(kind(chance))


def alone(chance: random.Random) -> Tasks:
    return [one(chance) for _ in range(chance.randint(1, 6))]


def one(chance: random.Random) -> dict[str, Any]:
    seconds = {"seconds": chance.choice((0, 0.1, 0.5, 1.0, 1.5))}
    return dict(
        chance.choice(
            (
                *({"type": type, "payload": seconds} for type in PLAIN),
                {"type": "waits", "delay": chance.uniform(0, 2), "priority": chance.randint(0, 9)},
                {"type": "fails_at_first"},
                {"type": "fails"},
                {"type": "spawns"},
                {"type": "spawns_alone"},
                {"type": "one_of_a_key", "payload": {"seconds": 0.5}, "unique_key": f"k{chance.randrange(UNIQUE)}"},
            )
        )
    )


def chain(chance: random.Random) -> Tasks:
    """Some break in the middle."""
    length, breaks = chance.randint(2, 6), chance.randint(0, 9)
    return [
        {
            "type": "fails" if place == breaks else "waits",
            "ref": f"c{place}",
            "depends_on": [f"ref:c{place - 1}"] if place else [],
            "on_parent_failure": chance.choice(("cancel", "cancel", "run")),
        }
        for place in range(length)
    ]


def diamond(chance: random.Random) -> Tasks:
    left, right = (chance.choice(("waits", "waits_alone", "fails")) for _ in range(2))
    return [
        {"type": "waits", "depends_on": ["ref:left", "ref:right"], "on_parent_failure": chance.choice(("cancel", "run"))},
        {"type": left, "ref": "left", "depends_on": ["ref:begin"]},
        {"type": right, "ref": "right", "depends_on": ["ref:begin"]},
        {"type": "waits", "ref": "begin", "payload": {"seconds": 0.05}},
    ]
