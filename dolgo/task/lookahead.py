"""How many tasks to claim beyond the free slots, so that children of short tasks never wait for a commit."""

from __future__ import annotations

from collections.abc import Set

SHORT = 0.01  # seconds; only types measured faster than this are claimed ahead
COVERED = 0.02  # seconds of work to hold: some commits' worth
MOST = 500  # tasks ahead
WEIGHT = 0.05  # of one measurement in the moving means
FASTEST = 20e-6  # seconds; below it the handler is not what takes the time
HANDOVER = 500e-6  # seconds a single child takes for a task however short: one message there, one back


class LookAhead:
    """Moving means of how long tasks take: of each type, and of all that are short."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}
        self._recent = FASTEST

    def measured(self, type: str, seconds: float, *, alone: bool) -> None:
        """One task of this type took so long, perhaps in a child of its own. Those that never ran (0 seconds) tell nothing."""
        if seconds > 0.0:
            floor = HANDOVER if alone else FASTEST
            seconds = seconds if seconds > floor else floor
            mean = self._means.get(type, seconds)
            mean = self._means[type] = mean + WEIGHT * (seconds - mean)
            if mean < SHORT:
                self._recent += WEIGHT * (seconds - self._recent)

    def short(self, types: Set[str]) -> frozenset[str]:
        """Those of the types that are short."""
        return frozenset(type for type in types if self._means.get(type, SHORT) < SHORT)

    def more(self, ahead: int, *, slots: int) -> int:
        """How many more short tasks to claim for slots that come free all the time, when `ahead` are held beyond them.

        0 until a quarter is gone: claim many at once."""
        wanted = min(MOST, int(slots * COVERED / max(self._recent, FASTEST)))
        return wanted - ahead if ahead <= wanted * 3 // 4 else 0
