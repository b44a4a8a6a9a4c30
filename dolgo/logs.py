"""The log on stderr: one line a record, as text or as JSON, with nothing in it that could pass for another line."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

# `extra` of a line that many parts say again and again while the store is away.
SELDOM: Mapping[str, object] = MappingProxyType({"seldom": True})
SELDOM_EVERY = 10.0  # seconds between two such lines of one wording


def configure(form: str) -> None:
    """Send every log record to stderr in this form."""
    handler = logging.StreamHandler()
    handler.addFilter(_Seldom())
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for quiet in ("uvicorn", "httpx", "httpcore", "watchfiles"):
        logging.getLogger(quiet).setLevel(logging.WARNING)


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class _Seldom(logging.Filter):
    """Lets a line marked SELDOM pass once in a while, with the number of those that were held back since the one before."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # by wording: when it passed, and how many were held back

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "seldom", False):
            return True
        wording, now = (record.name, str(record.msg)), time.monotonic()
        said_at, held = self._said.get(wording, (float("-inf"), 0))
        if now - said_at < SELDOM_EVERY:
            self._said[wording] = said_at, held + 1
            return False
        self._said[wording] = now, 0
        if held:
            record.msg = f"{record.msg} ({held} more like it.)"
        return True


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        of = f" of task {task}" if (task := getattr(record, "task_id", None)) else ""
        text = f"{_stamp(record)} {record.levelname.lower()} {record.name}{of}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text.replace("\r", "\\r").replace("\x1b", "\\x1b").replace("\n", "\n    ")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _stamp(record), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if task := getattr(record, "task_id", None):
            line["task"] = task
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
