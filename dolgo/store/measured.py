"""A store whose calls are timed, and whose tasks are counted as they come, are claimed and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import compress, groupby
from operator import attrgetter, not_
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
from dolgo.metrics.tally import Spread, Tally
from dolgo.store.base import Claimed, Store, Submitted
from dolgo.task.types import FINAL, NewTask, Outcome, Settlement, Status

VERBS = sorted(Store.__abstractmethods__ - {"open", "close", "head"})  # a new one is measured without being named here

Verb = Callable[..., Awaitable[Any]]


def measure(store: Store, tally: Tally) -> None:
    """From now on every call of this store is told to the tally.

    The verbs of the instance are wrapped, not the store: another class with thirty verbs would have to follow the seam."""
    for verb in VERBS:
        setattr(store, verb, _timed(getattr(store, verb), verb, tally))


def _timed(call: Verb, name: str, tally: Tally) -> Verb:
    labels = (name,)
    counted = _COUNTED.get(name)
    spread: Spread | None = None  # kept, because every request comes by here
    tally.count(ERRORS, labels, 0)

    async def timed(*arguments: Any, **named: Any) -> Any:
        nonlocal spread
        began = perf_counter()
        try:
            answer = await call(*arguments, **named)
        except StoreUnavailable:
            _failed(tally, labels)
            raise
        tally.store_up = True
        if not named.get("wait"):  # what waits for work says nothing of the store
            spread = spread or tally.spread(CALLS, labels)
            spread.add(perf_counter() - began)
        if counted is not None:
            counted(tally, answer, *arguments)
        return answer

    return timed


def _failed(tally: Tally, labels: tuple[str]) -> None:
    tally.count(ERRORS, labels)
    if tally.store_up:
        tally.store_up = False
        tally.count(OUTAGES)


def _submitted(tally: Tally, answer: Submitted, tasks: Sequence[NewTask], *_: object) -> None:
    if not answer.statuses:
        return
    if len(tasks) == 1:  # nearly always
        tally.count(SUBMITTED, (tasks[0].queue, tasks[0].type))
        return
    for kind, number in Counter(map(_kind, tasks)).items():
        tally.count(SUBMITTED, kind, number)


def _claimed(tally: Tally, answer: Claimed, *_: object) -> None:
    if not answer.leases:
        return
    tally.spread(BATCH, ("claim",)).add(len(answer.leases))
    now = time()
    for kind, leases in groupby(answer.leases, _kind):
        waits = [max(0.0, now - lease.run_at) for lease in leases]
        tally.spread(WAIT, kind).add_all(waits)
        if kind not in tally.counted(CLAIMED):
            _begun(tally, *kind)
        tally.count(CLAIMED, kind, len(waits))


def _begun(tally: Tally, queue: str, type: str) -> None:
    """What alerts look at is there as 0 first: Prometheus takes a counter that begins at 1 for one that never grew."""
    tally.count(FENCED, (queue, type), 0)
    tally.count(SETTLED, (queue, type, Status.FAILED), 0)


def _settled(tally: Tally, took: Sequence[bool], settlements: Sequence[Settlement]) -> None:
    tally.spread(BATCH, ("settle",)).add(len(settlements))
    if not all(took):
        for item in compress(settlements, map(not_, took)):
            tally.count(FENCED, (item.lease.queue, item.lease.type))
        settlements = list(compress(settlements, took))
    # By runs of the same, not by a Counter: to hash an enum costs more than all else here.
    for (queue, type, outcome, status), same in groupby(settlements, _end):
        number = sum(1 for _ in same)
        tally.count(ENDED, (queue, type, outcome), number)
        if status in FINAL:
            tally.count(SETTLED, (queue, type, status), number)
        elif outcome is not Outcome.GIVEN_BACK:
            tally.count(RETRIED, (queue, type, outcome), number)


def _reclaimed(tally: Tally, number: int, *_: object) -> None:
    tally.count(RECLAIMED, (), number)


_kind = attrgetter("queue", "type")
_end = attrgetter("lease.queue", "lease.type", "outcome", "status")
_COUNTED: dict[str, Callable[..., None]] = {
    "submit": _submitted, "claim": _claimed, "settle": _settled, "reclaim": _reclaimed,
}  # fmt: skip
