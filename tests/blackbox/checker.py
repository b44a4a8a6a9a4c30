"""What a history of tasks says about a service: Jepsen's total-queue, with stuck and changed outcomes.

A request that got no answer is neither a success nor a failure: its task may exist. So

    lost        acknowledged, and not there in the end
    unexpected  there in the end, and nobody tried to submit it
    stuck       there in the end, and not ended
    changed     seen with an outcome, and with another one later, though nobody retried it meanwhile

A history is judged by the keys of its tasks, which its clients choose, because a task without an answer has no id that they know.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FINAL = frozenset({"done", "failed", "cancelled"})
NOW = 0.0  # for histories whose looks are written down in order and one at a time
AT_LAST = float("inf")  # when all is read that there is in the end

Span = tuple[float, float]  # when something began and ended


class Look(NamedTuple):
    """What one request was shown of a task."""

    begun: float
    ended: float
    final: bool
    outcome: tuple[Any, ...]


@dataclass(frozen=True)
class Verdict:
    """Keys of tasks by what is wrong with them, and how many were stored without an acknowledgement, which is no fault."""

    lost: list[str]
    unexpected: list[str]
    stuck: list[str]
    changed: list[str]
    doubled: list[str]  # one key, several tasks: its Idempotency-Key did not hold
    recovered: int

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What must be empty."""
        return {
            name: keys
            for name in ("lost", "unexpected", "stuck", "changed", "doubled")
            if (keys := getattr(self, name))
        }  # fmt: skip


@dataclass
class History:
    """What clients did and saw. Written from many threads."""

    attempted: set[str] = field(default_factory=set)
    acknowledged: dict[str, str] = field(default_factory=dict)  # key → id
    _looks: defaultdict[str, list[Look]] = field(default_factory=lambda: defaultdict(list))  # by id
    _retries: defaultdict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))  # by id
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, key: str) -> None:
        """A client is about to submit the task of this key."""
        with self._lock:
            self.attempted.add(key)

    def acknowledge(self, key: str, id: str) -> None:
        """The task of this key was taken up under this id; another id for the same key shows as lost."""
        with self._lock:
            if self.acknowledged.setdefault(key, id) != id:
                self.acknowledged[f"{key} as {id}"] = id
                self.attempted.add(f"{key} as {id}")

    def saw(self, task: dict[str, Any], begun: float = NOW, ended: float = NOW) -> None:
        """A client was shown this task, by a request that began and ended then.

        Short and full views of it may be mixed: only what both have counts."""
        look = Look(begun, ended, task["status"] in FINAL, (task["status"], task.get("result"), _said(task.get("error"))))
        with self._lock:
            self._looks[task["id"]].append(look)

    def retry(self, id: str, begun: float, ended: float) -> None:
        """Somebody asked between these times for a retry of this task, and may have been heard."""
        with self._lock:
            self._retries[id].append((begun, ended))

    def judge(self, tasks: Iterable[dict[str, Any]]) -> Verdict:
        """`tasks` are all there are in the end, read from the store: in full, and each with its key as first tag."""
        there: dict[str, list[dict[str, Any]]] = {}
        for task in tasks:
            self.saw(task, AT_LAST, AT_LAST)
            there.setdefault(task["tags"][0] if task["tags"] else task["id"], []).append(task)
        ids = {task["id"]: task for same in there.values() for task in same}
        retries = self._revived(ids)
        return Verdict(
            lost=sorted(key for key, id in self.acknowledged.items() if id not in ids),
            unexpected=sorted(there.keys() - self.attempted),
            stuck=sorted(key for key, same in there.items() if any(task["status"] not in FINAL for task in same)),
            changed=sorted(id for id, looks in self._looks.items() if _changed(looks, retries.get(id, ()))),
            doubled=sorted(key for key, same in there.items() if len(same) > 1),
            recovered=len(there.keys() & self.attempted - self.acknowledged.keys()),
        )

    @property
    def retried(self) -> set[str]:
        """Ids of the tasks of which a retry was asked for."""
        return set(self._retries)

    def _revived(self, tasks: Mapping[str, dict[str, Any]]) -> dict[str, list[Span]]:
        """For each task the times in which a retry of it, or of what it depends on, may have changed it."""
        spans = {id: list(own) for id, own in self._retries.items()}
        for retried, own in self._retries.items():
            for id in descendants(retried, tasks):
                spans.setdefault(id, []).extend(own)
        return spans


def descendants(id: str, tasks: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """What depends on a task, directly or not, by the full views of all."""
    found: set[str] = set()
    left = [id]
    while left:
        new = set(tasks.get(left.pop(), {}).get("dependents", ())) - found
        found |= new
        left += new
    return found


def _changed(looks: list[Look], retries: Iterable[Span]) -> bool:
    """Whether an outcome was followed by another one between two retries. What was seen during a retry says nothing."""
    edges = sorted(retries)
    seen: dict[int, list[Look]] = {}
    for look in looks:
        if not any(begun <= look.ended and look.begun <= ended for begun, ended in edges):
            seen.setdefault(sum(begun < look.begun for begun, _ in edges), []).append(look)
    return any(_differs(same) for same in seen.values())


def _differs(looks: list[Look]) -> bool:
    """Whether something else was seen by a request that began after the outcome had been seen."""
    first: Look | None = None
    for look in looks:
        if first is None and look.final:
            first = look
        elif first is not None and look.outcome != first.outcome and (look.final or look.begun >= first.ended):
            return True
    return False


def _said(error: Any) -> str | None:
    return error["message"] if isinstance(error, dict) else error
