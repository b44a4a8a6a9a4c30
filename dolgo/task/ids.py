"""Task ids: UUIDv7 (RFC 9562), so that newer ids sort after older ones and need no round trip to make.

The last bit of an id says whether somebody is to be told of the task's end. Every event, on every store, carries the id already:
so whoever follows the log passes over the tasks that nobody asked about without reading them, and they pay nothing for it. Ids of
releases that drew this bit at random cost a look at the task, no more.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable

_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62
_RANDOM_BITS = 62
_ENTROPY = 4096  # bytes drawn at once: one system call for some hundred ids
_UNFLAGGED = (1 << _RANDOM_BITS) - 2  # what of the random bits is random
_FLAGGED = frozenset("13579bdf")  # last digits of ids with the bit


class Ids:
    """Makes ids that rise within this process even when the clock stands still or goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0  # milliseconds << 12 | counter
        self._pool = b""
        self._at = 0
        self._lock = threading.Lock()

    def new(self) -> str:
        """A new id, 36 characters, lower case."""
        with self._lock:
            now = int(self._clock() * 1000) << 12
            self._last = now if now > self._last else self._last + 1
            stamp = self._last
            random = self._draw()
        value = (stamp >> 12 << 80) | _VERSION | ((stamp & 0xFFF) << 64) | _VARIANT | random
        return _text(value)

    @staticmethod
    def derived(parent: str, seed: str) -> str:
        """An id that is the same for the same seed, of the time of another id: for what must not be submitted twice."""
        digest = int.from_bytes(hashlib.sha256(f"{parent}/{seed}".encode()).digest()[:16], "big")
        stamp = int(parent.replace("-", "")[:12], 16)
        value = (stamp << 80) | _VERSION | ((digest >> 64 & 0xFFF) << 64) | _VARIANT | (digest & _UNFLAGGED)
        return _text(value)

    @staticmethod
    def derived_at(time: float, seed: str) -> str:
        """As `derived`, of a time in seconds since the epoch."""
        return Ids.derived(f"{int(time * 1000) & (1 << 48) - 1:012x}", seed)

    @staticmethod
    def flagged(id: str) -> str:
        """The same id, of a task whose end somebody is to be told of."""
        return id[:-1] + f"{int(id[-1], 16) | 1:x}"

    @staticmethod
    def is_flagged(id: str) -> bool:
        """Whether somebody may have to be told of the end of the task."""
        return id[-1:] in _FLAGGED

    def _draw(self) -> int:
        if self._at >= len(self._pool):
            self._pool = os.urandom(_ENTROPY)
            self._at = 0
        drawn = self._pool[self._at : self._at + 8]
        self._at += 8
        return int.from_bytes(drawn, "big") & _UNFLAGGED


def _text(value: int) -> str:
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
