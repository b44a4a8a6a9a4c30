"""When a schedule is due: by a cron expression in a time zone, or every so many seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

SHORTEST = 1.0  # seconds between two ticks
LONGEST = 366 * 86_400.0  # seconds
FIELDS = "the fields are minute, hour, day of month, month, day of week, as in '30 2 * * *'"


class Timetable(Protocol):
    """Ticks in order."""

    def after(self, time: float) -> Iterator[float]:
        """Every tick later than this time, in seconds since the epoch. May end: not every expression goes on for ever."""
        ...


class Cron:
    """Five fields, or six with seconds in front, as Debian's cron reads them; daylight saving as it does."""

    def __init__(self, expression: str, timezone: str) -> None:
        """Raises ValueError with the reason if there is no such zone or the expression fits no time."""
        self._zone = zone(timezone)
        self._expression = expression
        try:
            first = next(self.after(datetime.now(UTC).timestamp()), None)
        except CronSimError as error:
            raise ValueError(_why_not(expression, error)) from None
        if first is None:
            raise ValueError(f"{expression!r} fits no time at all")

    def after(self, time: float) -> Iterator[float]:
        start = datetime.fromtimestamp(time, self._zone)
        for moment in CronSim(self._expression, start):
            if (tick := moment.timestamp()) > time:
                yield tick


class Every:
    """Ticks at equal distances from a beginning."""

    def __init__(self, seconds: float, *, since: float) -> None:
        """Raises ValueError with the reason."""
        if not SHORTEST <= seconds <= LONGEST:
            raise ValueError(f"it must be {SHORTEST:g} to {LONGEST:,.0f} seconds")
        self._seconds = seconds
        self._since = since

    def after(self, time: float) -> Iterator[float]:
        number = max(0, int((time - self._since) // self._seconds)) + 1
        while True:
            tick = self._since + number * self._seconds
            if tick > time:
                yield tick
            number += 1


def _why_not(expression: str, error: CronSimError) -> str:
    """What is wrong with an expression, in words that lead to a right one."""
    fields = expression.split()
    try:
        CronSim(" ".join([*fields[:-2], "*", *fields[-1:]]), datetime.now(UTC))
    except CronSimError:
        return f"{expression!r} is no cron expression: {error}; {FIELDS}"
    return f"{expression!r} fits no time at all: there is no such month, or no such day in it"


def zone(name: str) -> ZoneInfo:
    """The time zone. Raises ValueError if there is none of this name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}: give a name such as Europe/Berlin, or UTC") from None


def upcoming(timetable: Timetable, time: float, count: int) -> list[float]:
    """The next ticks after a time; fewer if there are no more."""
    return list(islice(timetable.after(time), count))
