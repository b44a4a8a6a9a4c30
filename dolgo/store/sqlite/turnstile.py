"""Turns between the processes that share one SQLite file."""

from __future__ import annotations

import fcntl
import os
from types import TracebackType


class Turnstile:
    """A fair turn: lock A, lock B, unlock A … commit … unlock B.

    A single lock starves the waiter for seconds: who has just released it takes it again before the kernel has woken the other.
    With two, the waiter stands at B while holding A, so whoever comes round again queues behind it. The locks are files of their
    own: closing any descriptor of the database would drop SQLite's own locks on it.
    """

    def __init__(self, path: str) -> None:
        self._a = _open(path + "-turn-a")
        self._b = _open(path + "-turn-b")

    def __enter__(self) -> None:
        fcntl.flock(self._a, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._b, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._a, fcntl.LOCK_UN)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        fcntl.flock(self._b, fcntl.LOCK_UN)

    def close(self) -> None:
        for descriptor in (self._a, self._b):
            os.close(descriptor)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
