"""A child's end of its link, for writing."""

from __future__ import annotations

import os
import select
import socket
import threading

from dolgo.runner.frames import LINK_LOST


class Outlet:
    """Frames leave whole and in the order they were put, whichever thread puts them. A lost link ends the process."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._unsent = bytearray()
        # Held also by those who put several things that belong together. Reentrant: what is collected as garbage meanwhile may
        # write a line of the log.
        self.lock = threading.RLock()

    @property
    def is_held(self) -> bool:
        """Whether this thread holds the lock. Asked by signal handlers: broken into here, it would send half a frame twice, or
        leave a note half made."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]  # `threading.Condition` asks it, too

    @property
    def is_full(self) -> bool:
        """Whether something waits for the worker to read."""
        return bool(self._unsent)

    def put(self, data: bytes) -> None:
        """Keep frames for the next push."""
        with self.lock:
            self._unsent += data

    def push(self) -> bool:
        """Send what the socket takes without waiting, and say whether that was all."""
        with self.lock:
            if self._unsent:
                del self._unsent[: self._send()]
            return not self._unsent

    def drain(self) -> None:
        """Send all, however long the worker takes to read it. The lock is free meanwhile: handlers write lines of their log."""
        while not self.push():
            select.select([], [self._link], [])

    def _send(self) -> int:
        try:
            return self._link.send(self._unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            os._exit(LINK_LOST)

    def renew(self) -> None:
        """For a forked copy of the process: a thread that is not in it may have held the lock."""
        self.lock = threading.RLock()
