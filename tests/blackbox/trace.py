"""Reads what `strace` wrote: which answers were sent before what they promise was on the disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

CALLS = "fdatasync,fsync,read,recvfrom,write,writev,sendto,sendmsg"
OPTIONS = ("-f", "-y", "-qq", "-s", "48", "-e", f"trace={CALLS}", "-e", "signal=none")

_LINE = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<call>\w+)\((?P<fd>\d+)<(?P<file>[^>]*)>)(?P<rest>.*)")
_ENDED = re.compile(r"= (-?\d+)[^=]*$")


@dataclass
class Answers:
    """The 202s of a trace: how many there were, and those without a finished flush of the log since their request was read."""

    sent: int = 0
    unsynced: list[str] = field(default_factory=list)


def answers(lines: Iterable[str], *, log: str = "-wal") -> Answers:
    """Judge every 202. `lines` are in the order of time; a call that another one comes between is split in two lines."""
    found = Answers()
    asked: dict[str, int] = {}  # connection → number of flushes that had begun when its request was read
    begun = 0  # flushes
    finished: list[int] = []  # numbers of those that ended well
    under_way: dict[str, tuple[int | None, str, str]] = {}  # thread → flush, connection, text of a call that has not ended
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        thread, split = match["pid"], match["rest"].endswith("<unfinished ...>")
        if match["resumed"]:
            flush, connection, text = under_way.pop(thread, (None, "", ""))
        else:
            flush, connection, text = None, f"{match['fd']}<{match['file']}>", ""
            if match["call"] in ("fdatasync", "fsync") and match["file"].endswith(log):
                begun += 1
                flush = begun
            if match["call"] in ("write", "writev", "sendto", "sendmsg") and '"HTTP/1.1 202' in match["rest"]:
                found.sent += 1
                if not any(number > asked.get(connection, begun) for number in finished):
                    found.unsynced.append(line)
        text += match["rest"]
        if split:
            under_way[thread] = (flush, connection, text)
        elif flush is not None and (end := _ENDED.search(text)) and end[1] == "0":
            finished.append(flush)
        elif '"POST /tasks' in text:
            asked[connection] = begun
    return found
