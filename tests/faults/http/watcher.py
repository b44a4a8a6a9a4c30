"""A good client beside the bad ones: asks once a second, and remembers how long the slowest answer took."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.faults.http.wire import answers_within

EVERY = 1.0  # seconds
WITHIN = 1.0  # seconds in which a server answers
BUSY = 4.0  # the same on a machine that runs other tests too


class Watcher:
    """Asks for `/livez` until it is left; then fails if an answer was wrong, or took longer than `within` seconds."""

    def __init__(self, port: int, within: float = BUSY) -> None:
        self._port = port
        self._within = within
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.slowest = 0.0
        self.asked = 0
        self.wrong: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(self._within + 5)
        if error is None:
            assert self.wrong is None, self.wrong
            assert self.asked

    def _watch(self) -> None:
        while True:
            try:
                self.slowest = max(self.slowest, answers_within(self._port, self._within))
                self.asked += 1
            except (OSError, AssertionError) as error:
                self.wrong = error
                return
            if self._over.wait(EVERY):
                return
