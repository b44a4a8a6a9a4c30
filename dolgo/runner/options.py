"""What a task type says of itself beside its handler: checked when it is written, announced as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dolgo.errors import BadTaskType

NAME = re.compile(r"\w[\w.-]{0,99}")
RESERVED = "dolgo."  # names of dolgo's own types begin so; they are refused at submit
MOST_TRIES = 1000  # retries, and delays in a list
LONGEST = 100 * 365 * 86_400.0  # seconds in any option; what takes longer is a mistake

FEWEST_STARTS, MOST_STARTS = 1e-6, 1e6  # a second; fewer than one in eleven days is a mistake, or a matter for a schedule

Isolation = Literal["thread", "process"]


class Backoff(Struct, frozen=True):
    """How long to wait before another attempt: before the n-th one after a failure anything between 0 and
    `min(cap, base * factor ** (n - 1))` seconds (full jitter, so that those that failed together do not come back together)."""

    base: float = 1.0  # seconds
    factor: float = 2.0
    cap: float = 600.0  # seconds


class Options(Struct, frozen=True, kw_only=True):
    """The options of one task type; None: it does not say. Their order is that of the documentation."""

    name: str
    queue: str = "default"
    priority: int = 5  # 0-9, higher first
    timeout: float | None = None  # seconds an attempt may take
    retries: int | None = None  # tries after the first
    backoff: Any = None  # seconds, a list of them, or a `Backoff`
    keep: float | None = None  # seconds a task is kept once it has ended
    isolation: Isolation | None = None
    max_running: int | None = None
    max_running_per_key: int | None = None
    rate: float | None = None  # starts a second
    unique: bool = False  # one unfinished task per payload
    extra: bool = False  # unknown members of a payload are let through


OPTIONS = Options.__struct_fields__


def options_of(own: str, given: Mapping[str, Any]) -> Options:
    """The options of the type that is named `own` unless they name it. Raises `BadTaskType` for one that cannot be used."""
    unknown = sorted(set(given) - set(OPTIONS))
    if unknown:
        raise BadTaskType(f"task type `{own}` has no option `{unknown[0]}`; there are: {', '.join(OPTIONS)}")
    options = {"name": own, **{name: value for name, value in given.items() if value is not None}}
    try:
        made = msgspec.convert(options, Options)
    except msgspec.ValidationError as error:
        raise BadTaskType(f"task type `{own}`: {error}") from error
    _check_names(made)
    try:
        _check_numbers(made)
        _backoff(made.backoff)
    except ValueError as error:
        raise BadTaskType(f"task type `{made.name}`: {error}") from error
    return made


def announced(options: Options) -> dict[str, Any]:
    """The options as plain data: those that the type leaves open are not in it, but queue and priority are."""
    said = {name: getattr(options, name) for name in OPTIONS if name not in ("name", "backoff")}
    said["backoff"] = _backoff(options.backoff)
    return {name: value for name, value in said.items() if value is not None and value is not False}  # 0 is said


def _check_names(options: Options) -> None:
    for word, value in (("name", options.name), ("queue", options.queue)):
        if not NAME.fullmatch(value):
            raise BadTaskType(f"{value!r} is not a {word}: letters, digits, `_`, `-` and `.`, at most 100")
    if options.name.startswith(RESERVED):
        raise BadTaskType(f"`{options.name}`: names that begin with `{RESERVED}` are dolgo's own")


def _check_numbers(options: Options) -> None:
    if not 0 <= options.priority <= 9:
        raise ValueError(f"priority is 0 to 9, not {options.priority}")
    if not 0 <= (options.retries or 0) <= MOST_TRIES:
        raise ValueError(f"retries is 0 to {MOST_TRIES}, not {options.retries}")
    if options.timeout is not None and not 0 < options.timeout <= LONGEST:
        raise ValueError(f"timeout is more than 0 and at most {LONGEST:.0f}, not {options.timeout}")
    if options.rate is not None and not FEWEST_STARTS <= options.rate <= MOST_STARTS:
        raise ValueError(f"rate is {FEWEST_STARTS:f} to {MOST_STARTS:.0f} starts a second, not {options.rate}")
    check_seconds("keep", 0.0 if options.keep is None else options.keep)
    for name in ("max_running", "max_running_per_key"):
        value = getattr(options, name)
        if value is not None and not 1 <= value < 2**31:
            raise ValueError(f"{name} is 1 or more, not {value}")


def check_seconds(name: str, value: Any) -> None:
    """Raises `ValueError` for what is no duration."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is in seconds, not {value!r}")
    if not 0 <= value <= LONGEST:
        raise ValueError(f"{name} is 0 to {LONGEST:.0f} seconds, not {value}")


def _check_factor(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < math.inf:
        raise ValueError(f"backoff's factor is 1 or more, not {value!r}")


def _backoff(backoff: Any) -> list[float] | dict[str, float] | None:
    """A backoff as plain data. Raises `ValueError` for what is none."""
    match backoff:
        case None:
            return None
        case Backoff():
            check_seconds("backoff's base", backoff.base)
            check_seconds("backoff's cap", backoff.cap)
            _check_factor(backoff.factor)
            return {"base": float(backoff.base), "factor": float(backoff.factor), "cap": float(backoff.cap)}
        case list() | tuple():
            if not 1 <= len(backoff) <= MOST_TRIES:
                raise ValueError(f"backoff has 1 to {MOST_TRIES} delays, not {len(backoff)}")
            for delay in backoff:
                check_seconds("a delay of backoff", delay)
            return [float(delay) for delay in backoff]
    check_seconds("backoff", backoff)
    return [float(backoff)]
