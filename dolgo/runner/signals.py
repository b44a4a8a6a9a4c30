"""What a handler raises to say more than that it failed, and what is raised into it."""

from __future__ import annotations

from dolgo.runner.options import check_seconds


class Retry(Exception):
    """Raised by a handler: the attempt ends, another one follows, and no failure is counted.

    It follows after `delay` seconds, or if that is None after the type's backoff. `reason` is shown with the attempt. Use
    `raise Retry(…) from error` to have the cause in its traceback. A task may do so 1,000 times. Raises `ValueError` for a delay
    that is no number of seconds."""

    __module__ = "dolgo"  # what tracebacks and errors call it
    delay: float | None = None  # of a class made from it that does not call `__init__`

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        if delay is not None:
            check_seconds("the delay", delay)
        super().__init__(reason or "asked for another attempt")
        self.delay = None if delay is None else float(delay)
        self.reason = reason


class Fail(Exception):
    """Raised by a handler: the task fails for this reason, whatever attempts it has left."""

    __module__ = "dolgo"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "failed for good")
        self.reason = reason


class Stopped(BaseException):
    """Raised into a `def` handler that is to stop, so that its `finally` blocks run. Nothing to be caught and kept."""
