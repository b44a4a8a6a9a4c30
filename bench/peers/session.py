"""A whole run: lane by lane, the names in a new random order in each repeat."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct, field

from bench import machine
from bench.errors import Invalid
from bench.peers.broker import Broker
from bench.peers.catalogue import PEERS
from bench.peers.cores import CORES, on_its_core
from bench.peers.outcome import Crash, Run
from bench.peers.own_run import Own, Web
from bench.peers.peer_run import Bench
from bench.peers.places import OWN, PLACES, Where
from bench.peers.scale import PAUSE, RECOVERY, WARM_SECONDS, WARM_UP, Scale
from bench.place import folder

Say = Callable[[str], None]


class Plan(Struct, frozen=True):
    """What is measured."""

    names: tuple[str, ...]
    lanes: tuple[str, ...]
    scale: Scale
    crash: bool
    on: str = "redis"

    @property
    def where(self) -> Where:
        return PLACES[self.on]


class Floor(Struct):
    """What the server could do at all, a second."""

    tasks: int
    submit: float
    drain: float
    set: float  # the plainest write
    right: int  # tasks that ended as they should


class Line(Struct):
    """All of one name in one lane."""

    name: str
    facts: dict[str, object]
    runs: list[Run] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    web: list[Web] = field(default_factory=list)
    crash: Crash | None = None
    invalid: list[str] = field(default_factory=list)  # what was wrong with runs, which then count for nothing


class Measured(Struct):
    """What came of a run."""

    facts: dict[str, object]
    lanes: dict[str, list[Line]]
    on: str = "redis"


def chosen(scale: Scale, repeats: int | None, tasks: int | None) -> Scale:
    """The scale, with what was asked for on the command line."""
    asked = {name: value for name, value in (("repeats", repeats), ("tasks", tasks)) if value is not None}
    return msgspec.structs.replace(scale, **asked)


def measure(plan: Plan, say: Say) -> Measured:
    """Every lane. All but the first are for the floor, dolgo, and the best of the peers that lost nothing when killed."""
    facts = {
        **machine.facts(),
        "cores": len(CORES),
        "scale": msgspec.to_builtins(plan.scale),
        "began": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }
    lanes: dict[str, list[Line]] = {}
    for lane in plan.lanes:
        names = plan.names
        if lanes:
            kept = {"floor", *OWN, best_safe(next(iter(lanes.values())))}
            names = tuple(name for name in names if name in kept)
        with folder() as place, plan.where.running(place, lane) as broker:
            shown = f"{plan.where.lane_is} {lane}"
            lanes[lane] = Lane(names, plan, broker, place, lambda step, shown=shown: say(f"{shown}: {step}")).measure()
            facts.update(broker.versions)
    return Measured(facts, lanes, plan.on)


def best_safe(lines: list[Line]) -> str | None:
    """The peer with the highest drain among those that lost nothing; None if none was killed or all lost something."""
    safe = [line for line in lines if line.name in PEERS and line.runs and line.crash and not line.crash.delivery.without_result]
    return max(safe, key=lambda line: max(run.drain for run in line.runs)).name if safe else None


class Lane:
    """One server, and who is measured on it."""

    def __init__(self, names: tuple[str, ...], plan: Plan, broker: Broker, place: Path, say: Say) -> None:
        self._plan, self._broker, self._place, self._say = plan, broker, place, say
        self._names = list(names)
        self._tasks: dict[str, int] = {}

    def measure(self) -> list[Line]:
        """Each once to warm up, then all in a random order in each repeat, then the kills."""
        lines = {name: Line(name, {}) for name in self._names}
        for name in self._names:
            self._try(lines[name], f"{name}, warm-up", lambda line: self._warm_up(line))
        for repeat in range(self._plan.scale.repeats):
            for name in random.sample(self._names, len(self._names)):
                self._try(lines[name], f"{name}, {repeat + 1} of {self._plan.scale.repeats}", lambda line: self._once(line))
        for name in [name for name in self._names if self._plan.crash and name != "floor"]:
            self._try(lines[name], f"{name}, killed", lambda line: self._kill(line))
        return list(lines.values())

    def _try(self, line: Line, step: str, work: Callable[[Line], None]) -> None:
        """One that fails says so in its line, and does not end the run of the others."""
        self._say(step)
        try:
            work(line)
        except (Invalid, AssertionError, subprocess.SubprocessError) as error:
            self._say(f"{step}: invalid: {error}")
            line.invalid.append(f"{step}: {error}")

    def _warm_up(self, line: Line) -> None:
        least = self._plan.where.least
        if line.name == "floor":
            self._floor(least)
            return
        bench = self._bench(line.name)
        line.facts = bench.facts
        scale = msgspec.structs.replace(self._plan.scale, enqueued=WARM_UP, idle_seconds=0.1, settle_seconds=0)
        rate = bench.run(least, scale).drain
        if rate * WARM_SECONDS > least:  # so few tell too little of one so fast
            rate = bench.run(round(rate * WARM_SECONDS), scale).drain
        self._tasks[line.name] = max(least, self._plan.scale.tasks or int(round(rate * self._plan.scale.seconds, -2)))

    def _once(self, line: Line) -> None:
        if line.name == "floor":
            line.floors.append(self._floor(self._plan.scale.tasks or self._plan.where.floor_tasks))
            return
        bench = self._bench(line.name)
        run = bench.run(self._tasks.get(line.name, self._plan.where.least), self._plan.scale)
        if not run.delivery.exact:
            raise Invalid(f"tasks did not end as they should: {run.delivery}")
        line.runs.append(run)
        if isinstance(bench, Own):
            line.web.append(bench.web(self._plan.scale))

    def _kill(self, line: Line) -> None:
        scale = self._plan.scale
        bench = self._bench(line.name, BENCH_PAUSE=str(PAUSE), BENCH_RECOVERY=str(RECOVERY))
        crash = bench.crash(scale.crashed, scale.patience)
        if crash.finished_at_kill[-1] >= scale.crashed:
            raise Invalid("all was done before the worker was killed")
        line.crash = crash

    def _bench(self, name: str, **environ: str) -> Bench | Own:
        if name in OWN:
            return Own(self._broker, self._place, OWN[name])
        return Bench(PEERS[name], self._broker, self._place, environ=environ)

    def _floor(self, tasks: int) -> Floor:
        self._broker.empty()
        argv = on_its_core([sys.executable, "-m", self._plan.where.floor, self._broker.url, str(tasks)])
        root = Path(__file__).parents[2]
        ran = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=600, check=True)
        floor = msgspec.convert(json.loads(ran.stdout), Floor)
        if floor.right != tasks:
            raise Invalid(f"the plain loop ended {floor.right} of {tasks} tasks as they should")
        return floor
