"""What a history of tasks says about a service: Jepsen's total-queue, with stuck and changed outcomes.

A request that got no answer is neither a success nor a failure: its task may exist. So

    lost        acknowledged, and not there in the end
    unexpected  there in the end, and nobody tried to submit it
    stuck       there in the end, and not ended
    changed     seen with an outcome, and with another one later

A history is judged by the keys of its tasks, which its clients choose, because a task without an answer has no id that they know.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FINAL = frozenset({"done", "failed", "cancelled"})


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
    _outcomes: dict[str, list[Any]] = field(default_factory=dict)  # id → each that differs from the one before
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

    def saw(self, task: dict[str, Any]) -> None:
        """A client was shown this task. Short and full views of it may be mixed: only what both have counts."""
        outcome = (task["status"], task.get("result"), _said(task.get("error")))
        with self._lock:
            seen = self._outcomes.setdefault(task["id"], [])
            if (seen or task["status"] in FINAL) and (not seen or seen[-1] != outcome):
                seen.append(outcome)

    def judge(self, tasks: Iterable[dict[str, Any]]) -> Verdict:
        """`tasks` are all there are in the end, read from the store: in full, and each with its key as first tag."""
        there: dict[str, list[dict[str, Any]]] = {}
        for task in tasks:
            self.saw(task)
            there.setdefault(task["tags"][0] if task["tags"] else task["id"], []).append(task)
        ids = {task["id"] for same in there.values() for task in same}
        return Verdict(
            lost=sorted(key for key, id in self.acknowledged.items() if id not in ids),
            unexpected=sorted(there.keys() - self.attempted),
            stuck=sorted(key for key, same in there.items() if any(task["status"] not in FINAL for task in same)),
            changed=sorted(id for id, outcomes in self._outcomes.items() if len(outcomes) > 1),
            doubled=sorted(key for key, same in there.items() if len(same) > 1),
            recovered=len(there.keys() & self.attempted - self.acknowledged.keys()),
        )


def _said(error: Any) -> str | None:
    return error["message"] if isinstance(error, dict) else error
