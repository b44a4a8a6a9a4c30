"""Which processor each process has: the worker and its children one of their own; all others share another."""

from __future__ import annotations

import os
from collections.abc import Sequence

CORES = sorted(os.sched_getaffinity(0))


def leave_the_first() -> None:
    """This process, and all it starts from now on, keep off the worker's core. Where there is but one, all share it."""
    os.sched_setaffinity(0, CORES[1:2] or CORES)


def on_its_core(argv: Sequence[str]) -> list[str]:
    """The command of a worker, kept with its children on the first core."""
    return ["taskset", "--cpu-list", str(CORES[0]), *argv]
