"""When a schedule is due: time zones, daylight saving, equal distances, and expressions that fit no time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dolgo.task.timetable import Cron, Every, upcoming


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def shown(ticks: list[float]) -> list[str]:
    return [datetime.fromtimestamp(tick, UTC).strftime("%Y-%m-%d %H:%M:%S") for tick in ticks]


def test_cron_goes_by_its_time_zone() -> None:
    cron = Cron("30 9 * * 1-5", "Europe/Berlin")
    ticks = upcoming(cron, at("2026-01-02T12:00:00+00:00"), 3)  # a Friday
    assert shown(ticks) == ["2026-01-05 08:30:00", "2026-01-06 08:30:00", "2026-01-07 08:30:00"]
    assert shown(upcoming(cron, at("2026-07-01T00:00:00+00:00"), 1)) == ["2026-07-01 07:30:00"]


def test_a_tick_is_later_than_the_time_it_is_asked_for_and_comes_once() -> None:
    cron, tick = Cron("0 * * * *", "UTC"), at("2026-01-01T05:00:00+00:00")
    assert upcoming(cron, tick, 1) == [tick + 3600]
    assert upcoming(cron, tick - 0.001, 1) == [tick]


def test_in_the_hour_that_is_left_out_in_spring_a_daily_run_is_not_lost() -> None:
    """02:30 does not exist in Berlin on 2026-03-29: it runs when the clock has moved on."""
    ticks = upcoming(Cron("30 2 * * *", "Europe/Berlin"), at("2026-03-28T00:00:00+00:00"), 3)
    assert len({tick // 86_400 for tick in ticks}) == 3


def test_in_the_hour_that_comes_twice_in_autumn_a_daily_run_comes_once() -> None:
    ticks = upcoming(Cron("30 2 * * *", "Europe/Berlin"), at("2026-10-24T00:00:00+00:00"), 3)
    days = [datetime.fromtimestamp(tick, UTC).date() for tick in ticks]
    assert len(set(days)) == 3


@pytest.mark.parametrize(("expression", "zone", "reason"), [
    ("61 * * * *", "UTC", "is no cron expression"), ("nonsense", "UTC", "is no cron expression"),
    ("", "UTC", "is no cron expression"), ("0 0 31 2 *", "UTC", "no such day in it"),
    ("0 0 31 2,4 *", "UTC", "no such day in it"),
    ("0 0 * 13 *", "UTC", "no such month"), ("@daily", "UTC", "the fields are minute, hour"),
    ("0 0 0 31 2 *", "UTC", "no such day in it"), ("0 0 32 * *", "UTC", "Bad day-of-month"),
    ("* * * * *", "Europe/Nowhere", "no time zone"), ("* * * * *", "../etc/passwd", "no time zone"),
    ("* * * * *", "", "no time zone"),
])  # fmt: skip
def test_what_is_never_due_is_refused_with_the_reason(expression: str, zone: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Cron(expression, zone)


def test_equal_distances_count_from_the_beginning_whatever_is_late() -> None:
    every = Every(10.0, since=1_000.0)
    assert upcoming(every, 1_000.0, 3) == [1_010.0, 1_020.0, 1_030.0]
    assert upcoming(every, 1_034.9, 2) == [1_040.0, 1_050.0]
    assert upcoming(every, 1_040.0, 1) == [1_050.0]
    assert upcoming(every, 900.0, 1) == [1_010.0]


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.5, 1e9, float("nan"), float("inf")])
def test_distances_too_short_or_too_long_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Every(seconds, since=0.0)
