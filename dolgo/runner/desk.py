"""Where a handler's context, and all that it prints, meets the child."""

from __future__ import annotations

from concurrent.futures import Future
from contextvars import ContextVar
from typing import Protocol

from dolgo.runner.frames import Verb


class Desk(Protocol):
    """What one attempt can have done while it runs. Every method may be called from any thread."""

    def write(self, time: float, level: str, text: str) -> None:
        """Add a line to the log."""

    def print(self, time: float, stream: str, text: str) -> None:
        """Add to the log what was printed."""

    def progress(self, value: bytes) -> None:
        """Replace how far it is (JSON)."""

    def ask(self, verb: Verb, *, name: str = "", body: bytes = b"", extras: bytes | None = None) -> Future[bytes]:
        """The worker's answer as JSON. Raises `Refused`, and what `ask` itself raises: `RuntimeError` when it is over."""


CURRENT: ContextVar[Desk | None] = ContextVar("dolgo_desk", default=None)  # of the attempt whose code runs
