"""What must hold of the lives of tasks once all is at rest: rules over their full views, and over what handlers wrote meanwhile.

Each rule yields a sentence for whatever breaks it. No rule knows how the service works, only what it promises.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.blackbox.checker import FINAL, descendants

Task = Mapping[str, Any]  # in full
Tasks = Mapping[str, Task]  # by id

BEFORE_THE_LAST = frozenset({"failed", "retry", "timeout", "lost", "given_back"})
CHARGED = frozenset({"failed", "timeout"})
LAST = {"done": {"done"}, "failed": {"failed", "timeout", "lost"}, "cancelled": {"cancelled"}}


def broken(tasks: Iterable[Task], *, max_losses: int = 3, retried: Collection[str] = ()) -> dict[str, list[str]]:
    """What is wrong with these tasks, by the name of the rule; empty if nothing is. All must be there that any of them names.

    Of those that were retried, and of what depends on them, only what holds in spite of that is asked."""
    by_id = {task["id"]: task for task in tasks}
    again = {*retried, *(id for one in retried for id in descendants(one, by_id))}
    found = {rule.__name__: list(rule(by_id)) for rule in RULES}
    found.update((rule.__name__, list(rule(by_id, again))) for rule in RULES_OF_ONE_LIFE)
    found["too_many_losses"] = list(too_many_losses(by_id, max_losses))
    return {name: sentences for name, sentences in found.items() if sentences}


def unfinished(tasks: Tasks) -> Iterator[str]:
    """All is at rest, so every task has ended; one that waits for nothing is the worst."""
    for task in tasks.values():
        if task["status"] == "waiting" and all(tasks[parent]["status"] in FINAL for parent in task["parents"]):
            yield f"{task['id']} waits for tasks that are all over"
        elif task["status"] not in FINAL:
            yield f"{task['id']} is {task['status']}"


def unlinked(tasks: Tasks) -> Iterator[str]:
    """A parent knows its dependents and they know it; what one names is there."""
    for task in tasks.values():
        for name, back in (("parents", "dependents"), ("dependents", "parents")):
            for id in task[name]:
                if id not in tasks:
                    yield f"{task['id']} names {id} among its {name}, and there is none"
                elif task["id"] not in tasks[id][back]:
                    yield f"{id} does not name {task['id']} among its {back}"


def against_parents(tasks: Tasks, retried: Collection[str] = ()) -> Iterator[str]:
    """A task ends as the ends of its parents have it, and does not begin before them."""
    for task in but(retried, tasks):
        parents = [tasks[id] for id in task["parents"] if id in tasks]
        failed = [parent["id"] for parent in parents if parent["status"] != "done"]
        because = (task["error"] or {}).get("code") == "dependency_failed"
        if because and (not failed or task["on_parent_failure"] == "run"):
            yield f"{task['id']} was cancelled because of its parents, and should not have been"
        if failed and task["on_parent_failure"] == "cancel" and task["status"] != "cancelled":
            yield f"{task['id']} is {task['status']} though its parent {failed[0]} did not end done"
        if failed and task["on_parent_failure"] == "cancel" and task["attempts"]:
            yield f"{task['id']} has run though its parent {failed[0]} did not end done"
        if parents and task["attempts"]:
            begun = seconds(task["attempts"][0]["started_at"])
            late = [parent["id"] for parent in parents if parent["finished_at"] and seconds(parent["finished_at"]) > begun]
            if late:
                yield f"{task['id']} began before its parent {late[0]} had ended"


def against_attempts(tasks: Tasks, retried: Collection[str] = ()) -> Iterator[str]:
    """Attempts are numbered upwards and end as their places have it; failures are not more than may be."""
    for task in but(retried, tasks):
        numbers = [attempt["number"] for attempt in task["attempts"]]
        outcomes = [attempt["outcome"] for attempt in task["attempts"]]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] != task["attempt"]):
            yield f"{task['id']} is at attempt {task['attempt']} and shows {numbers}"
        if set(outcomes[:-1]) - BEFORE_THE_LAST:
            yield f"{task['id']} had attempts after one that was its last: {outcomes}"
        if sum(outcome in CHARGED for outcome in outcomes) > task["max_attempts"]:
            yield f"{task['id']} has failed more often than it may: {outcomes}"
        if task["status"] in ("done", "failed") and (not outcomes or outcomes[-1] not in LAST[task["status"]]):
            yield f"{task['id']} is {task['status']} and its attempts ended {outcomes}"
        if (task["error"] is None) != (task["status"] not in ("failed", "cancelled")):
            yield f"{task['id']} is {task['status']} with the error {task['error']}"


def overlapping_attempts(tasks: Tasks) -> Iterator[str]:
    """An attempt begins when the one before is over."""
    for task in tasks.values():
        for before, after in zip(task["attempts"], task["attempts"][1:], strict=False):
            if seconds(before["finished_at"]) > seconds(after["started_at"]):
                yield f"{task['id']}: attempt {after['number']} began before {before['number']} was over"


def but(retried: Collection[str], tasks: Tasks) -> Iterator[Task]:
    """Those that have lived once only."""
    return (task for id, task in tasks.items() if id not in retried)


RULES: tuple[Callable[[Tasks], Iterator[str]], ...] = (unfinished, unlinked, overlapping_attempts)
RULES_OF_ONE_LIFE: tuple[Callable[[Tasks, Collection[str]], Iterator[str]], ...] = (against_parents, against_attempts)


def too_many_losses(tasks: Tasks, max_losses: int) -> Iterator[str]:
    """Nobody fails for its losses before they are as many as it may have."""
    for task in tasks.values():
        lost = sum(attempt["outcome"] == "lost" for attempt in task["attempts"])
        if (task["error"] or {}).get("code") == "worker_lost" and lost < max_losses:
            yield f"{task['id']} has failed for {lost} losses"


def doubled_ticks(ids: Collection[str], *, first: float, every: float) -> Iterator[str]:
    """The tasks that a schedule has made: their ids bear the times of its ticks, and no tick is there twice or from nowhere."""
    ticks = Counter(int(id.replace("-", "")[:12], 16) / 1000 for id in ids)
    for tick, number in ticks.items():
        if number > 1:
            yield f"the tick {tick} has {number} tasks"
        if abs((tick - first) / every - round((tick - first) / every)) > 0.01 / every:
            yield f"{tick} is no tick"


def steps_again(ledger: Iterable[str]) -> Iterator[str]:
    """Lines `ran STEP` and `stored STEP`, in the order of time: a step that was stored does not run after that."""
    stored: set[str] = set()
    for line in ledger:
        word, _, step = line.partition(" ")
        if word == "ran" and step in stored:
            yield f"{step} ran after it had been stored"
        elif word == "stored":
            stored.add(step)


def over_limit(ledger: Iterable[str], limit: int) -> Iterator[str]:
    """Lines `begin RUN` and `end RUN`, in the order of time. A run that was killed has no end and counts for nothing."""
    lines = [line.split(" ", 1) for line in ledger]
    ended = {run for word, run in lines if word == "end"}
    running: set[str] = set()
    for word, run in lines:
        if run not in ended:
            continue
        (running.add if word == "begin" else running.discard)(run)
        if len(running) > limit:
            yield f"{len(running)} ran at once: {sorted(running)}"


def miscounted(tasks: Sequence[Task], queues: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The list of tasks and the counts of the queues are of one mind."""
    listed: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for task in tasks:
        listed[task["queue"]][task["status"]] += 1
    for queue in queues:
        counts = +Counter(queue["counts"])
        if counts != listed[queue["name"]]:
            yield f"the queue {queue['name']} counts {dict(counts)} and lists {dict(listed[queue['name']])}"


def seconds(time: str) -> float:
    """A time as the service shows it, since the epoch."""
    return datetime.fromisoformat(time).timestamp()
