"""Which receivers are left alone for a while: those that let one request after the other run into its timeout.

Each such request holds a slot for many seconds. A few hosts that are dead, with much to tell them, would hold all the slots."""

from __future__ import annotations

from collections.abc import Callable

IN_A_ROW = 4  # timeouts after which a host is left alone
REST = 30.0  # seconds it is, twice as long after each further timeout
LONGEST_REST = 600.0  # seconds
MOST = 10_000  # hosts remembered


class Hosts:
    """What this process knows of them. Fast failures count for nothing: they hold no slot."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._slow: dict[str, int] = {}  # timeouts in a row
        self._rests: dict[str, float] = {}  # until when, monotonic

    def rests(self, host: str) -> bool:
        """Whether nothing is to be sent to it now. Once its rest is over one may try, and the others wait for how that ends."""
        until = self._rests.get(host)
        if until is None:
            return False
        now = self._monotonic()
        if now >= until:
            self._rests[host] = now + REST
        return now < until

    def answered(self, host: str) -> None:
        self._slow.pop(host, None)
        self._rests.pop(host, None)

    def timed_out(self, host: str) -> None:
        if len(self._slow) >= MOST:  # they are learned anew
            self._slow.clear()
            self._rests.clear()
        self._slow[host] = times = self._slow.get(host, 0) + 1
        if times >= IN_A_ROW:
            self._rests[host] = self._monotonic() + min(REST * 2.0 ** min(times - IN_A_ROW, 10), LONGEST_REST)
