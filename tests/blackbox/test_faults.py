"""`kill -9` at any moment of the whole life of tasks: retries, dependencies with their cascades, schedules, steps, limits."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox import life
from tests.blackbox.checker import FINAL, History
from tests.blackbox.client import Client, lines, shown, until, write_type
from tests.blackbox.server import Server, Worker

QUICK = ("--drain-timeout", "0", "--max-losses", "50")  # whoever is killed by the test is not to be blamed for it
SLOTS = ("--slots", "8")
LIMIT = 3  # tasks of the queue `limited` at once
WIDE = 600  # dependents of a fan: more than one commit releases or cancels
ROUNDS = 9
AT_REST = 60.0  # seconds
CHILDREN = 3  # tasks that a handler submits

HANDLERS = """
import asyncio, os, time
from dolgo import Context, Fail, Retry, SyncContext, task

def note(ledger, *words):
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, (" ".join(map(str, words)) + "\\n").encode())
    os.close(file)

@task
async def quick(ctx: Context, seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    return sum([parent.status == "done" async for parent in ctx.parents])

@task
def quick_alone(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return 1

@task
async def fails() -> None:
    raise Fail("on purpose")

@task(retries=3, backoff=[0.01, 0.3])
async def always_fails() -> None:
    raise ValueError

@task(retries=0)
async def asks_again(ctx: Context) -> int:
    if ctx.attempt < 4:
        raise Retry(delay=0.05)
    return ctx.attempt

@task(retries=2, backoff=0.1)
async def is_late() -> None:
    await asyncio.sleep(30)

@task(retries=1, backoff=0.05)
async def steps(ctx: Context, ledger: str) -> list[int]:
    async def work(name, number):
        note(ledger, "ran", name)
        await asyncio.sleep(0.02)
        return number
    results = []
    for number in range(6):
        name = f"{ctx.id}/{number}"
        results.append(await ctx.step(f"s{number}", work, name, number))
        note(ledger, "stored", name)
    return results

@task
def steps_alone(ctx: SyncContext, ledger: str) -> list[int]:
    def work(name, number):
        note(ledger, "ran", name)
        time.sleep(0.02)
        return number
    results = []
    for number in range(6):
        name = f"{ctx.id}/{number}"
        results.append(ctx.step(f"s{number}", work, name, number))
        note(ledger, "stored", name)
    return results

@task
async def submits(ctx: Context, children: int) -> list[str]:
    ids = []
    for number in range(children):
        ids.append(await ctx.submit("quick", tags=["child", ctx.id]))
        await asyncio.sleep(0.02)
    return ids

@task(queue="limited")
async def is_limited(ctx: Context, ledger: str) -> None:
    run = f"{ctx.id}/{ctx.attempt}"
    note(ledger, "begin", run)
    await asyncio.sleep(0.03)
    note(ledger, "end", run)
"""

RESULTS = {"steps": list(range(6)), "steps_alone": list(range(6)), "quick_alone": 1}


class Mixed:
    """Clients that submit batches of every kind, again until they have an answer, look at what they had, and cancel some."""

    def __init__(self, url: str, history: History, *, seed: int, ledgers: Path) -> None:
        self._url = url
        self._history = history
        self._ledgers = ledgers
        self._over = threading.Event()
        self.fans = 0
        self.cancelled: dict[str, tuple[bool, float]] = {}  # by id: whether it was cancelled at once, and when that was answered
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=target, args=(random.Random(seed * 100 + number),))
            for number, target in enumerate((self._submit, self._submit, self._look, self._cancel))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, chance: random.Random) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as http:
            while not self._over.wait(0.03):
                tasks = self._some(chance)
                key = f"{chance.getrandbits(60):x}"
                for number, task in enumerate(tasks):
                    task["tags"] = [f"{key}/{number}"]
                    self._history.attempt(task["tags"][0])
                self._insist(http, key, tasks)

    def _insist(self, http: httpx.Client, key: str, tasks: list[dict[str, Any]]) -> None:
        while not self._over.is_set():
            answer = self._ask(http, "POST", "/tasks/batch", json={"tasks": tasks}, headers={"Idempotency-Key": key})
            if answer is not None and answer.status_code == 202:
                for task, accepted in zip(tasks, answer.json()["tasks"], strict=True):
                    self._history.acknowledge(task["tags"][0], accepted["id"])
                return
            if answer is not None:
                self.wrong.append(f"{key}: {answer.status_code} {answer.text[:300]}")
                return
            time.sleep(0.05)

    def _look(self, chance: random.Random) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as http:
            for id in self._any(chance, 0.005):
                answer = self._ask(http, "GET", f"/tasks/{id}")
                if answer is not None and answer.status_code == 200:
                    self._history.saw(answer.json())
                elif answer is not None:
                    self.wrong.append(f"{id}: {answer.status_code} {answer.text[:300]}")

    def _cancel(self, chance: random.Random) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as http:
            for id in self._any(chance, 0.05):
                answer = self._ask(http, "POST", f"/tasks/{id}/cancel")
                if answer is not None and answer.status_code in (200, 202):
                    self.cancelled[id] = (answer.status_code == 200, time.time())
                elif answer is not None and answer.status_code != 409:
                    self.wrong.append(f"cancel {id}: {answer.status_code} {answer.text[:300]}")

    def _any(self, chance: random.Random, every: float) -> Iterator[str]:
        while not self._over.wait(every):
            ids = list(self._history.acknowledged.copy().values())
            if ids:
                yield chance.choice(ids)

    def _ask(self, http: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        """The answer; None if there was none, or the service is not ready: then nobody knows."""
        try:
            answer = http.request(method, path, **more)
        except httpx.HTTPError:
            return None
        return None if answer.status_code == 503 else answer

    def _some(self, chance: random.Random) -> list[dict[str, Any]]:
        """Tasks of one kind, in a batch."""
        kinds: list[tuple[Callable[[random.Random], list[dict[str, Any]]], int]] = [
            (self._alone, 12), (self._chain, 6), (self._diamond, 4), (self._fan, 1 if self.fans < 2 + ROUNDS // 2 else 0),
        ]  # fmt: skip
        (kind,) = chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return kind(chance)

    def _alone(self, chance: random.Random) -> list[dict[str, Any]]:
        return [self._one(chance) for _ in range(chance.randint(1, 8))]

    def _one(self, chance: random.Random) -> dict[str, Any]:
        steps, limited = {"ledger": str(self._ledgers / "steps")}, {"ledger": str(self._ledgers / "limited")}
        return dict(
            chance.choice(
                (
                    {"type": "quick", "payload": {"seconds": chance.choice((0, 0, 0.1, 0.5))}},
                    {"type": "quick", "delay": chance.uniform(0, 2), "priority": chance.randint(0, 9)},
                    {"type": "quick_alone", "payload": {"seconds": chance.choice((0, 0.1))}},
                    {"type": "always_fails"},
                    {"type": "asks_again"},
                    {"type": "is_late", "timeout": 0.1},
                    {"type": "steps", "payload": steps},
                    {"type": "steps_alone", "payload": steps},
                    {"type": "submits", "payload": {"children": CHILDREN}},
                    {"type": "is_limited", "payload": limited},
                )
            )
        )

    def _chain(self, chance: random.Random) -> list[dict[str, Any]]:
        """Some break in the middle."""
        length, breaks = chance.randint(2, 8), chance.randint(0, 12)
        return [
            {
                "type": "fails" if place == breaks else "quick",
                "ref": f"c{place}",
                "depends_on": [f"ref:c{place - 1}"] if place else [],
                "on_parent_failure": chance.choice(("cancel", "cancel", "run")),
            }
            for place in range(length)
        ]

    def _diamond(self, chance: random.Random) -> list[dict[str, Any]]:
        left, right = (chance.choice(("quick", "quick_alone", "fails")) for _ in range(2))
        return [
            {"type": "quick", "depends_on": ["ref:left", "ref:right"], "on_parent_failure": chance.choice(("cancel", "run"))},
            {"type": left, "ref": "left", "depends_on": ["ref:begin"]},
            {"type": right, "ref": "right", "depends_on": ["ref:begin"]},
            {"type": "quick", "ref": "begin", "payload": {"seconds": 0.05}},
        ]

    def _fan(self, chance: random.Random) -> list[dict[str, Any]]:
        self.fans += 1
        root = {"type": chance.choice(("quick", "fails")), "ref": "root", "delay": chance.uniform(0, 1)}
        fan = [{"type": "quick", "ref": f"f{n}", "depends_on": ["ref:root"]} for n in range(WIDE)]
        last = {"type": "quick", "depends_on": [f"ref:f{n}" for n in range(WIDE)], "on_parent_failure": "run"}
        return [root, *fan, last]


def kill_something(chance: random.Random, server: Server, worker: Worker) -> None:
    """Of what is killed as a whole nothing is left, and it is started again."""
    what = chance.choice(("child", "child", "worker", "server", "all"))
    if what == "child":
        process = chance.choice((server, worker))
        children = process.children() if process.running else []
        if children:
            chance.choice(children).kill()
        return
    killed = {"worker": [worker], "server": [server], "all": [server, worker]}[what]
    for process in killed:
        process.kill(children=chance.random() < 0.5)  # else its children end by themselves
    for process in killed:
        process.wait()
        process.start()
    for process in killed:
        process.wait_ready()


def put_limits_and_schedule(client: Client) -> float:
    """The time of the schedule's first tick."""
    assert client.http.patch("/queues/limited", json={"max_running": LIMIT}).status_code == 200
    body = {"type": "quick", "every": 1, "options": {"tags": ["tick"]}}
    answer = client.http.put("/schedules/often", json=body)
    assert answer.status_code == 201
    return life.seconds(answer.json()["next"][0])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1])
def test_the_whole_life_of_tasks_survives_kills_at_any_moment(
    seed: int, serve: Callable[..., Server], worker: Callable[..., Worker], tmp_path: Path
) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    chance, history = random.Random(seed), History()
    server, other = serve(*SLOTS, *QUICK), worker(*SLOTS, *QUICK)
    with Client(server.url) as client:
        first = put_limits_and_schedule(client)
        load = Mixed(server.url, history, seed=seed, ledgers=tmp_path)
        try:
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0.2, 1.5))  # the moment of the kill is what chance is to choose
                kill_something(chance, server, other)
        finally:
            load.stop()
        assert client.http.delete("/schedules/often").status_code == 204
        until(lambda: client.counts() if not client.counts().keys() - FINAL else None, AT_REST, "all comes to rest")
        tasks = client.every(view="full")
        queues = client.get("/queues")["queues"]
    assert not load.wrong, load.wrong[:5]
    check(tasks, queues, history, load, first=first, ledgers=tmp_path)


def check(
    tasks: list[dict[str, Any]], queues: list[dict[str, Any]], history: History, load: Mixed, *, first: float, ledgers: Path
) -> None:
    summary = f"{len(tasks)} tasks, {len(history.acknowledged)} acknowledged, {Counter(task['status'] for task in tasks)}"
    children = [task for task in tasks if task["tags"][0] == "child"]
    ticks = [task["id"] for task in tasks if task["tags"][0] == "tick"]
    mine = [task for task in tasks if task["tags"][0] not in ("child", "tick")]
    assert len(mine) > 500, summary
    assert ticks, summary
    wrong: dict[str, Any] = {
        **history.judge(mine).wrong,
        **life.broken(tasks, max_losses=50),
        "ticks": list(life.doubled_ticks(ticks, first=first, every=1)),
        "steps": list(life.steps_again(lines(ledgers / "steps"))),
        "limit": list(life.over_limit(lines(ledgers / "limited"), LIMIT)),
        "counts": list(life.miscounted(tasks, queues)),
        "children": list(wrong_children(mine, children)),
        "cancels": list(wrong_cancels(mine, load.cancelled)),
        "ends": list(wrong_ends(mine)),
    }
    wrong = {name: found[:5] for name, found in wrong.items() if found}
    assert not wrong, f"{shown(wrong)} ({summary})"


def wrong_children(mine: list[dict[str, Any]], children: list[dict[str, Any]]) -> Iterator[str]:
    """Each handler that ended has submitted what it was to, once."""
    made = Counter(child["tags"][1] for child in children)
    for task in mine:
        if task["type"] == "submits" and (
            made[task["id"]] != CHILDREN if task["status"] == "done" else made[task["id"]] > CHILDREN
        ):
            yield f"{task['id']} is {task['status']} and has submitted {made[task['id']]}"
        if task["type"] == "submits" and task["status"] == "done" and sorted(task["submitted"]) != sorted(task["result"]):
            yield f"{task['id']} shows others as submitted than it was told"


def wrong_cancels(mine: list[dict[str, Any]], cancelled: dict[str, tuple[bool, float]]) -> Iterator[str]:
    """After the answer to a cancel no attempt begins, and what was cancelled at once stays so."""
    for task in mine:
        at_once, answered = cancelled.get(task["id"], (False, float("inf")))
        if at_once and task["status"] != "cancelled":
            yield f"{task['id']} was cancelled and is {task['status']}"
        if any(life.seconds(attempt["started_at"]) > answered for attempt in task["attempts"]):
            yield f"{task['id']} has run after it was cancelled"


def wrong_ends(mine: list[dict[str, Any]]) -> Iterator[str]:
    """What each type ends as, unless it was cancelled."""
    failing = {"fails": "handler_error", "always_fails": "handler_error", "is_late": "timeout"}
    for task in mine:
        if task["status"] == "cancelled":
            continue
        expected = ("failed", failing[task["type"]]) if task["type"] in failing else ("done", None)
        if (task["status"], (task["error"] or {}).get("code")) != expected:
            yield f"{task['id']} of {task['type']} is {task['status']}: {task['error']}"
        charged = sum(attempt["outcome"] in life.CHARGED for attempt in task["attempts"])
        if task["type"] in ("always_fails", "is_late") and charged != task["max_attempts"]:
            yield f"{task['id']} of {task['type']} has failed after {charged} failures"
        if RESULTS.get(task["type"]) and task.get("result") != RESULTS[task["type"]]:
            yield f"{task['id']} of {task['type']} has the result {task.get('result')}"
