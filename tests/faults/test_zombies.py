"""A writer that was frozen past its lease and comes back is never heard. `make faults` asks a thousand of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blackbox.client import shown
from tests.faults.zombies import Plan, zombies

FROZEN, AT_ONCE = 25, 6  # five rounds at least


@pytest.mark.timeout(240)
def test_no_outcome_of_a_frozen_writer_is_accepted(store: str, tmp_path: Path) -> None:
    verdict = zombies(Plan(store, frozen=FROZEN, at_once=AT_ONCE, lease=1.5), tmp_path)
    assert not verdict.wrong, shown(verdict.wrong)
    assert verdict.figures["accepted"] == 0, verdict.figures
    assert verdict.figures["frozen writers"] >= FROZEN, verdict.figures
    assert verdict.figures["had an outcome to offer"] > 0, verdict.figures
