"""`python -m bench.soak`: tasks at a steady rate on PostgreSQL for a quarter of an hour, and how tables and dead rows go.

A server without slots is fed by batches, one worker runs what comes, and finished tasks are pruned soon, so rows are deleted as
fast as they come. A task ends well if its line stands in the ledger once: a run with a task too few or too many is invalid.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import machine, usage
from bench.errors import Invalid
from bench.figures import number
from bench.peers import on_postgres
from bench.peers.outcome import delivered
from bench.peers.own_run import TYPES
from bench.place import Place, folder, place
from bench.scale import SLOTS
from bench.service import STALLED, Service, serving
from tests.blackbox.server import Worker

LATEST = Path(__file__).with_name("soak.json")
SHOWN = 20  # lines of the table, at most
TABLES = """
SELECT relname, n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid), autovacuum_count
FROM pg_stat_user_tables ORDER BY relname
"""


class Size(Struct, frozen=True):
    """A table, as PostgreSQL's own statistics have it."""

    live: int  # rows
    dead: int
    bytes: int
    index_bytes: int
    vacuums: int  # that came by themselves


class Sample(Struct, frozen=True):
    """A look."""

    seconds: float  # since the beginning
    submitted: int
    begun: int
    cpu: float  # seconds the worker has used
    tables: dict[str, Size]


class Soaked(Struct, frozen=True):
    """What came of a run."""

    facts: dict[str, object]
    samples: list[Sample]


class Feed(threading.Thread):
    """Submits numbered tasks at a steady rate until told to stop."""

    BATCH = 100

    def __init__(self, service: Service, rate: float) -> None:
        super().__init__(daemon=True)
        self.submitted = 0
        self.late = 0.0  # seconds behind, at worst
        self._service, self._rate = service, rate
        self._end = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        began = time.monotonic()
        try:
            while not self._end.wait(max(0.0, began + self.submitted / self._rate - time.monotonic())):
                self.late = max(self.late, time.monotonic() - began - self.submitted / self._rate)
                numbers = range(self.submitted, self.submitted + self.BATCH)
                self._service.submit([{"type": "nothing", "payload": {"n": n}} for n in numbers], batch=self.BATCH)
                self.submitted += self.BATCH
        except Exception as error:  # told to whoever looks next: a thread has no caller
            self._error = error

    def check(self) -> None:
        """Raises Invalid if it broke."""
        if self._error is not None:
            raise Invalid(f"tasks could not be submitted: {self._error!r}")

    def end(self) -> int:
        """How many were submitted, once no more will be."""
        self._end.set()
        self.join()
        self.check()
        return self.submitted


class Ledger:
    """The file that handlers write a line to; read as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._lines = 0

    def lines(self) -> int:
        """How many there are."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._lines += new.count(b"\n")
        return self._lines


class Soak:
    """A run on a server that stands."""

    def __init__(self, server: on_postgres.OnPostgres, home: Path, *, rate: float, keep: float) -> None:
        self._server, self._rate, self._keep = server, rate, keep
        self._ledger = Ledger(home / "ledger")

    def run(self, seconds: float, every: float, console: Console) -> list[Sample]:
        """A sample each so many seconds, and one when all is done. Raises Invalid unless each task was begun once."""
        samples: list[Sample] = []
        keep = ("--keep", str(self._keep))
        with place(self._server.url) as here, serving(here, *keep, slots=0) as service, self._worker(here) as worker:
            began, feed = time.monotonic(), Feed(service, self._rate)
            feed.start()
            while time.monotonic() < began + seconds:
                time.sleep(every)
                feed.check()
                samples.append(self._look(began, feed, worker))
                console.print(f"[dim]{' · '.join(_cells(samples[-1], samples[-2] if samples[1:] else None))}")
            tasks = feed.end()
            self._until_begun(tasks)
            samples.append(self._look(began, feed, worker))
        console.print(f"[dim]{tasks:,} submitted, {feed.late:.2f} s behind at worst")
        seen = delivered(self._ledger.path, tasks, without_result=0)
        if not seen.exact:
            raise Invalid(f"tasks were not begun once each: {seen}")
        return samples

    def _worker(self, here: Place) -> Worker:
        options = ("--store", here.store, "--slots", str(SLOTS), "--tasks", str(TYPES), "--queues", "default")
        return Worker(here.folder, *options, environ={"BENCH_LEDGER": str(self._ledger.path)}).ready()

    def _look(self, began: float, feed: Feed, worker: Worker) -> Sample:
        lines = [line.split("|") for line in self._server.inside(TABLES).splitlines()]
        tables = {name: Size(*map(int, words)) for name, *words in lines}
        return Sample(time.monotonic() - began, feed.submitted, self._ledger.lines(), usage.cpu(worker), tables)

    def _until_begun(self, tasks: int) -> None:
        seen, since = self._ledger.lines(), time.monotonic()
        while seen < tasks:
            time.sleep(0.05)
            now = self._ledger.lines()
            since = time.monotonic() if now > seen else since
            seen = now
            if time.monotonic() > since + STALLED:
                raise Invalid(f"{tasks - seen} of {tasks} tasks are missing")


HEADS = ("minute", "done/s", "wait", "CPU a task", "`task` MiB", "dead", "vacuums", "all MiB", "dead in all")


def _cells(now: Sample, before: Sample | None) -> tuple[str, ...]:
    """A line of the table; rates are those since the sample before."""
    since = before or Sample(0.0, 0, 0, 0.0, {})
    done, took, task = now.begun - since.begun, now.seconds - since.seconds, now.tables["task"]
    return (
        f"{now.seconds / 60:.1f}",
        number(done / took),
        f"{now.submitted - now.begun:,}",
        f"{number((now.cpu - since.cpu) / done * 1e6)} µs" if done else "",
        _mib([task]),
        f"{task.dead:,}",
        f"{task.vacuums:,}",
        _mib(list(now.tables.values())),
        f"{sum(size.dead for size in now.tables.values()):,}",
    )


def _mib(sizes: list[Size]) -> str:
    return f"{sum(size.bytes + size.index_bytes for size in sizes) / 2**20:,.1f}"


def lines(samples: list[Sample]) -> list[tuple[str, ...]]:
    """The table's lines: some of the samples, the last among them."""
    step = -(-len(samples) // SHOWN)
    some = [samples[n] for n in range(len(samples) - 1, -1, -step)][::-1]
    return [_cells(now, before) for now, before in zip(some, [None, *some], strict=False)]


def main() -> int:
    """Soak, print, write; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    options = _options().parse_args()
    seconds, every = (10.0, 2.0) if options.quick else (options.minutes * 60, options.every)
    talk = Console(stderr=True, highlight=False)
    facts = {
        **machine.facts(),
        "rate": options.rate,
        "keep": options.keep,
        "seconds": seconds,
        "began": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }
    try:
        with folder() as home, on_postgres.running(home, "on") as server:
            facts.update(server.versions)
            samples = Soak(server, home, rate=options.rate, keep=options.keep).run(seconds, every, talk)
    except Invalid as error:
        talk.print(f"[red]The run is invalid:[/] {error}.")
        return 1
    table = Table(*HEADS, title=f"{options.rate:,.0f} tasks a second, kept for {options.keep:g} s", title_justify="left")
    for cells in lines(samples):
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    options.out.write_bytes(msgspec.json.format(msgspec.json.encode(Soaked(facts, samples)), indent=2) + b"\n")
    talk.print(f"[dim]written to {options.out}")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Run dolgo on PostgreSQL for long.")
    parser.add_argument("--minutes", type=float, default=15.0, help="default: 15")
    parser.add_argument("--rate", type=float, default=1_000.0, help="tasks a second; default: 1,000")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two looks; default: 15")
    parser.add_argument("--keep", type=float, default=60.0, help="seconds a finished task is kept; default: 60")
    parser.add_argument("--quick", action="store_true", help="ten seconds: whether it works, not how it goes")
    parser.add_argument("--out", type=Path, default=LATEST, help="default: bench/soak.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
