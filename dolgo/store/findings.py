"""What `dolgo doctor` finds in a store, and how a list of checks is gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

from msgspec import Struct

Look = TypeVar("Look")  # what the checks of one store look at


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  # it works, and nothing acknowledged is lost as long as nothing else goes wrong
    BAD = "bad"  # loses acknowledged tasks, or cannot work


class Verdict(NamedTuple):
    """What one check says."""

    level: Level
    found: str  # as a sentence without its full stop
    advice: str = ""  # what to change; empty where all is well


class Finding(Struct, frozen=True):
    """A verdict with the name of its check."""

    check: str
    level: Level
    found: str
    advice: str = ""


Checks = Mapping[str, Callable[[Look], Verdict | None]]  # name → check, in the order they are shown; None: does not apply


def ok(found: str) -> Verdict:
    """All is well."""
    return Verdict(Level.OK, found)


def warn(found: str, advice: str) -> Verdict:
    """Worth knowing, and worth a change."""
    return Verdict(Level.WARN, found, advice)


def bad(found: str, advice: str) -> Verdict:
    """It has to be changed."""
    return Verdict(Level.BAD, found, advice)


def findings(checks: Checks[Look], look: Look, *, hides: type[Exception]) -> Iterator[Finding]:
    """What the checks say, in their order. One that raises `hides` could not look; the others go on."""
    for name, check in checks.items():
        try:
            verdict = check(look)
        except hides as error:
            verdict = warn(f"cannot be looked at: {error}", "Run this as a user who may.")
        if verdict is not None:
            yield Finding(name, *verdict)
