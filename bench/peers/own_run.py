"""dolgo's turn: filled over HTTP, drained by one `dolgo worker` on its core, left idle, killed; and what its HTTP clients see."""

from __future__ import annotations

import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

from msgspec import Struct

import dolgo
from bench import load, usage
from bench.errors import Invalid
from bench.peers.broker import Broker
from bench.peers.cores import on_its_core
from bench.peers.outcome import Crash, Run, delivered
from bench.peers.peer_run import idleness
from bench.peers.scale import PAUSE, Scale
from bench.place import Place, place
from bench.scale import CONNECTIONS, SLOTS
from bench.service import Service, serving
from tests.blackbox.server import Worker

TYPES = Path(__file__).with_name("types")
BATCH = 1_000  # tasks a request holds where it holds many
LEASE = 5.0  # seconds, where a worker is killed


class Web(Struct):
    """What clients over HTTP saw. Rates a second, times in seconds."""

    submit: float  # 32 connections, nothing is run
    done: float  # submitted and waited for, 32 connections
    done_p50: float  # the same, one connection
    done_p99: float


class Own:
    """dolgo on a store, with a broker of messages if one is named."""

    def __init__(self, broker: Broker, folder: Path, queue: str | None = None) -> None:
        self._broker = broker
        self._queue = ("--queue", broker.beside(queue)) if queue else ()
        self._ledger = folder / "ledger"
        self.facts = {
            "versions": {"dolgo": dolgo.__version__},
            "worker": ["dolgo", "worker", "--slots", str(SLOTS)],
            "settings": {f"--slots {SLOTS}": "tasks at a time", f"batches of {BATCH:,}": "the bulk way: POST /tasks/batch"},
            "bulk": "POST /tasks/batch",
            "after_a_kill": "its tasks run again: at once if the worker was on this machine, else when its lease ends",
        }

    def run(self, tasks: int, scale: Scale) -> Run:
        """Submitted one by one over one connection; then filled by batches, drained and left idle."""
        one = self._one(scale)
        with self._fresh() as here:
            with self._serving(here) as service, self._worker(here) as worker:
                service.pause()
                began = time.perf_counter()
                service.fill(tasks, batch=BATCH)
                bulk = tasks / (time.perf_counter() - began)
                used = usage.cpu(worker)
                service.resume()
                service.until_done(tasks)
                cpu = (usage.cpu(worker) - used) / tasks
                began, ended = service.check(tasks)
            with self._worker(here):
                idle = idleness(self._broker, scale)
        delivery = delivered(self._ledger, tasks, without_result=0)  # `check` has seen every result
        return Run(tasks, one, tasks / (ended - began), cpu, idle, delivery, bulk)

    def crash(self, tasks: int, patience: float) -> Crash:
        """Kill the worker and all its children when a third is done, and the next at two thirds; see what becomes of the rest."""
        with self._fresh() as here, self._serving(here) as service:
            service.fill(tasks, batch=BATCH)
            finished = []
            for enough in (tasks // 3, tasks * 2 // 3):
                with self._dying(here) as worker:
                    service.until_done(enough)
                    worker.kill(signal.SIGKILL, children=True)
                    finished.append(service.done())
            began = time.monotonic()
            with self._dying(here):
                done = _all_or_what_there_is(service, tasks)
                seconds = time.monotonic() - began
        return Crash(delivered(self._ledger, tasks, without_result=tasks - done), finished, seconds)

    def web(self, scale: Scale) -> Web:
        """Load over HTTP: on a server without workers, then on one beside a worker."""
        with self._fresh() as here, self._serving(here) as service:
            submit = load.submit(service.url, connections=CONNECTIONS, seconds=scale.seconds)
        with self._fresh() as here, self._serving(here) as service, self._worker(here):
            one = load.submit_and_wait(service.url, connections=1, seconds=max(1, scale.seconds / 2))
            many = load.submit_and_wait(service.url, connections=CONNECTIONS, seconds=max(1, scale.seconds / 2))
        return Web(submit.rate, many.rate, one.p50, one.p99)

    def _one(self, scale: Scale) -> float:
        with self._fresh() as here, self._serving(here) as service:
            return load.submit(service.url, connections=1, seconds=max(1, scale.seconds / 4)).rate

    def _fresh(self) -> AbstractContextManager[Place]:
        self._broker.empty()
        self._ledger.unlink(missing_ok=True)
        return place(self._broker.url)

    def _serving(self, here: Place) -> AbstractContextManager[Service]:
        return serving(here, *self._queue, slots=0)

    def _dying(self, here: Place) -> Worker:
        """A worker whose tasks take a while, and whose lease is short."""
        return self._worker(here, "--lease", str(LEASE), BENCH_PAUSE=str(PAUSE))

    def _worker(self, here: Place, *options: str, **environ: str) -> Worker:
        """A worker on its core, ready; it is ended with the context."""
        usual = ("--store", here.store, "--slots", str(SLOTS), "--tasks", str(TYPES), "--queues", "default", *self._queue)
        worker = Worker(here.folder, *usual, *options, environ={"BENCH_LEDGER": str(self._ledger), **environ})
        worker.argv = on_its_core(worker.argv)
        return worker.ready()


def _all_or_what_there_is(service: Service, tasks: int) -> int:
    """How many are done, once all are or nothing goes on."""
    try:
        service.until_done(tasks)
    except Invalid:
        pass  # the run is not invalid: how many are missing is what is measured
    return service.done()
