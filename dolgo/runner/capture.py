"""What handlers print and log goes to their task's log, besides stderr.

Whose it is, is told by the context: threads that a handler starts without it, and processes, are heard on stderr alone."""

from __future__ import annotations

import io
import logging
import sys
import time

from dolgo.runner.desk import CURRENT, Desk


def install() -> None:
    """Take in what is logged, printed and warned of from now on. Called once, when logging is configured."""
    logging.captureWarnings(True)
    logging.getLogger().addHandler(Taker())
    # New objects beside the old ones: those go on to serve the log on stderr, whose lines are taken in as records.
    sys.stdout = _tee(sys.__stdout__, "stdout") or sys.stdout
    sys.stderr = _tee(sys.__stderr__, "stderr") or sys.stderr


class Taker(logging.Handler):
    """Takes records to the log of the task that they are from."""

    def __init__(self) -> None:
        super().__init__()
        self._traceback = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        desk: Desk | None = getattr(record, "dolgo_desk", None) or CURRENT.get()
        if desk is not None:
            try:
                text = self._text(record)
            except Exception:  # the other handler, for stderr, says what is wrong with it
                text = repr(record.msg)
            desk.write(record.created, record.levelname.lower(), text)

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if not hasattr(record, "task_id"):
            text = f"{record.name}: {text}"
        if record.exc_info:
            text = f"{text}\n{self._traceback.formatException(record.exc_info)}"
        return text


class Tee(io.TextIOWrapper):
    """A text stream that also hands what is written to the attempt that writes it."""

    stream: str

    def write(self, text: str) -> int:
        written = super().write(text)
        desk = CURRENT.get()
        if desk is not None:
            desk.print(time.time(), self.stream, text)
        return written

    def close(self) -> None:
        """The stream beneath goes on: it also serves the log, and a handler may have put anything in the place of this one."""
        self.flush()


def _tee(stream: object, name: str) -> Tee | None:
    if not isinstance(stream, io.TextIOWrapper):  # there is none
        return None
    tee = Tee(stream.buffer, stream.encoding, "backslashreplace", line_buffering=True)
    tee.stream = name
    return tee
