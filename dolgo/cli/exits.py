"""Exit codes, the only list of them, and the error that brings one along."""

from __future__ import annotations

from enum import IntEnum

from dolgo.errors import DolgoError


class Exit(IntEnum):
    """What a command's exit code says."""

    OK = 0
    ERROR = 1
    USAGE = 2
    TASK_FAILED = 3  # the task ended `failed` or `cancelled`
    NOT_FOUND = 4
    CONFLICT = 5  # its status does not allow this
    AUTH = 6  # a token is missing, wrong, or not enough
    UNREACHABLE = 7
    TIMED_OUT = 124  # as timeout(1) says it
    INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT, as shells count


class CallFailed(DolgoError):
    """The server was not reached, or it refused."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code
