"""How much is measured."""

from __future__ import annotations

from msgspec import Struct


class Scale(Struct, frozen=True):
    """Sizes and times of a run."""

    repeats: int  # of what takes seconds; the median counts
    seconds: float  # of load in one repeat
    steady_seconds: float  # of load at a steady rate
    drained: int  # tasks that wait when a drain begins
    waiting: int  # tasks that wait meanwhile in the second half of the run
    batch: int  # tasks a request submits where a request may hold many
    later: int  # tasks due tomorrow, beside a drain
    keyed: int  # tasks of one saturated key, beside a drain
    chain: int  # tasks that each depend on the one before
    fan: int  # tasks that depend on one, and that one depends on
    idle_seconds: float
    settle_seconds: float  # before idleness is measured: what a start leaves to do is done then


FULL = Scale(
    repeats=3, seconds=5, steady_seconds=15, drained=50_000, waiting=1_000_000, batch=10_000, later=1_000_000, keyed=100_000,
    chain=10_000, fan=10_000, idle_seconds=30, settle_seconds=5,
)  # fmt: skip
QUICK = Scale(
    repeats=1, seconds=1, steady_seconds=0.5, drained=1_000, waiting=2_000, batch=500, later=2_000, keyed=500, chain=50, fan=700,
    idle_seconds=1, settle_seconds=0,
)  # fmt: skip

CONNECTIONS = 32  # of a busy client
SLOTS = 100  # of the worker, and tasks a claim of the raw loop takes
IDLE_SLOTS = 1_000
STEADY_PART = 0.25  # of the most that a closed loop reached
