"""One peer on an empty server: enqueued, drained, left idle, killed. dolgo's turn is in own_run.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench import usage
from bench.errors import Invalid
from bench.peers import venvs
from bench.peers.broker import Broker
from bench.peers.catalogue import Peer
from bench.peers.cores import on_its_core
from bench.peers.outcome import Crash, Delivery, Run, delivered
from bench.peers.scale import Scale
from tests.blackbox.server import Process

ADAPTERS = Path(__file__).with_name("adapters")
PATIENCE = 30.0  # seconds without a result, after which no more is expected
BOUND = 600.0  # seconds for one command of an adapter


class Bench:
    """A peer, ready to be measured: its environment, its facts, and a folder for ledger and logs."""

    def __init__(self, peer: Peer, broker: Broker, place: Path, *, environ: dict[str, str] | None = None) -> None:
        self.name = peer.name
        self._adapter = f"{peer.adapter}_peer"
        self._bin = venvs.HOME / peer.adapter / "bin"
        self._broker = broker
        self._place = place
        self._ledger = place / "ledger"
        files = {"BENCH_LEDGER": str(self._ledger), "BENCH_IDS": str(place / "ids"), "BENCH_STORE": broker.url}
        if peer.rabbit:
            files["BENCH_AMQP"] = broker.beside("amqp")
        path = {"PYTHONPATH": str(ADAPTERS), "PATH": f"{self._bin}:{os.environ['PATH']}"}
        self._environ = {**os.environ, **path, **peer.environ, **(environ or {}), **files}
        self.facts = self._ask("facts")

    def run(self, tasks: int, scale: Scale) -> Run:
        """Enqueue each way on an emptied server; then fill it anew, drain it and idle."""
        enqueue = self._alone("one", scale.enqueued)
        bulk = self._alone("bulk", scale.enqueued) if self.facts["bulk"] else None
        self._fresh()
        self._enqueue(self.facts["fill"], tasks)
        with self._watching(tasks, tasks, PATIENCE) as watch, self._worker() as worker:
            drain, cpu = _drained(watch, worker, tasks)
            idle = idleness(self._broker, scale)
        delivery = self._delivery(tasks)
        return Run(tasks, enqueue, drain, cpu, idle, delivery, bulk)

    def crash(self, tasks: int, patience: float) -> Crash:
        """Kill the worker and all its children when a third is done, and the next at two thirds; see what becomes of the rest."""
        self._fresh()
        self._enqueue(self.facts["fill"], tasks)
        finished = []
        for enough in (tasks // 3, tasks * 2 // 3):
            with self._watching(tasks, enough, patience) as watch, self._worker() as worker:
                finished.append(_until(watch, "end")["finished"])
                worker.kill(signal.SIGKILL, children=True)
        with self._watching(tasks, tasks, patience) as watch, self._worker():
            began = time.monotonic()
            ended = _until(watch, "end")["time"]
        return Crash(self._delivery(tasks), finished, ended - began)

    def _fresh(self) -> None:
        self._broker.empty()
        self._ledger.unlink(missing_ok=True)
        if self.facts["prepares"]:
            self._ask("prepare")

    def _enqueue(self, way: str, tasks: int) -> float:
        told = self._ask("enqueue", way, str(tasks))
        return float(told["tasks"] / told["seconds"])

    def _alone(self, way: str, tasks: int) -> float:
        """Tasks enqueued a second, which nobody runs."""
        self._fresh()
        return self._enqueue(way, tasks)

    def _delivery(self, tasks: int) -> Delivery:
        told = self._ask("check")
        return delivered(self._ledger, tasks, without_result=told["missing"] + told["wrong"])

    def _command(self, *words: str) -> list[str]:
        return [str(self._bin / "python"), str(ADAPTERS / "ask.py"), self._adapter, *words]

    def _ask(self, *words: str) -> dict[str, Any]:
        ran = subprocess.run(
            self._command(*words), env=self._environ, cwd=self._place, capture_output=True, text=True, timeout=BOUND, check=False
        )
        if ran.returncode:
            raise Invalid(f"{self.name}: {' '.join(words)} failed: {ran.stderr[-2000:]}")
        told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return told

    def _worker(self) -> Process:
        """Its worker, started on its core; it is ended with the context."""
        environ = {**self._environ, **self.facts["environ"]}
        return Process(on_its_core(self.facts["worker"]), self._place, ready="", name=self.name, environ=environ).ready()

    @contextlib.contextmanager
    def _watching(self, tasks: int, enough: int, patience: float) -> Iterator[IO[str]]:
        """What the adapter says of the store, line by line, once it looks at it."""
        argv = self._command("watch", str(tasks), str(enough), str(patience))
        with subprocess.Popen(argv, env=self._environ, cwd=self._place, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                _until(process.stdout, "looking")
                yield process.stdout
            finally:
                process.kill()


def idleness(broker: Broker, scale: Scale) -> float:
    """What a second brings of commands or statements from a worker without work."""
    time.sleep(scale.settle_seconds)
    return broker.asked(scale.idle_seconds)


def _until(watch: IO[str], event: str) -> dict[str, Any]:
    for line in watch:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == event:
            return told
    raise Invalid(f"the store was watched, and {event!r} was not seen")


def _drained(watch: IO[str], worker: Process, tasks: int) -> tuple[float, float]:
    """Tasks a second and CPU seconds a task, from the first result in the store to the last."""
    first = _until(watch, "first")
    used = usage.cpu(worker)
    end = _until(watch, "end")
    used = usage.cpu(worker) - used
    counted = end["finished"] - first["finished"]
    if end["finished"] < tasks or counted <= 0:
        raise Invalid(f"{end['finished']} of {tasks} results came into the store")
    return counted / (end["time"] - first["time"]), used / counted
