"""What the records of a run prove: which promises were broken, and the figures.

The total-queue and the rules over the lives of tasks are those of `tests/blackbox`; here are the rules that need the ledger, the
faults or the log of events. Each yields a sentence for whatever breaks it.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.blackbox import life
from tests.blackbox.checker import FINAL, History, Span, descendants
from tests.faults.kinds import CHILDREN
from tests.faults.records import Fault, Op, Records, Run

MAX_LOSSES = 1  # of the runs: who is charged fails at once, and so nobody is charged in silence
HEARD_LATE = 10.0  # seconds in which a request without an answer may still be heard
RECOVERED = 5.0  # seconds beyond a lease in which what a fault has hit runs again
AWAKE = 2.0  # seconds in which a process that was frozen may not have noticed it

Task = Mapping[str, Any]

ARROWS: dict[str | None, frozenset[str]] = {
    None: frozenset({"waiting", "queued", "cancelled"}),
    "waiting": frozenset({"queued", "cancelled"}),
    "queued": frozenset({"in_progress", "cancelled"}),
    "in_progress": frozenset({"queued", "done", "failed", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset({"queued", "waiting"}),
    "cancelled": frozenset({"queued", "waiting"}),
}


@dataclass(frozen=True)
class Verdict:
    """What is wrong, by the name of the rule; and what was counted and measured."""

    wrong: dict[str, list[str]]
    figures: dict[str, Any]


class Case:
    """The records, with what several rules ask of them."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.lease: float = records.plan["lease"]
        self.tasks: dict[str, Task] = {task["id"]: task for task in records.tasks}

    @cached_property
    def history(self) -> History:
        """What the clients did, for the total-queue."""
        history = History()
        for op in self.records.ops:
            match op["op"], op.get("how"):
                case "submit", how:
                    for key, id in zip(op["keys"], op["ids"] if how == "ok" else [None] * len(op["keys"]), strict=True):
                        history.attempt(key)
                        if id is not None:
                            history.acknowledge(key, id)
                case "look", "ok":
                    history.saw(op["task"], op["begun"], op["ended"])
                case "retry", _:
                    history.retry(op["id"], *span(op))
        return history

    @cached_property
    def retries(self) -> dict[str, list[Span]]:
        """For each task when it may have been retried, or revived with one that it depends on."""
        found: defaultdict[str, list[Span]] = defaultdict(list)
        for op in self.records.ops:
            if op["op"] == "retry":
                for id in {op["id"], *descendants(op["id"], self.tasks)}:
                    found[id].append(span(op))
        return found

    @cached_property
    def runs(self) -> dict[str, list[Run]]:
        """By task, in order of their starts."""
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self.records.runs:
            found[run.id].append(run)
        return found

    @cached_property
    def outcomes(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """The recorded attempts by task and number."""
        return {(task["id"], attempt["number"]): attempt for task in self.records.tasks for attempt in task["attempts"]}

    @cached_property
    def _by_process(self) -> dict[int, list[Run]]:
        """By the pid of their child, and by that of their worker."""
        found: defaultdict[int, list[Run]] = defaultdict(list)
        for run in self.records.runs:
            found[run.pid].append(run)
            found[run.worker].append(run)
        return found

    def hit(self, fault: Fault) -> list[Run]:
        """What ran in the processes that were hit, in order of their starts."""
        found = {run for pid in fault.pids for run in self._by_process.get(pid, ()) if run.hit_by(fault)}
        return sorted(found, key=lambda run: run.started)

    def run_of(self, id: str, attempt: int) -> Run | None:
        return next((run for run in self.runs.get(id, ()) if run.attempt == attempt), None)

    def taken_away(self, run: Run) -> bool:
        """Whether the attempt was reclaimed, or given back after it had begun."""
        return self.outcomes.get((run.id, run.attempt), {}).get("outcome") in ("lost", "given_back")


def judge(records: Records) -> Verdict:
    case = Case(records)
    children = [task for task in records.tasks if is_child(task)]
    queue = case.history.judge(dict(task) for task in records.tasks if not is_child(task))
    wrong = {
        **queue.wrong,
        **life.broken(records.tasks, max_losses=MAX_LOSSES, retried=case.history.retried),
        "miscounted": list(life.miscounted(records.tasks, records.queues)),
        "said wrong": [op["what"] for op in records.ops if op["op"] == "wrong"],
        **{rule.__name__: list(rule(case)) for rule in RULES},
    }
    figures = {
        "tasks": len(records.tasks),
        "acknowledged": len(case.history.acknowledged),
        "stored without an answer": queue.recovered,
        "submitted by handlers": len(children),
        "statuses": dict(Counter(task["status"] for task in records.tasks)),
        "requests without an answer": sum(op.get("how") == "info" for op in records.ops),
        **of_runs(case),
    }
    return Verdict({name: found for name, found in wrong.items() if found}, figures)


def span(op: Op) -> Span:
    """When the request may have been heard."""
    return op["begun"], op["ended"] + (HEARD_LATE if op["how"] == "info" else 0.0)


def is_child(task: Task) -> bool:
    return bool(task["tags"]) and task["tags"][0].startswith("child/")


# -- rules over the ledger


def started_without_a_claim(case: Case) -> Iterator[str]:
    """Each start belongs to an attempt that is on the record, and no attempt starts twice."""
    for id, runs in case.runs.items():
        for number, times in Counter(run.attempt for run in runs).items():
            if (id, number) not in case.outcomes:
                yield f"{id} has started as attempt {number}, which is not on its record"
            if times > 1:
                yield f"{id} has started {times} times as attempt {number}"


def done_by_nobody(case: Case) -> Iterator[str]:
    """What is done was done by the attempt in force: its handler has written so, and the result is its own."""
    for id, task in case.tasks.items():
        if task["status"] == "done":
            run = case.run_of(id, task["attempt"])
            if run is None or run.ended is None:
                yield f"{id} is done, and no handler has ended attempt {task['attempt']}"
            elif task["result"] != [run.attempt, run.pid]:
                yield f"{id} has the result {task['result']} and not that of attempt {run.attempt} in {run.pid}"


def started_too_late(case: Case) -> Iterator[str]:
    """No handler starts after its attempt is over, unless it was frozen in between."""
    for run in case.records.runs:
        attempt = case.outcomes.get((run.id, run.attempt))
        over = life.seconds(attempt["finished_at"]) if attempt and attempt["finished_at"] else None
        if over is not None and run.started > over and not was_frozen(run, over, case.records.faults):
            yield f"{run.id} has started {run.started - over:.3f} s after the end of its attempt {run.attempt}"


def was_frozen(run: Run, over: float, faults: Iterable[Fault]) -> bool:
    """Whether the process that started it was not let go on before it was over."""
    return any(
        fault.kind.startswith("freeze")
        and {run.pid, run.worker} & fault.pids
        and fault.begun < over
        and run.started < fault.ended + AWAKE
        for fault in faults
    )


def started_after_a_cancel(case: Case) -> Iterator[str]:
    """What was cancelled is not claimed again until somebody retries it; what was cancelled at once stays so."""
    for op in case.records.ops:
        if op["op"] != "cancel" or op["how"] != "ok" or op["id"] not in case.tasks:
            continue
        task, after = case.tasks[op["id"]], op["ended"]
        until = min((begun for begun, ended in case.retries.get(task["id"], ()) if ended >= op["begun"]), default=float("inf"))
        if op["code"] == 200 and until == float("inf") and task["status"] != "cancelled":
            yield f"{task['id']} was cancelled and is {task['status']}"
        late = [a["number"] for a in task["attempts"] if after < life.seconds(a["started_at"]) < until]
        if late:
            yield f"{task['id']} was claimed as attempt {late[0]} after the answer to its cancel"


def innocent_charged(case: Case) -> Iterator[str]:
    """A loss is charged only where the child was killed, with that task alone in it."""
    deaths = [(fault.ended, pid) for fault in case.records.faults if fault.kind == "kill child" for pid in fault.pids]
    left = defaultdict(set)  # by child: tasks that were in it when it died
    for run in case.records.runs:
        if run.ended is None:
            left[run.pid].add(run.id)
    for id, task in case.tasks.items():
        if (task["error"] or {}).get("code") != "worker_lost":
            continue
        run = case.run_of(id, task["attempt"])
        if run is None:
            yield f"{id} is charged with a loss, and no handler had started"
        elif not any(pid == run.pid and run.started <= at for at, pid in deaths):
            yield f"{id} is charged with a loss in {run.pid}, which nobody had killed"
        elif left[run.pid] - {id}:
            yield f"{id} is charged with a loss, and was not alone in {run.pid}"


def lost_without_a_fault(case: Case) -> Iterator[str]:
    """An attempt is taken away only from what a fault has hit: so what is run again is no more than was in flight then."""
    for (id, number), attempt in case.outcomes.items():
        if attempt["outcome"] not in ("lost", "given_back"):
            continue
        run = case.run_of(id, number)
        begun, over = life.seconds(attempt["started_at"]), life.seconds(attempt["finished_at"])
        near = [fault for fault in case.records.faults if fault.begun <= over and begun <= fault.ended + AWAKE]
        if not any(run is None or fault.everywhere or {run.pid, run.worker} & fault.pids for fault in near):
            yield f"attempt {number} of {id} was {attempt['outcome']} without a fault"


def recovered_late(case: Case) -> Iterator[str]:
    """What a fault has hit runs again within a lease and some seconds, in which no other fault was in the way."""
    for fault, run, seconds in recoveries(case):
        end = fault.at + seconds
        others = [
            (max(other.begun, fault.at), min(other.ended, end))
            for other in case.records.faults
            if other.ended > fault.at and other.begun < end
        ]
        if seconds - covered(others) > case.lease + RECOVERED:
            yield f"{run.id} ran again {seconds:.1f} s after {fault.kind}"


def recoveries(case: Case) -> Iterator[tuple[Fault, Run, float]]:
    """For each run that a fault has cut short: when the task started again by itself, in seconds after the fault."""
    for fault in case.records.faults:
        for run in case.hit(fault):
            if case.taken_away(run):
                again = next((later for later in case.runs[run.id] if later.started > max(run.started, fault.at)), None)
                if again is not None and not any(
                    begun < again.started and ended > fault.at for begun, ended in case.retries.get(run.id, ())
                ):
                    yield fault, run, again.started - fault.at


def covered(spans: Iterable[Span]) -> float:
    """Seconds that at least one of the spans covers."""
    total, last = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, last))
        last = max(last, ended)
    return total


# -- rules over what handlers submit, over the log and over unique keys


def wrong_children(case: Case) -> Iterator[str]:
    """A handler that ended has submitted what it was to, once, and once more after each retry by hand."""
    made = Counter(task["tags"][0] for task in case.tasks.values() if is_child(task))
    lives = Counter(id for id, spans in case.retries.items() for _ in spans)
    yield from (f"there are {number} tasks {key}" for key, number in made.items() if number > 1 + lives[key.split("/")[1]])
    by_parent = Counter(key.split("/")[1] for key in made)
    for id, task in case.tasks.items():
        if task["type"] in ("spawns", "spawns_alone") and task["status"] == "done" and by_parent[id] != CHILDREN:
            yield f"{id} is done and has submitted {by_parent[id]}"
    yield from (f"the unknown {parent} has submitted tasks" for parent in by_parent if parent not in case.tasks)


def against_the_log(case: Case) -> Iterator[str]:
    """The log of events leads, by legal arrows alone, to what is stored."""
    at: dict[str, str] = {}
    for event in case.records.events:
        if event["kind"] == "task.status":
            before = at.get(event["id"])
            if event["status"] not in ARROWS[before]:
                yield f"event {event['seq']}: {event['id']} came from {before} to {event['status']}"
            at[event["id"]] = event["status"]
    for id, task in case.tasks.items():
        if case.records.events and at.get(id) != task["status"]:
            yield f"{id} is {task['status']}, and {at.get(id)} by the log"
    yield from (f"{id} is in the log alone" for id in at.keys() - case.tasks.keys())


def unique_twice(case: Case) -> Iterator[str]:
    """At no moment two unfinished tasks have one unique key."""
    holds: defaultdict[str, set[str]] = defaultdict(set)
    for event in case.records.events:
        key = case.tasks.get(event["id"], {}).get("unique_key")
        if key is not None and event["kind"] == "task.status":
            (holds[key].discard if event["status"] in FINAL else holds[key].add)(event["id"])
            if len(holds[key]) > 1:
                yield f"{key} was held by {sorted(holds[key])} at event {event['seq']}"


def wrong_ends(case: Case) -> Iterator[str]:
    """What each type ends as, unless it was cancelled, killed in its child, or retried."""
    for id, task in case.tasks.items():
        code = (task["error"] or {}).get("code")
        if task["status"] == "cancelled" or code == "worker_lost" or id in case.retries:
            continue
        if (task["status"], code) != (("failed", "handler_error") if task["type"] == "fails" else ("done", None)):
            yield f"{id} of {task['type']} is {task['status']}: {task['error']}"
        charged = sum(attempt["outcome"] in life.CHARGED for attempt in task["attempts"])
        if task["type"] == "fails" and charged != task["max_attempts"]:
            yield f"{id} has failed after {charged} failures"


RULES: tuple[Callable[[Case], Iterator[str]], ...] = (
    started_without_a_claim, done_by_nobody, started_too_late, started_after_a_cancel, innocent_charged, lost_without_a_fault,
    recovered_late, wrong_children, against_the_log, unique_twice, wrong_ends,
)  # fmt: skip


# -- figures


def of_runs(case: Case) -> dict[str, Any]:
    """What the faults have cost."""
    hit = sum(len(case.hit(fault)) for fault in case.records.faults)
    again = [run for run in case.records.runs if case.taken_away(run)]
    times: defaultdict[str, list[float]] = defaultdict(list)
    for fault, _, seconds in recoveries(case):
        times[fault.kind].append(seconds)
    return {
        "faults": dict(Counter(fault.kind for fault in case.records.faults)),
        "starts": len(case.records.runs),
        "in flight at faults": hit,
        "starts that were taken away": len(again),
        "charged with a loss": sum((task["error"] or {}).get("code") == "worker_lost" for task in case.tasks.values()),
        "seconds until it ran again": {
            kind: {"n": len(some), "median": round(statistics.median(some), 2), "max": round(max(some), 2)}
            for kind, some in sorted(times.items())
        },
    }
