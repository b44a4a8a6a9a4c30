"""A task type in one function: its parameters are the payload, what it returns is the result.

curl localhost:8080/tasks?wait=5 -d '{"type": "count_words", "payload": {"text": "to be or not to be", "top": 2}}'
"""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from dolgo import task

WORD = re.compile(r"[^\W\d_]+")  # a run of letters, of any script


@dataclass
class Counted:
    """What one gets."""

    lines: int
    words: int
    frequent: dict[str, int]  # the most frequent words in lower case, with how often; those most frequent first


@task
def count_words(
    path: Annotated[str | None, Meta(description="A UTF-8 text file on the machine that runs the task.")] = None,
    text: Annotated[str | None, Meta(description="The text itself, instead of a path.")] = None,
    top: Annotated[int, Meta(ge=0, description="How many of the most frequent words to name.")] = 10,
) -> Counted:
    """Count the lines and words of a text, and name its most frequent words."""
    if (path is None) == (text is None):
        raise ValueError("Give either a path or a text.")
    if path is None:
        return count(io.StringIO(text), top=top)
    with open(path, encoding="utf-8", errors="replace") as file:  # a stray byte ends a word, it does not end the count
        return count(file, top=top)


def count(lines: io.TextIOBase | io.StringIO, *, top: int) -> Counted:
    """The counts of a text read line by line, so a file of any size takes little memory."""
    words: Counter[str] = Counter()
    number = 0
    for line in lines:
        number += 1
        words.update(WORD.findall(line.lower()))
    return Counted(number, words.total(), dict(words.most_common(top)))
