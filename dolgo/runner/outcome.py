"""What a handler leaves behind, fit to be sent: its result as JSON, or why there is none."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Any

import msgspec

from dolgo.finite import has_not_finite
from dolgo.runner.frames import Fault
from dolgo.task.types import ErrorCode

MESSAGE = 4 * 2**10  # characters at most: it is shown wherever the task is
TRACEBACK = 16 * 2**10  # characters at most
OURS = os.path.dirname(__file__) + os.sep

_json = msgspec.json.Encoder()


def encode_result(value: Any, *, limit: int, what: str = "the result") -> bytes | Fault:
    """The value as JSON, or the fault of a value that JSON cannot hold or that takes more than `limit` bytes."""
    try:
        data = _json.encode(value)
        lossy = value is not None and b"null" in data and has_not_finite(value)
    except Exception as error:  # TypeError, OverflowError, RecursionError, UnicodeEncodeError, and what attributes may raise
        return Fault(ErrorCode.UNSERIALISABLE_RESULT, clip(f"{what} is not JSON: {_text(error)}", MESSAGE), class_name(error))
    if lossy:
        return Fault(ErrorCode.UNSERIALISABLE_RESULT, f"{what} is not JSON: it holds NaN or Infinity", "ValueError")
    if len(data) > limit:
        return Fault(ErrorCode.RESULT_TOO_LARGE, f"{what} takes {len(data):,} bytes as JSON, {limit:,} are allowed")
    return data


def fault_of(error: BaseException) -> Fault:
    """What a handler raised, with the traceback from its own frames on."""
    return Fault(ErrorCode.HANDLER_ERROR, clip(_text(error), MESSAGE), class_name(error), clip(_traceback(error), TRACEBACK))


def invalid_payload(error: BaseException) -> Fault:
    """The fault of a payload that this child's code refuses."""
    return Fault(ErrorCode.INVALID_PAYLOAD, clip(_text(error), MESSAGE))


def class_name(error: BaseException) -> str:
    """As in a traceback: with its module, unless it is a built-in."""
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def clip(text: str, limit: int) -> str:
    """The text as something UTF-8 can hold. Of more than `limit` characters the middle is left out, and said to be."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException:  # `__str__` is the handler's code too
        return type(error).__name__


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _handlers_own(error.__traceback__)))
    except Exception as failure:  # exceptions may have attributes of any kind
        return f"{class_name(error)} (its traceback cannot be shown: {class_name(failure)})\n"


def _handlers_own(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(OURS):
        frames = frames.tb_next
    return frames
