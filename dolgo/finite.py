"""Whether a value holds NaN or Infinity, which msgspec would write as null without a word."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

NOT_FINITE = re.compile(
    rb"\xcb[\x7f\xff][\xf0-\xff]"
)  # NaN and both infinities in msgpack, and perhaps a piece of something else

_msgpack = msgspec.msgpack.Encoder()


def has_not_finite(value: Any) -> bool:
    """Whether it does. In msgpack these stay what they are, so a search of the bytes rules them out."""
    try:
        suspect = NOT_FINITE.search(_msgpack.encode(value)) is not None
    except OverflowError:  # msgpack's integers end at 64 bits, those of JSON do not
        suspect = True
    return suspect and _walk_finds_one(value)


def _walk_finds_one(value: Any) -> bool:
    todo = [msgspec.to_builtins(value)]
    while todo:
        item = todo.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return True
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            todo.extend(item)
    return False
