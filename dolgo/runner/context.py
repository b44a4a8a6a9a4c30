"""What a handler is given: the task it runs for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

_payload = msgspec.json.Decoder()


class _Base:
    """The members that read the same in `async def` and in `def`."""

    __slots__ = ("_cancelled", "_log", "_payload", "_raw", "attempt", "id", "queue", "tags", "type")

    def __init__(
        self,
        id: str,
        *,
        type: str,
        queue: str,
        payload: bytes,
        attempt: int,
        tags: tuple[str, ...] = (),
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.id: str = id
        self.type: str = type
        self.queue: str = queue
        self.attempt: int = attempt  # from 1
        self.tags: tuple[str, ...] = tags
        self._raw = payload
        self._payload: dict[str, Any] | None = None
        self._log: logging.Logger | None = None
        self._cancelled = cancelled

    @property
    def payload(self) -> dict[str, Any]:
        """The payload as it was sent: members that the handler does not take are here as well, defaults are not."""
        if self._payload is None:
            self._payload = _payload.decode(self._raw)
        return self._payload

    @property
    def log(self) -> logging.Logger:
        """A logger whose lines belong to this task: each record has the task's id in `task_id`."""
        if self._log is None:
            self._log = _TaskLogger(self.type, self.id)
        return self._log

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked for this task to be cancelled."""
        return self._cancelled()


class Context(_Base):
    """What an `async def` handler is given as `ctx`."""

    __slots__ = ()


class SyncContext(_Base):
    """What a `def` handler is given as `ctx`."""

    __slots__ = ()


class _TaskLogger(logging.Logger):
    """Stamps each record with the task. Unlike those of `getLogger` it is not kept for ever, so a task costs no memory."""

    def __init__(self, type: str, task_id: str) -> None:
        super().__init__(f"dolgo.task.{type}")
        self.parent = logging.getLogger(self.name)
        self._task_id = task_id

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = super().makeRecord(*args, **kwargs)
        record.task_id = self._task_id
        return record
