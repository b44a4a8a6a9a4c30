"""What a run leaves behind, and all that it is judged by: what handlers wrote, what clients did, what was broken, what is stored.

FOLDER/ledger          a line at each start and end of a handler
FOLDER/history.jsonl   a line for each request of a client and each fault
FOLDER/tasks.jsonl     all tasks in full, once everything was at rest
FOLDER/queues.jsonl    the queues as they were shown then
FOLDER/events.jsonl    the store's log of events
FOLDER/plan.json       how the run was made: its seed above all
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Op = dict[str, Any]


class Run(NamedTuple):
    """One start of a handler, by the ledger."""

    id: str
    attempt: int
    pid: int
    worker: int  # pid of the process that started this child
    started: float
    ended: float | None  # None: it was killed, or runs
    stopped: bool  # it was told to stop

    def hit_by(self, fault: Fault) -> bool:
        """Whether the fault was one of its child or of its worker, while it ran."""
        return self.runs_at(fault.at) and bool({self.pid, self.worker} & fault.pids)

    def runs_at(self, moment: float) -> bool:
        return self.started <= moment and (self.ended is None or self.ended >= moment)


@dataclass(frozen=True)
class Fault:
    """Something was broken on purpose."""

    kind: str
    begun: float
    ended: float  # all that was killed had been started again and was ready, all that was frozen went on
    pids: frozenset[int]  # of the processes that were hit, and of those below them
    hits: frozenset[str]  # names of the processes
    at: float  # when it was done: victims are looked for first, and some are frozen before they are killed

    @property
    def everywhere(self) -> bool:
        """It may cost any worker its leases: the store was away, or somebody was frozen who may have had the turn to write."""
        return "store" in self.kind or self.kind.startswith("freeze") or self.kind == "cancel and kill"


@dataclass
class Journal:
    """The history of a run, written line by line by many threads."""

    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, op: str, begun: float, **fields: Any) -> None:
        """Something began at that time, and has ended now."""
        line = json.dumps({"op": op, "begun": begun, "ended": time.time(), **fields}, separators=(",", ":"))
        with self._lock, self.path.open("a") as file:
            file.write(line + "\n")


@dataclass(frozen=True)
class Records:
    """All of it, read."""

    plan: dict[str, Any]
    runs: list[Run]  # by start
    ops: list[Op]
    faults: list[Fault]
    tasks: list[dict[str, Any]]
    queues: list[dict[str, Any]]
    events: list[dict[str, Any]]


def read(folder: Path) -> Records:
    """What a run has left in a folder."""
    ops = lines(folder / "history.jsonl")
    return Records(
        plan=json.loads((folder / "plan.json").read_text()),
        runs=runs((folder / "ledger").read_text().splitlines() if (folder / "ledger").exists() else []),
        ops=ops,
        faults=[
            Fault(op["kind"], op["begun"], op["over"], frozenset(op["pids"]), frozenset(op["hits"]), op["at"])
            for op in ops
            if op["op"] == "fault"
        ],
        tasks=lines(folder / "tasks.jsonl"),
        queues=lines(folder / "queues.jsonl"),
        events=lines(folder / "events.jsonl"),
    )


def runs(ledger: Iterable[str]) -> list[Run]:
    """The starts that the lines of a ledger tell of. An end belongs to the start of the same attempt in the same process."""
    found: dict[tuple[str, int, int, int], Run] = {}
    number = 0
    open_at: dict[tuple[str, int, int], tuple[str, int, int, int]] = {}
    for line in ledger:
        word, id, attempt, pid, worker, when = line.split()
        key = (id, int(attempt), int(pid))
        if word == "start":
            number += 1
            open_at[key] = (*key, number)
            found[open_at[key]] = Run(*key, int(worker), float(when), None, False)
        else:
            at = open_at.pop(key)
            found[at] = found[at]._replace(ended=float(when), stopped=word == "stop")
    return sorted(found.values(), key=lambda run: run.started)


def lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_lines(path: Path, items: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(item, separators=(",", ":")) + "\n" for item in items))
