"""What queues, types, schedules, tags and keys may be called."""

from __future__ import annotations

import re

LONGEST_NAME = 100
LONGEST_TAG = 128
MOST_TAGS = 32
LONGEST_KEY = 255
RESERVED = "dolgo."  # types of dolgo's own begin so; nobody submits them

NAME_RULE = f"a name has letters, digits, `_`, `-` and `.`, at most {LONGEST_NAME}, and begins with a letter, a digit or `_`"
TAG_RULE = f"a tag has 1 to {LONGEST_TAG} characters, none of them a control character"
KEY_RULE = f"a key has 1 to {LONGEST_KEY} characters, none of them a control character"

NAME_PATTERN = r"^\w[\w.-]{0,99}$"

_NAME = re.compile(NAME_PATTERN.strip("^$"))
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")


def is_name(text: str) -> bool:
    """Whether a queue, type or schedule could be called so."""
    return _NAME.fullmatch(text) is not None


def is_printable(text: str) -> bool:
    """Whether a tag, a key or a ref could read so; its length is not looked at."""
    return _PRINTABLE.fullmatch(text) is not None
