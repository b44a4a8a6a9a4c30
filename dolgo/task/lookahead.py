"""How many tasks to claim beyond the free slots, so that a child of short tasks never waits for a commit."""

from __future__ import annotations

from collections.abc import Set

SHORT = 0.01  # seconds; only types measured faster than this are claimed ahead
COVERED = 0.02  # seconds of work to hold: some commits' worth
MOST = 500  # tasks ahead
WEIGHT = 0.05  # of one measurement in the moving mean
FASTEST = 20e-6  # seconds; below it the handler is not what takes the time


class LookAhead:
    """Moving means of how long each type takes."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._means: dict[str, float] = {}

    def measured(self, type: str, seconds: float) -> None:
        """One task of this type took so long. Jobs that never ran (0 seconds) tell nothing."""
        if seconds > 0.0:
            mean = self._means.get(type, seconds)
            self._means[type] = mean + WEIGHT * (seconds - mean)

    def short(self, types: Set[str]) -> frozenset[str]:
        """Those of the types that are short."""
        return frozenset(type for type in types if self._means.get(type, SHORT) < SHORT)

    def more(self, ahead: int, types: Set[str]) -> int:
        """How many more to claim when `ahead` are held beyond the slots. 0 until a quarter is gone: claim many at once."""
        if not types:
            return 0
        mean = max(self._means[type] for type in types)
        wanted = min(MOST, int(self._slots * COVERED / max(mean, FASTEST)))
        return wanted - ahead if ahead <= wanted * 3 // 4 else 0
