"""A short life of a SQLite store, killed or failed at its n-th write, for every n: whatever was acknowledged is there.

python -m tests.faults.sweep [--faults kill,EIO,ENOSPC] [--keep FOLDER]

The life is `sweep_life`: it says when a step begins and when the store has acknowledged it. `strace` kills the process at the
n-th call of a kind, or lets that call fail. Then the file is read and must be as the same life without a fault left it: after the
last step that was acknowledged, or after the one that had begun. The numbers go up until a life ends before it makes such a call.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dolgo.store.sqlite import SqliteStore
from dolgo.task.types import FINAL, Query
from tests.faults.sweep_life import REFUSED, WORKER
from tests.store.build import done, submit, wants
from tests.store.clock import Clock

FAULTS = ("kill", "EIO", "ENOSPC")
CALLS = ("fdatasync", "pwrite64", "ftruncate", "unlink")  # all that SQLite changes its files with
PHASES = ("open", "live", "close")
KILLED = -9
NEVER = 60_000  # no phase makes so many calls, and `strace` can count so far
WITHIN = 60.0  # seconds for one life, which takes a fifth of one on a quiet machine
AT_ONCE = 2  # lives
TOGETHER = 16  # points, before it is asked whether there are more

# Tables as they must be after a step. Tokens are random, `gating` only tells other processes that something was changed.
_TABLES = {
    "task": "id, state, run_at, attempt, failures, losses, generation, worker, started_at, finished_at, result, length(payload)",
    "edge": "child, place, parent, open", "cascade": "*", "note": "*", "gate": "*", "record": "*",
    "event": "seq, id, line, state, attempt, kind", "line": "*", "keyed_line": "*",
}  # fmt: skip
_STATE = "SELECT id, state, attempt, failures, generation, result, length(payload) FROM task ORDER BY id"

_BROKEN = {
    "counts": """
        SELECT line.n FROM line LEFT JOIN task ON task.line = line.n GROUP BY line.n
        HAVING waiting <> sum(coalesce(state = 1, 0)) OR later <> sum(coalesce(state = 2, 0))
            OR ready <> sum(coalesce(state = 3, 0)) OR in_progress <> sum(coalesce(state = 4, 0))
            OR done <> sum(coalesce(state = 5, 0)) OR failed <> sum(coalesce(state = 6, 0))
            OR cancelled <> sum(coalesce(state = 7, 0))""",
    "waiting for nothing": """
        SELECT id FROM task WHERE state = 1 AND NOT EXISTS (
            SELECT 1 FROM edge JOIN task AS parent ON parent.id = edge.parent
            WHERE edge.child = task.n AND edge.open = 1
            AND (parent.state < 5 OR EXISTS (SELECT 1 FROM cascade WHERE cascade.parent = parent.id)))""",
    "released too early": "SELECT id FROM task JOIN edge ON child = task.n WHERE state <> 1 AND open = 1",
    "held without a token": "SELECT id FROM task WHERE state = 4 AND (token IS NULL OR lease_until IS NULL OR worker IS NULL)",
    "ended without a time": "SELECT id FROM task WHERE (state >= 5) <> (finished_at IS NOT NULL)",
    "another end than the log tells": """
        SELECT task.id FROM task JOIN event ON event.seq = (SELECT max(seq) FROM event WHERE id = task.id AND kind = 0)
        WHERE CASE task.state WHEN 2 THEN 3 ELSE task.state END <> CASE event.state WHEN 2 THEN 3 ELSE event.state END""",
    "a gap in the log": "SELECT max(seq) FROM event HAVING max(seq) - min(seq) + 1 <> count(*)",
}


@dataclass(frozen=True)
class Point:
    """Where a life is broken off, or which call fails."""

    phase: str
    fault: str
    call: str
    number: int
    burst: int = 1  # calls in a row that fail

    def __str__(self) -> str:
        more = f" and the {self.burst - 1} after it" if self.burst > 1 else ""
        return f"{self.phase}: {self.fault} at {self.call} {self.number}{more}"

    @property
    def injection(self) -> str:
        what = "signal=SIGKILL" if self.fault == "kill" else f"error={self.fault}"
        return f"inject={self.call}:{what}:when={self.number}..{self.number + self.burst - 1}"


@dataclass(frozen=True)
class Swept:
    """What came of some points."""

    points: int = 0
    recovered: int = 0  # the step under way was there without having been acknowledged, which is no fault
    wrong: list[str] = field(default_factory=list)


class Sweep:
    """The life without a fault, as a measure for all with one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = itertools.count()
        fresh, lived = folder / "fresh", folder / "lived"
        _run("open", _made(fresh))
        self._fresh = fresh
        shutil.copytree(fresh, lived)
        _run("model", lived)
        self._models = _models(lived / "model")
        self._lived = lived
        self._counts: dict[tuple[str, str], int] = {}

    def at(self, point: Point) -> tuple[bool, bool, list[str]]:
        """Whether the life came to this point; whether an unacknowledged step was there after it; what was wrong then."""
        folder = self._folder / f"{next(self._names)}"
        self._prepare(point.phase, folder)
        ran = subprocess.run(_traced(point, folder), capture_output=True, text=True, timeout=WITHIN, check=False)
        reached = ran.returncode == KILLED or "(INJECTED)" in (folder / "trace").read_text(errors="replace")
        if not reached and ran.returncode == 0:
            shutil.rmtree(folder)
            return False, False, []
        wrong = [] if _ended_well(point, ran) else [f"exit code {ran.returncode}: {ran.stderr[-2_000:]}"]
        step, problems = self._judge(point, folder)
        wrong += problems or asyncio.run(_goes_on(folder))
        if not wrong:
            shutil.rmtree(folder)
        return True, step, [f"{point} ({folder}): {problem}" for problem in wrong]

    def count(self, phase: str, call: str) -> int:
        """How many such calls the phase makes without a fault."""
        if (phase, call) not in self._counts:
            self._counts[phase, call] = self._counted(phase, call)
        return self._counts[phase, call]

    def _counted(self, phase: str, call: str) -> int:
        point = Point(phase, "EIO", call, NEVER)
        folder = self._folder / f"{next(self._names)}"
        self._prepare(phase, folder)
        subprocess.run(_traced(point, folder), check=True, timeout=WITHIN)
        found = len(re.findall(rf"^\d+ +{call}\(", (folder / "trace").read_text(errors="replace"), re.MULTILINE))
        shutil.rmtree(folder)
        return found

    def all_at(self, points: Sequence[Point]) -> Swept:
        """What came of these points, some at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ends = list(pool.map(self.at, points))
        return Swept(
            points=sum(reached for reached, _, _ in ends),
            recovered=sum(recovered for _, recovered, _ in ends),
            wrong=[problem for _, _, wrong in ends for problem in wrong],
        )

    def _prepare(self, phase: str, folder: Path) -> None:
        if phase == "open":
            folder.mkdir()
            return
        folder.mkdir()
        for file in (self._fresh if phase == "live" else self._lived).glob("dolgo.db*"):
            if not file.name.endswith("-shm"):  # the index of a log is of the processes that are gone
                shutil.copy(file, folder)

    def _judge(self, point: Point, folder: Path) -> tuple[bool, list[str]]:
        path = folder / "dolgo.db"
        if point.phase == "open":
            return False, []  # there is nothing to keep yet: that it can be used is all
        with sqlite3.connect(path) as connection:
            sound = connection.execute("PRAGMA quick_check").fetchone()[0]
            if sound != "ok":
                return False, [f"quick_check: {sound}"]
            found = [f"{name}: {rows[:3]}" for name, sql in _BROKEN.items() if (rows := connection.execute(sql).fetchall())]
            dump, state = _dump(connection), connection.execute(_STATE).fetchall()
        connection.close()
        if point.phase == "close":
            return False, found + _differs(dump, self._models[-1:])
        acknowledged, begun = _progress(folder / "said")
        if point.fault != "kill":  # it went on to the end, by ways that may have cost more events
            same = state == self._models[-1]["state"]
            return False, found + ([] if same and acknowledged == len(self._models) - 1 else ["it did not come to the same end"])
        recovered = begun > acknowledged and not _differs(dump, self._models[begun : begun + 1])
        return recovered, found + ([] if recovered else _differs(dump, self._models[acknowledged : acknowledged + 1]))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _command(phase: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.faults.sweep_life", phase, str(folder)]


def _run(phase: str, folder: Path) -> None:
    subprocess.run(_command(phase, folder), check=True, timeout=WITHIN)


def _traced(point: Point, folder: Path) -> list[str]:
    """Only SQLite's own files count: `strace` counts the calls of each thread, and one thread writes them in each phase.

    The index of the log is among them only where the file is opened: else another thread writes it."""
    names = ["dolgo.db", "dolgo.db-wal", "dolgo.db-journal", *(["dolgo.db-shm"] if point.phase == "open" else [])]
    paths = [word for name in names for word in ("-P", str(folder / name))]
    trace = ["-e", f"trace={point.call}", "-e", point.injection, "-o", str(folder / "trace")]
    quick = [] if point.fault == "kill" else ["--seccomp-bpf"]  # stops at nothing else; but then no signal is delivered
    return ["strace", "-f", *quick, "-qq", *paths, *trace, *_command(point.phase, folder)]


def _ended_well(point: Point, ran: subprocess.CompletedProcess[str]) -> bool:
    """A kill kills. An error ends nothing but an opening, with a sentence."""
    if point.fault == "kill":
        return ran.returncode == KILLED
    if ran.returncode == REFUSED and point.phase != "live":
        return "Traceback" not in ran.stderr
    return ran.returncode == 0


def _progress(said: Path) -> tuple[int, int]:
    """The number of the model after the last step that was acknowledged, and after the last that had begun."""
    words = said.read_text().splitlines() if said.exists() else []
    last = {word: int(number) + 1 for word, number in (line.split() for line in words)}
    return last.get("end", 0), last.get("begin", 0)


def _dump(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    return {table: sorted(connection.execute(f"SELECT {what} FROM {table}"), key=repr) for table, what in _TABLES.items()}


def _models(folder: Path) -> list[dict[str, list[Any]]]:
    """The tables before the first step and after each."""
    models = []
    for number in range(len(list(folder.glob("*.db")))):
        connection = sqlite3.connect(folder / f"{number}.db")
        models.append({**_dump(connection), "state": connection.execute(_STATE).fetchall()})
        connection.close()
    return models


def _differs(dump: dict[str, list[Any]], wanted: Sequence[dict[str, list[Any]]]) -> list[str]:
    (model,) = wanted
    found = []
    for table, rows in dump.items():
        more, fewer = [row for row in rows if row not in model[table]], [row for row in model[table] if row not in rows]
        if more or fewer:
            found.append(f"{table} has {more[:3]}, wanted {fewer[:3]}")
    return found


async def _goes_on(folder: Path) -> list[str]:
    """Opened anew it takes up a task and claims it, and everything in it comes to an end."""
    clock = Clock()
    clock.advance(10_000.0)  # all that is delayed is due, and every lease is over
    store = SqliteStore(str(folder / "dolgo.db"), clock=clock)
    await store.open()
    try:
        (new,) = await submit(store, priority=9)
        await store.reclaim([WORKER], 1_000)
        claimed = set()
        moved = 1
        while moved:
            leases = (await store.claim(wants(worker="w2", limit=100))).leases
            await store.settle([done(lease) for lease in leases])
            claimed |= {lease.id for lease in leases}
            moved = len(leases) + await store.cascade(500)
        left = [task.id for task in (await store.list(Query(limit=1_000))).tasks if task.status not in FINAL]
        return [*(["the new task was not claimed"] if new not in claimed else []), *(f"{id} is stuck" for id in left)]
    finally:
        await store.close()


def every_point(sweep: Sweep, phase: str, fault: str, call: str) -> Swept:
    """Every point of a kind, from 1 until one is not reached."""
    total = Swept()
    for start in itertools.count(1, TOGETHER):
        swept = sweep.all_at([Point(phase, fault, call, number) for number in range(start, start + TOGETHER)])
        total = Swept(total.points + swept.points, total.recovered + swept.recovered, total.wrong + swept.wrong)
        if swept.points < TOGETHER:
            break
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description="Break a SQLite store off at each of its writes.")
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--keep", type=Path, help="a folder for what went wrong; default: one in the system's")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dolgo-sweep-", dir=options.keep))
    begun, total, wrong = time.monotonic(), Counter[str](), 0
    sweep = Sweep(folder)
    for phase, fault, call in itertools.product(PHASES, options.faults.split(","), CALLS):
        swept = every_point(sweep, phase, fault, call)
        total[fault] += swept.points
        wrong += len(swept.wrong)
        found = f"{swept.points:4} points, {swept.recovered:3} recovered, {len(swept.wrong)} wrong"
        print(f"{phase:5} {fault:6} {call:9} {found}")  # noqa: T201
        for problem in swept.wrong[:3]:
            print(f"    {problem}")  # noqa: T201
    print(f"{sum(total.values())} points ({dict(total)}) in {time.monotonic() - begun:.0f} s, {wrong} wrong")  # noqa: T201
    if not wrong:
        shutil.rmtree(folder)
    return min(1, wrong)


if __name__ == "__main__":
    sys.exit(main())
