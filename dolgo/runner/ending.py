"""How a child process ends: when it obeys a SIGTERM, and how it leaves what hangs behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


class Terminations:
    """SIGTERM does nothing until the worker has said stop: a service manager signals everybody at once, the worker included."""

    def __init__(self) -> None:
        self._obeyed = False
        self._first: Callable[[], bool] = lambda: False
        # Functions instead of SIG_IGN: what a handler starts would inherit that, and could not be terminated.
        signal.signal(signal.SIGINT, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def obey(self) -> None:
        """From now on a SIGTERM ends the process."""
        self._obeyed = True

    def tell_first(self, told: Callable[[], bool]) -> None:
        """From now on each SIGTERM is told first, and not obeyed if the answer is yes. What `told` raises breaks in."""
        self._first = told

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if not self._first() and self._obeyed:
            restore_signals()
            os.kill(os.getpid(), number)


def restore_signals() -> None:
    """SIGINT and SIGTERM mean what they mean everywhere."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave() -> None:
    """End the process without the interpreter's farewell, which waits for threads that handlers have left."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a handler may have closed it, or put anything in its place
            stream.flush()
    os._exit(0)
