"""How long to wait: within bounds, as said, and never all at the same moment."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dolgo.task.backoff import pause


def most(tries: int, backoff: object = None) -> float:
    return pause(backoff, tries, lambda: 1.0)  # type: ignore[arg-type]


def test_a_type_that_says_nothing_waits_below_1_2_4_and_at_most_600_seconds() -> None:
    assert [most(n) for n in (1, 2, 3, 4, 10, 11, 1_000)] == [1, 2, 4, 8, 512, 600, 600]


def test_full_jitter_spreads_the_whole_way_down_to_nothing() -> None:
    drawn = [pause(None, 5, random.Random(7).random) for _ in range(1)] + [pause(None, 5, r) for r in (lambda: 0.0, lambda: 0.5)]
    assert drawn[1:] == [0.0, 8.0]
    assert 0 <= drawn[0] < 16


def test_a_list_is_taken_as_it_stands_and_its_last_number_repeats() -> None:
    assert [pause([1, 5.5, 30], n, lambda: 0.0) for n in (1, 2, 3, 4, 99)] == [1, 5.5, 30, 30, 30]


def test_base_factor_and_cap_are_minded() -> None:
    backoff = {"base": 10.0, "factor": 3.0, "cap": 100.0}
    assert [most(n, backoff) for n in (1, 2, 3, 4)] == [10, 30, 90, 100]


@given(
    tries=st.integers(1, 10_000), base=st.floats(0, 1e6), factor=st.floats(1, 1e9), cap=st.floats(0, 1e6), drawn=st.floats(0, 1)
)
def test_no_number_of_tries_breaks_it(tries: int, base: float, factor: float, cap: float, drawn: float) -> None:
    waited = pause({"base": base, "factor": factor, "cap": cap}, tries, lambda: drawn)
    assert 0 <= waited <= cap


def test_a_base_of_nothing_waits_for_nothing() -> None:
    assert [most(n, {"base": 0.0, "factor": 2.0, "cap": 600.0}) for n in (1, 2_000)] == [0.0, 0.0]
