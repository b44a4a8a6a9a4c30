"""A storm of kills and freezes over a deployment under load costs no task anything but time. `make faults` has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blackbox.client import shown
from tests.faults.judge import judge
from tests.faults.records import read
from tests.faults.storm import Plan, storm


@pytest.mark.timeout(240)
def test_nothing_is_lost_stuck_or_changed_whatever_is_killed_or_frozen(store: str, tmp_path: Path) -> None:
    verdict = storm(Plan(store, seed=5, faults=8, tasks=300, lease=1.5), tmp_path)
    assert not verdict.wrong, shown(verdict.wrong)
    assert verdict.figures["acknowledged"] >= 200, verdict.figures
    assert verdict.figures["in flight at faults"] > 0, verdict.figures
    assert not verdict.figures["tracebacks"], verdict.figures
    assert judge(read(tmp_path)).wrong == {}, "the records do not say the same again"
