"""Frozen writers: workers that are stopped past their leases, and offer what they have done once others have done it again.

Of some tasks the second attempt has ended when the first writer wakes, of others it still runs: neither outcome may be its own.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.blackbox.client import FINAL, Client, until
from tests.blackbox.server import Process
from tests.faults.deployment import Deployment
from tests.faults.judge import MAX_LOSSES, Verdict, judge
from tests.faults.nemesis import frozen
from tests.faults.records import Journal, Run, read, runs
from tests.faults.storm import come_to_rest

FIRST = 2.0  # seconds the first attempt takes
TAKEN_OVER = 60.0  # seconds in which all has been done again, on a busy machine
TURNS = 5  # times a worker is frozen that had the turn to write just then, and nobody else could

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How it is done: so many writers at least, and so many tasks in flight each time."""

    store: str
    frozen: int
    at_once: int
    seed: int = 0
    lease: float = 2.0  # seconds
    mutant: str | None = None


def zombies(plan: Plan, folder: Path, say: Say = lambda _: None) -> Verdict:
    """Make the rounds, in an empty folder that keeps the records, and judge them."""
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    slots = plan.at_once + 2
    deployment = Deployment(
        folder,
        plan.store,
        servers=(0,),
        workers=(slots, slots),
        lease=plan.lease,
        options=("--max-losses", str(MAX_LOSSES)),
        mutant=plan.mutant,
    )
    with deployment, deployment.client() as client:
        rounds = Rounds(plan, deployment, client)
        for number in count():
            if rounds.writers >= plan.frozen:
                break
            rounds.one(number)
            say(f"round {number + 1}: {rounds.writers} writers were frozen so far")
        come_to_rest(deployment, folder)
    records = read(folder)
    verdict = judge(records)
    verdict.figures.update(figures(records.runs, records.tasks, {pid for fault in records.faults for pid in fault.pids}))
    verdict.figures["frozen writers"] = rounds.writers
    verdict.figures["ends refused, by the logs"] = sum(text.count("came too late") for _, text in deployment.logs())
    return verdict


def figures(runs: Sequence[Run], tasks: Sequence[dict[str, Any]], frozen: set[int]) -> dict[str, int]:
    """How many frozen writers had something to offer, and how many of them were heard."""
    lost = {(task["id"], attempt["number"]) for task in tasks for attempt in task["attempts"] if attempt["outcome"] == "lost"}
    zombies = [run for run in runs if (run.id, run.attempt) in lost and {run.pid, run.worker} & frozen]
    results = {task["id"]: task.get("result") for task in tasks}
    return {
        "had an outcome to offer": sum(run.ended is not None and not run.stopped for run in zombies),
        "accepted": sum(results[run.id] == [run.attempt, run.pid] for run in zombies),
    }


class Rounds:
    """One freeze after another, of the worker that has the most in flight."""

    def __init__(self, plan: Plan, deployment: Deployment, client: Client) -> None:
        self._plan = plan
        self._deployment = deployment
        self._client = client
        self._journal = Journal(deployment.folder / "history.jsonl")
        self._ledger = deployment.folder / "ledger"
        self.writers = 0

    def one(self, number: int) -> None:
        """Every other time the worker's children go on, and end while nobody hears them."""
        whole = number % 2 == 0
        ids = self._submit(number)
        until(lambda: len({run.id for run in self._runs(ids)}) == len(ids), TAKEN_OVER, "all have started")
        begun = time.time()
        process = self._holder(ids)
        self._freeze(process, ids, whole=whole)
        until(lambda: self._is_awake(process), TAKEN_OVER, f"{process.log.stem} is at work again")
        Path(self._gate(number)).touch()
        until(lambda: not {task["status"] for task in self._tasks(number)} - FINAL, TAKEN_OVER, "all of the round have ended")
        pids = [process.pid, *(child.pid for child in process.children())]
        kind = "freeze worker" if whole else "freeze worker alone"
        self._journal.write("fault", begun, kind=kind, pids=pids, hits=[process.log.stem], over=time.time(), at=begun)

    def _submit(self, number: int) -> list[str]:
        """Types in turn; some are to run still when the frozen one wakes."""
        tasks = [
            {
                "type": {0: "waits_alone", 1: "waits_in_a_thread"}.get(place % 10, "waits"),
                "payload": {"seconds": FIRST, "again": self._gate(number) if place % 5 == 2 else ""},
                "tags": [f"{number}/{place}", f"round-{number}"],
            }
            for place in range(self._plan.at_once)
        ]
        begun = time.time()
        answer = self._client.http.post("/tasks/batch", json={"tasks": tasks})
        assert answer.status_code == 202, answer.text
        ids = [task["id"] for task in answer.json()["tasks"]]
        self._journal.write("submit", begun, how="ok", keys=[task["tags"][0] for task in tasks], ids=ids)
        return ids

    def _freeze(self, process: Process, ids: Sequence[str], *, whole: bool) -> None:
        for _ in range(TURNS):
            begun = time.monotonic()
            with frozen(process, children=whole):
                if self._somebody_writes():
                    hit = [run.id for run in self._runs(ids) if run.worker == process.pid and run.ended is None]
                    self.writers += len(hit)
                    self._done_again(hit, process)
                    time.sleep(max(0.0, begun + FIRST - time.monotonic()))  # so that the frozen handlers are over as well
                    self._look(ids)
                    return
        raise AssertionError(f"whenever {process.log.stem} was frozen, nobody could write")

    def _somebody_writes(self) -> bool:
        """False if the frozen one had the turn."""
        return self._client.http.delete("/queues/nobody/pause").status_code != 503

    def _is_awake(self, process: Process) -> bool:
        """Whether it has been heard of since it was frozen for longer than a lease."""
        return any(
            worker["pid"] == process.pid and worker["heartbeat_age"] < self._plan.lease / 2
            for worker in self._client.get("/workers")["workers"]
        )

    def _gate(self, number: int) -> str:
        """The file for which second attempts wait that are to run still when the frozen one wakes."""
        return str(self._deployment.folder / f"gate-{number}")

    def _done_again(self, ids: Sequence[str], process: Process) -> None:
        """Each of these has been started by another, and has ended there unless it is to go on."""

        def left() -> list[str]:
            again = [run for run in self._runs(ids) if run.worker != process.pid]
            started, ended = {run.id for run in again}, {run.id for run in again if run.ended is not None}
            return [
                task["id"]
                for task in self._look(ids)
                if task["id"] not in started or (task["id"] in ended and task["status"] not in FINAL)
            ]

        until(lambda: not left(), TAKEN_OVER, f"all that {process.log.stem} had is done again")

    def _look(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for id in ids:
            begun = time.time()
            found.append(self._client.get(f"/tasks/{id}"))
            self._journal.write("look", begun, how="ok", task=found[-1])
        return found

    def _tasks(self, number: int) -> list[dict[str, Any]]:
        return self._client.every(tag=f"round-{number}")

    def _runs(self, ids: Sequence[str]) -> list[Run]:
        mine = set(ids)
        text = self._ledger.read_text() if self._ledger.exists() else ""
        whole = text.rpartition("\n")[0]  # the last line may not be written yet
        return [run for run in runs(whole.splitlines()) if run.id in mine]

    def _holder(self, ids: Sequence[str]) -> Process:
        """The worker with the most of these in flight."""
        counts = Counter(run.worker for run in self._runs(ids) if run.ended is None)
        ((pid, _),) = counts.most_common(1)
        return next(process for process in self._deployment.workers if process.pid == pid)
