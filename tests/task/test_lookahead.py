"""What is claimed ahead: short types alone, and no more than some commits' worth."""

from __future__ import annotations

import pytest

from dolgo.task.lookahead import COVERED, HANDOVER, MOST, SHORT, LookAhead


def measured(seconds: float, *, times: int = 200, alone: bool = False) -> LookAhead:
    ahead = LookAhead()
    for _ in range(times):
        ahead.measured("a", seconds, alone=alone)
    return ahead


def test_a_type_that_was_never_measured_is_not_short() -> None:
    assert LookAhead().short({"a"}) == set()


def test_a_type_is_short_by_its_mean() -> None:
    assert measured(SHORT * 0.9).short({"a", "b"}) == {"a"}
    assert measured(SHORT * 1.1).short({"a"}) == set()


def test_jobs_that_never_ran_tell_nothing() -> None:
    ahead = measured(0.0)
    assert ahead.short({"a"}) == set()
    ahead.measured("a", SHORT * 2, alone=False)
    assert ahead.short({"a"}) == set()


def test_a_short_type_that_becomes_slow_is_not_short_at_once() -> None:
    ahead = measured(0.0001)
    ahead.measured("a", 1.0, alone=False)
    assert ahead.short({"a"}) == set()


def test_what_is_held_ahead_covers_the_same_time_however_long_a_task_takes() -> None:
    assert measured(0.001).more(0, slots=5) == pytest.approx(5 * COVERED / 0.001, rel=0.1)
    assert measured(0.009).more(0, slots=5) == pytest.approx(5 * COVERED / 0.009, rel=0.1)
    assert measured(1e-6).more(0, slots=5) == MOST
    assert measured(1e-6, alone=True).more(0, slots=5) == pytest.approx(5 * COVERED / HANDOVER, rel=0.1)


def test_only_slots_that_come_free_count() -> None:
    assert measured(0.001).more(0, slots=0) == 0
    assert measured(0.001).more(0, slots=1) == pytest.approx(COVERED / 0.001, abs=1)


def test_nothing_is_claimed_until_a_quarter_is_gone_and_then_up_to_the_whole() -> None:
    ahead = measured(1e-6)
    assert ahead.more(MOST, slots=5) == 0
    assert ahead.more(MOST * 3 // 4 + 1, slots=5) == 0
    assert ahead.more(MOST * 3 // 4, slots=5) == MOST - MOST * 3 // 4
    assert ahead.more(3 * MOST, slots=5) == 0


def test_long_types_do_not_spoil_the_estimate_of_the_short_ones() -> None:
    ahead = measured(1e-6)
    for _ in range(100):
        ahead.measured("long", 10.0, alone=False)
    assert ahead.more(0, slots=5) == MOST
