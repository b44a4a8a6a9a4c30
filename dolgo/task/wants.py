"""What a worker claims: for its free slots tasks of any type, and ahead of them those of types measured as short."""

from __future__ import annotations

import time
from collections.abc import Set
from typing import NamedTuple

from dolgo.store.base import Claim
from dolgo.task.crew import AHEAD_WITHIN, START_WITHIN, Crew
from dolgo.task.lookahead import LookAhead

BREATH = 0.5  # seconds without a free slot after which nothing is claimed ahead until there is one


class Wanted(NamedTuple):
    """What to claim in one go."""

    claims: list[tuple[Claim, float]]  # and within how many seconds what it brings has to begin
    whole: bool  # together they would take any task that may be claimed


class Wants:
    """Makes the claims. `like` is what all of them have in common; `avoid` what this worker cannot run."""

    def __init__(self, crew: Crew, ahead: LookAhead, *, slots: int, like: Claim) -> None:
        self._crew = crew
        self._ahead = ahead
        self._slots = slots
        self._like = like
        self._free_at = time.monotonic()  # when a slot was free
        self.avoid: set[tuple[str, str]] = set()

    def now(self, every: Set[str], *, running: int) -> Wanted:
        """The claims to make when so many leases are held, of a worker that has these types.

        What is claimed for a free slot is exact: gates count it. What is claimed ahead is nothing they count, or it would take
        a place there while it waits here. If no slot is free but slots come free all the time, tasks of any type are among
        those ahead: the short ones must not keep the others out for as long as there are short ones. For what gates count
        that is not enough, so now and then the look-ahead runs dry, and the free slots go to whoever is first."""
        crew = self._crew
        types = frozenset(every) if crew.ready else crew.blocking & every
        free = self._slots - running
        more = self._more(types, free)
        first = free if free > 0 else min(crew.quick_slots, more)
        room = min(first, crew.room if free > 0 else crew.quick_singles) if crew.blocking & types else first
        within, ahead = (START_WITHIN, False) if free > 0 else (AHEAD_WITHIN, True)
        asked = [
            (types, room, within, ahead),
            (types - crew.blocking, first - room, within, ahead),
            (self._ahead.short(types), more if free > 0 else more - first, AHEAD_WITHIN, True),
        ]
        claims = [
            (self._claim(names, limit, ahead=ahead), within) for names, limit, within, ahead in asked if names and limit > 0
        ]
        return Wanted(claims, whole=free > 0 and room > 0 and len(types) == len(every))

    def _more(self, types: frozenset[str], free: int) -> int:
        """How many tasks to claim beyond the free slots."""
        now = time.monotonic()
        if free > 0:
            self._free_at = now
        short = self._ahead.short(types)
        if not short or now - self._free_at > BREATH:
            return 0
        slots = min(self._crew.quick_slots, self._crew.quick_singles) if short & self._crew.blocking else self._crew.quick_slots
        return self._ahead.more(max(0, -free), slots=slots)

    def _claim(self, types: frozenset[str], limit: int, *, ahead: bool) -> Claim:
        like = self._like
        return Claim(like.worker, limit, like.lease, types, like.queues, frozenset(self.avoid), ahead)
