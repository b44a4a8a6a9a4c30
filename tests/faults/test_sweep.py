"""The first points of the crash-point sweep and some more by chance; `python -m tests.faults.sweep` takes them all."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.faults.sweep import CALLS, FAULTS, Point, Sweep
from tests.missing import need

SEED = int(os.environ.get("DOLGO_FAULT_SEED", "1"))
KINDS = [("live", fault) for fault in FAULTS] + [(phase, fault) for phase in ("open", "close") for fault in ("kill", "EIO")]
FIRST = {"live": {"kill": 15, "EIO": 6, "ENOSPC": 3}}  # points of each kind of call
OTHERS = 2  # of the phases that are not named
SAMPLED = 2  # more of each kind
LONGEST_BURST = 6  # calls in a row that fail, in the sample


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    need("strace")
    return Sweep(tmp_path_factory.mktemp("sweep"))


def points(sweep: Sweep, phase: str, fault: str, chance: random.Random) -> Iterator[Point]:
    for call in CALLS:
        number = sweep.count(phase, call)
        first = range(1, min(number, FIRST.get(phase, {}).get(fault, OTHERS)) + 1)
        yield from (Point(phase, fault, call, n) for n in first)
        rest = range(len(first) + 1, number + 1)
        for n in chance.sample(rest, min(SAMPLED, len(rest))):
            yield Point(phase, fault, call, n, 1 if fault == "kill" else chance.randint(1, LONGEST_BURST))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("phase", "fault"), KINDS)
def test_whatever_is_cut_off_or_fails_at_a_write_what_was_acknowledged_is_there(sweep: Sweep, phase: str, fault: str) -> None:
    planned = list(points(sweep, phase, fault, random.Random(f"{SEED} {phase} {fault}")))
    swept = sweep.all_at(planned)
    assert not swept.wrong, f"seed {SEED}: " + "\n".join(swept.wrong[:5])
    assert swept.points == len(planned), "some points were not reached"


def test_a_store_that_acknowledges_too_early_is_seen(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker is checked: the model is a step ahead, as if each step were told before it was stored."""
    monkeypatch.setattr(sweep, "_models", sweep._models[1:] + sweep._models[-1:])
    assert sweep.all_at([Point("live", "kill", "pwrite64", 40)]).wrong
