"""How long to wait before another attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Random = Callable[[], float]  # in [0, 1)

BASE, FACTOR, CAP = 1.0, 2.0, 600.0  # seconds, of a type that says nothing: full jitter below 1, 2, 4, … 600
LOSS_CAP = 60.0  # seconds


def pause(backoff: Mapping[str, Any] | Sequence[float] | None, tries: int, random: Random) -> float:
    """Seconds to wait after so many tries, from 1: as the type's `backoff` has it.

    A list is taken as it stands and its last number repeats. Otherwise full jitter: anything between 0 and
    `base * factor^(tries - 1)`, at most `cap`; so tasks that failed together do not come back together."""
    if isinstance(backoff, Sequence):
        return float(backoff[min(tries, len(backoff)) - 1])
    given = backoff or {}
    base, cap = given.get("base", BASE), given.get("cap", CAP)
    try:
        most = min(cap, base * given.get("factor", FACTOR) ** (tries - 1))
    except OverflowError:
        most = cap if base else 0.0
    return float(most * random())


def after_loss(losses: int) -> float:
    """Seconds before a task that took its child down runs again: 1, 2, 4, … and at most a minute."""
    return float(min(LOSS_CAP, 2.0 ** min(losses - 1, 10)))
