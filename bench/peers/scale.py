"""How much is measured beside other task queues."""

from __future__ import annotations

from msgspec import Struct


class Scale(Struct, frozen=True):
    """Sizes and times of a run."""

    repeats: int  # after one to warm up; the median counts
    tasks: int | None  # in a drain; None: as many as take `seconds`, by the rate of the warm-up
    seconds: float
    enqueued: int  # tasks, where their rate of coming is what is measured
    idle_seconds: float
    settle_seconds: float  # before idleness is measured
    crashed: int  # tasks of the run whose worker is killed
    patience: float  # seconds without a result, after which what a killed worker held is taken for lost


FULL = Scale(repeats=3, tasks=None, seconds=8, enqueued=10_000, idle_seconds=10, settle_seconds=3, crashed=600, patience=90)
QUICK = Scale(repeats=1, tasks=200, seconds=1, enqueued=500, idle_seconds=1, settle_seconds=0, crashed=300, patience=15)

WARM_UP = 200  # tasks enqueued in the first run
WARM_SECONDS = 2.0  # a second run is made where the first was over sooner
PAUSE = 0.1  # seconds that a task takes whose worker is killed: it has as many as it can then
RECOVERY = 5  # seconds until tasks of a killed worker are given away, for peers that can be told
