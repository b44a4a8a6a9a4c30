"""A storm: clients that load a deployment, a nemesis that breaks it, rest, and a verdict."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.blackbox.client import FINAL, Client
from tests.faults.deployment import Deployment
from tests.faults.judge import MAX_LOSSES, Verdict, judge
from tests.faults.load import Load
from tests.faults.nemesis import Nemesis
from tests.faults.records import Journal, read, write_lines

AT_REST = 120.0  # seconds in which all that was taken up has ended, once nothing is broken any more

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How a storm is made. The same plan again makes the same choices, though not at the same microsecond."""

    store: str
    seed: int
    faults: int
    tasks: int
    lease: float = 2.0  # seconds
    servers: tuple[int, ...] = (0, 3)  # slots of each
    workers: tuple[int, ...] = (4, 4)
    kinds: tuple[str, ...] = ()  # of faults; all if not given
    mutant: str | None = None
    durable: bool = True  # the store keeps what it has; only a test of the checker has another one
    within: float = 3_600.0  # seconds until it is called off


def storm(plan: Plan, folder: Path, say: Say = lambda _: None) -> Verdict:
    """Make it, in an empty folder that keeps the records, and judge it."""
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    options = ("--max-losses", str(MAX_LOSSES))
    deployment = Deployment(
        folder, plan.store, servers=plan.servers, workers=plan.workers, lease=plan.lease, options=options, mutant=plan.mutant,
        durable=plan.durable,
    )  # fmt: skip
    with deployment:
        journal = Journal(folder / "history.jsonl")
        load = Load(deployment.urls, journal, seed=plan.seed).start()
        try:
            struck = _strike(plan, deployment, load, journal, say)
        finally:
            load.stop()
        say(f"{struck}; {load.submitted} tasks submitted; waiting for rest")
        for what in load.wrong:
            journal.write("wrong", time.time(), what=what)
        come_to_rest(deployment, folder)
    verdict = judge(read(folder))
    verdict.figures["tracebacks"] = tracebacks(deployment)
    return verdict


def _strike(plan: Plan, deployment: Deployment, load: Load, journal: Journal, say: Say) -> dict[str, int]:
    """Fault after fault, while as many tasks are submitted as is their share."""
    chance, deadline = random.Random(plan.seed), time.monotonic() + plan.within
    nemesis = Nemesis(deployment, journal, chance, lease=plan.lease, cancel=load.cancel_now, kinds=plan.kinds)
    done = allowed = 0
    while done < plan.faults:
        share = min(plan.tasks, -(-plan.tasks * (done + 1) // plan.faults)) - allowed
        load.allow(share)
        allowed += share
        done += nemesis.strike()
        if done % 25 < 2:
            say(f"{done} faults, {load.submitted} tasks")
        assert time.monotonic() < deadline, f"the storm takes longer than {plan.within:g} s: {done} faults"
    return dict(nemesis.struck)


def come_to_rest(deployment: Deployment, folder: Path, within: float = AT_REST) -> None:
    """Wait until every task has ended, or it is clear that they do not; then write down what there is."""
    with deployment.client() as client:
        _wait(client, within)
        write_lines(folder / "tasks.jsonl", client.every(view="full"))
        write_lines(folder / "queues.jsonl", client.get("/queues")["queues"])
    write_lines(folder / "events.jsonl", deployment.events())


def _wait(client: Client, within: float) -> None:
    deadline = time.monotonic() + within
    while client.counts().keys() - FINAL and time.monotonic() < deadline:
        time.sleep(0.1)


def tracebacks(deployment: Deployment) -> dict[str, int]:
    """By their last lines, how often a process of dolgo has logged one. No fault here is a reason for one."""
    found: dict[str, int] = {}
    for _, text in deployment.logs():
        for part in text.split("Traceback (most recent call last):")[1:]:
            last = next((line for line in part.splitlines() if line and not line.startswith((" ", "\t"))), "")
            found[last[:160]] = found.get(last[:160], 0) + 1
    return found


def shown(verdict: Verdict) -> dict[str, Any]:
    """For people: the figures, and the first of what is wrong."""
    return {**verdict.figures, "wrong": {name: [*found[:5], f"{len(found)} in all"] for name, found in verdict.wrong.items()}}
