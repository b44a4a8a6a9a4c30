"""Who breaks things: one fault after another, chosen by a seed, and everything set going again after each."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.blackbox.server import Child, Process
from tests.faults.deployment import Deployment
from tests.faults.records import Journal, runs

QUIET = (0.1, 0.9)  # seconds between two faults
OVER = 1.2  # leases a freeze lasts, so that others take over

# How often each fault is chosen. Those of the store need one that is a process.
WEIGHTS = {
    "kill worker": 6, "kill server": 4, "kill child": 6, "kill all": 1, "cancel and kill": 2,
    "freeze worker": 2, "freeze worker alone": 2, "freeze server": 1,
    "kill store": 4, "freeze store": 1,
}  # fmt: skip
OF_THE_STORE = frozenset({"kill store", "freeze store"})


@dataclass
class Hit:
    """What a fault has hit so far."""

    begun: float = field(default_factory=time.time)
    at: float = 0.0  # when it was done, where something else came first; to find the children takes a moment as well
    over: float = 0.0
    pids: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def add(self, process: Process) -> list[Child]:
        """The processes below it."""
        below = process.children() if process.running else []
        self.pids |= {process.pid, *(child.pid for child in below)}
        self.names.add(process.log.stem)
        return below


class Nemesis:
    """Strikes a deployment. `cancel` is asked to cancel tasks whose worker is about to be killed."""

    def __init__(
        self,
        deployment: Deployment,
        journal: Journal,
        chance: random.Random,
        *,
        lease: float,
        cancel: Callable[[Sequence[str]], None],
        kinds: Sequence[str] = (),
    ) -> None:
        self._deployment = deployment
        self._journal = journal
        self._chance = chance
        self._lease = lease
        self._cancel = cancel
        there = [kind for kind in kinds or WEIGHTS if deployment.keeper or kind not in OF_THE_STORE]
        self._kinds, self._weights = there, [WEIGHTS[kind] for kind in there]
        self._ways: dict[str, Callable[[Hit], None]] = {
            "kill worker": lambda hit: self._kill(hit, [self._runner()]),
            "kill server": lambda hit: self._kill(hit, [self._server()]),
            "kill child": self._kill_child,
            "kill all": lambda hit: self._kill(hit, [*deployment.processes, *([deployment.keeper] if deployment.keeper else [])]),
            "cancel and kill": self._cancel_and_kill,
            "freeze worker": lambda hit: self._freeze(hit, self._runner(), children=True),
            "freeze worker alone": lambda hit: self._freeze(hit, self._runner()),
            "freeze server": lambda hit: self._freeze(hit, self._server(), children=True),
            "kill store": lambda hit: self._kill(hit, [deployment.keeper] if deployment.keeper else []),
            "freeze store": lambda hit: self._freeze(hit, deployment.keeper) if deployment.keeper else None,
        }
        self.struck: Counter[str] = Counter()

    def strike(self) -> int:
        """One fault, or two at a time; returns when all runs again. How many."""
        time.sleep(self._chance.uniform(*QUIET))  # the moment is what chance is to choose
        number = self._chance.choice((1, 1, 2))
        kinds = self._chance.choices(self._kinds, self._weights, k=number)
        hits = [self._one(kind) for kind in kinds]
        self._start_again()
        for kind, hit in zip(kinds, hits, strict=True):
            over, at = hit.over or time.time(), hit.at or hit.begun
            self._journal.write("fault", hit.begun, kind=kind, pids=sorted(hit.pids), hits=sorted(hit.names), over=over, at=at)
        return number

    def _start_again(self) -> None:
        """Returns when all are ready. Whoever does not run now has ended by itself, which is wrong."""
        for process in self._deployment.processes:
            if not process.running:
                self._journal.write("wrong", time.time(), what=f"{process.log.stem} ended by itself with {process.wait()}")
                process.start()
        self._deployment.wait_ready()

    def _one(self, kind: str) -> Hit:
        hit = Hit()
        self._ways[kind](hit)
        self.struck[kind] += 1
        return hit

    def _runner(self) -> Process:
        return self._chance.choice(self._deployment.runners)

    def _server(self) -> Process:
        return self._chance.choice(self._deployment.servers)

    def _kill(self, hit: Hit, processes: Sequence[Process]) -> None:
        """Each at once, its children with it or left to end by themselves; and at once started again."""
        killed = [process for process in processes if process.running]
        for process in killed:
            hit.add(process)
        hit.at = time.time()
        for process in killed:
            process.kill(children=self._chance.random() < 0.5)
        for process in killed:
            process.wait()
            process.start()

    def _kill_child(self, hit: Hit) -> None:
        """One child, of any worker; nothing else is hit."""
        process = self._runner()
        below = process.children() if process.running else []
        if below:
            child = self._chance.choice(below)
            hit.pids.add(child.pid)
            hit.names.add(process.log.stem)
            hit.at = time.time()
            child.kill()
        hit.over = time.time()

    def _cancel_and_kill(self, hit: Hit) -> None:
        """What it runs is cancelled, and before it can hear of that it is dead: nobody may run these tasks again."""
        process = self._runner()
        if not process.running:
            return
        hit.add(process)
        with frozen(process, children=True):
            self._cancel(sorted(self._run_by(process)))
            hit.at = time.time()
            process.kill(children=True)
        process.wait()
        process.start()

    def _run_by(self, process: Process) -> set[str]:
        """Ids of the tasks that handlers of this worker have started and not ended."""
        path: Path = self._deployment.folder / "ledger"
        written = path.read_text().splitlines() if path.exists() else []
        return {run.id for run in runs(written) if run.worker == process.pid and run.ended is None}

    def _freeze(self, hit: Hit, process: Process, *, children: bool = False) -> None:
        """For longer than a lease; then it goes on as if nothing had been."""
        if process.running:
            hit.add(process)
            with frozen(process, children=children):
                time.sleep(self._lease * OVER + self._chance.uniform(0.0, 0.5))
        hit.over = time.time()


@contextmanager
def frozen(process: Process, *, children: bool = False) -> Iterator[None]:
    """It does nothing, as long as the block lasts."""
    process.kill(signal.SIGSTOP, children=children)
    try:
        yield
    finally:
        process.kill(signal.SIGCONT, children=children)
