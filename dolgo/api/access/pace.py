"""How fast each token may ask: a token bucket a token, in this process alone."""

from __future__ import annotations

from collections.abc import Callable

MOST_AT_ONCE = 1.0  # seconds' worth of requests that may come at once, and at least one


class Pace:
    """Counts requests. Nothing is stored: each server counts its own."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}  # by id: requests it may send, as of when

    def take(self, id: str, rate: float) -> float:
        """Count a request: 0 if it may go on, else the seconds until one may."""
        now = self._monotonic()
        most = max(1.0, rate * MOST_AT_ONCE)
        left, since = self._left.get(id, (most, now))
        left = min(most, left + (now - since) * rate)
        if left < 1.0:
            self._left[id] = left, now
            return (1.0 - left) / rate
        self._left[id] = left - 1.0, now
        return 0.0
