"""A store whose calls are timed, and whose tasks are counted as they come, are claimed and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter, time
from typing import Any

from dolgo.errors import StoreUnavailable
from dolgo.metrics.catalog import (
    BATCH,
    CALLS,
    CLAIMED,
    ENDED,
    ERRORS,
    FENCED,
    OUTAGES,
    RECLAIMED,
    RETRIED,
    SETTLED,
    SUBMITTED,
    WAIT,
)
from dolgo.metrics.tally import Tally
from dolgo.store.base import Claimed, Store, Submitted
from dolgo.task.types import FINAL, NewTask, Outcome, Settlement

VERBS = (
    "submit", "get", "list", "find", "details", "claim", "renew", "settle", "note", "notes", "cancel", "asked", "retry", "delete",
    "reclaim", "clamp", "prune", "expire", "cascade", "trim", "gate", "gates", "held_up", "counts", "oldest", "events", "put",
    "records", "forget",
)  # fmt: skip

Verb = Callable[..., Awaitable[Any]]


def measure(store: Store, tally: Tally) -> None:
    """From now on every call of this store is told to the tally.

    The verbs of the instance are wrapped, not the store: another class with thirty verbs would have to follow the seam."""
    for verb in VERBS:
        setattr(store, verb, _timed(getattr(store, verb), verb, tally))


def _timed(call: Verb, name: str, tally: Tally) -> Verb:
    labels = (name,)
    counted = _COUNTED.get(name)

    async def timed(*arguments: Any, **named: Any) -> Any:
        began = perf_counter()
        try:
            answer = await call(*arguments, **named)
        except StoreUnavailable:
            tally.count(ERRORS, labels)
            if tally.store_up:
                tally.store_up = False
                tally.count(OUTAGES)
            raise
        tally.store_up = True
        if not named.get("wait"):  # what waits for work says nothing of the store
            tally.observe(CALLS, perf_counter() - began, labels)
        if counted is not None:
            counted(tally, answer, *arguments)
        return answer

    return timed


def _submitted(tally: Tally, answer: Submitted, tasks: Sequence[NewTask], *_: object) -> None:
    if not answer.statuses:
        return
    tally.observe(BATCH, len(tasks), ("submit",))
    if len(tasks) == 1:  # nearly always
        tally.count(SUBMITTED, (tasks[0].queue, tasks[0].type))
        return
    for kind, number in Counter((task.queue, task.type) for task in tasks).items():
        tally.count(SUBMITTED, kind, number)


def _claimed(tally: Tally, answer: Claimed, *_: object) -> None:
    if answer.leases:
        tally.observe(BATCH, len(answer.leases), ("claim",))
        now = time()
        for lease in answer.leases:
            tally.observe(WAIT, max(0.0, now - lease.run_at), (lease.queue, lease.type))
        for kind, number in Counter((lease.queue, lease.type) for lease in answer.leases).items():
            tally.count(CLAIMED, kind, number)


def _settled(tally: Tally, took: Sequence[bool], settlements: Sequence[Settlement]) -> None:
    tally.observe(BATCH, len(settlements), ("settle",))
    ends = Counter(
        (item.lease.queue, item.lease.type, item.outcome, item.status, ok) for item, ok in zip(settlements, took, strict=True)
    )
    for (queue, type, outcome, status, ok), number in ends.items():
        if not ok:
            tally.count(FENCED, (queue, type), number)
            continue
        tally.count(ENDED, (queue, type, outcome), number)
        if status in FINAL:
            tally.count(SETTLED, (queue, type, status), number)
        elif outcome is not Outcome.GIVEN_BACK:
            tally.count(RETRIED, (queue, type, outcome), number)


def _reclaimed(tally: Tally, number: int, *_: object) -> None:
    tally.count(RECLAIMED, (), number)


_COUNTED: dict[str, Callable[..., None]] = {
    "submit": _submitted, "claim": _claimed, "settle": _settled, "reclaim": _reclaimed,
}  # fmt: skip
