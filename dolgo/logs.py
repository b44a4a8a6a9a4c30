"""The log on stderr: one line a record, as text or as JSON, with nothing in it that could pass for another line."""

from __future__ import annotations

import logging
import time

import msgspec


def configure(form: str) -> None:
    """Send every log record to stderr in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for quiet in ("uvicorn", "httpx", "httpcore", "watchfiles"):
        logging.getLogger(quiet).setLevel(logging.WARNING)


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


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
