"""What a job notes while it runs: how far it is, and its log, kept small as it is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from dolgo.runner.frames import Written
from dolgo.runner.outcome import clip
from dolgo.task.types import EventKind

HEAD = 2**16  # bytes of JSON: the first lines of a log, which are kept for good
TAIL = 2**16  # bytes of JSON: the newest lines after those
TAIL_PIECE = 99_999_999  # the number of the one piece that is rewritten
TAIL_EVERY = 1.0  # seconds between two writings of it
LINE = 2**13  # characters of a line
HALF = LINE // 2 - 50  # characters of its start and of its end, if it is put together: with what is said in between, a line

_json = msgspec.json.Encoder()


class Notebook:
    """The notes of one job that have not been sent. It locks nothing: whoever uses it holds the lock of the child's outlet."""

    def __init__(self, key: int, attempt: int) -> None:
        self._key = key
        self._log = Log(attempt)
        self._printed: dict[str, Unfinished] = {}  # by stream
        self._progress: bytes | None = None
        self._sent_progress: bytes | None = None

    def write(self, time: float, level: str, text: str) -> None:
        """Add a line to the log."""
        self._log.add(time, level, text)

    def print(self, time: float, stream: str, text: str) -> None:
        """Add what was printed: a line of the log for each line feed."""
        *lines, rest = text.split("\n")
        for line in lines:
            unfinished = self._printed.pop(stream, None)
            self._log.add(time, stream, line if unfinished is None else unfinished.end(line))
        if rest:
            self._printed.setdefault(stream, Unfinished()).add(rest)

    def progress(self, value: bytes) -> None:
        """Replace how far it is."""
        self._progress = value

    def take(self, now: float) -> list[Written]:
        """What there is to send at this time of `monotonic()`."""
        notes = [Written(self._key, name, value, EventKind.LOG) for name, value in self._log.take(now)]
        if self._progress not in (None, self._sent_progress):
            self._sent_progress = self._progress
            notes.append(Written(self._key, "progress", self._progress or b"", EventKind.PROGRESS))
        return notes

    def take_last(self, time: float) -> list[Written]:
        """All that is left, when the job has ended."""
        for stream, unfinished in self._printed.items():
            self._log.add(time, stream, unfinished.end(""))
        self._printed = {}
        return self.take(float("inf"))

    @property
    def waits(self) -> bool:
        """Whether something is to be sent later: the tail of the log, when its time has come."""
        return self._log.waits


class Log:
    """The lines of one attempt. Of a long log the head and the tail are kept, and the tail begins with what is left out."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._lines = 0  # so far; also the number of the newest
        self._room = HEAD
        self._in_head = 0  # lines
        self._fresh: list[bytes] = []  # lines of the head that are to be sent
        self._pieces = 0  # of the head, sent
        self._tail: deque[tuple[int, float, bytes]] = deque()  # number, time, line
        self._tail_size = 0
        self._tail_due = 0.0
        self.waits = False  # the tail is to be sent

    def add(self, time: float, level: str, text: str) -> None:
        """Add a line, clipped if it is long."""
        self._lines += 1
        line = _line(self._lines, time, level, clip(text, LINE))
        if len(line) < self._room:
            self._room -= len(line) + 1
            self._in_head = self._lines
            self._fresh.append(line)
        else:
            self._room = 0  # a shorter line that came later would stand before this one
            self._add_to_tail(time, line)

    def take(self, now: float) -> Iterator[tuple[str, bytes]]:
        """The pieces that are to be written, with their names."""
        if self._fresh:
            yield self._name(self._pieces), _array(self._fresh)
            self._pieces += 1
            self._fresh = []
        if self.waits and now >= self._tail_due:
            yield self._name(TAIL_PIECE), _array([*self._gap(), *(line for _, _, line in self._tail)])
            self._tail_due = now + TAIL_EVERY
            self.waits = False

    def _add_to_tail(self, time: float, line: bytes) -> None:
        self._tail.append((self._lines, time, line))
        self._tail_size += len(line) + 1
        while self._tail_size > TAIL:
            self._tail_size -= len(self._tail.popleft()[2]) + 1
        self.waits = True

    def _gap(self) -> Iterator[bytes]:
        first, time, _ = self._tail[0]
        left_out = first - 1 - self._in_head
        if left_out:
            yield _line(first - 1, time, "notice", f"… {left_out} lines left out …")

    def _name(self, piece: int) -> str:
        return f"log/{self._attempt:08}/{piece:08}"


class Unfinished:
    """A printed line without its end, as much of it as will be shown."""

    def __init__(self) -> None:
        self._start = ""
        self._rest = ""
        self._size = 0  # characters

    def add(self, text: str) -> None:
        """Go on with the line."""
        self._size += len(text)
        room = HALF - len(self._start)
        self._start += text[:room]
        newest = max(room, len(text) - LINE)  # a gigabyte need not be copied
        rest = self._rest + text[room:] if newest == room else text[newest:]
        self._rest = rest if len(rest) < LINE else rest[-HALF:]

    def end(self, text: str) -> str:
        """The line, which ends with this."""
        self.add(text)
        if self._size == len(self._start) + len(self._rest):
            return self._start + self._rest
        rest = self._rest[-HALF:]
        return f"{self._start}\n… {self._size - len(self._start) - len(rest)} characters left out …\n{rest}"


def _line(number: int, time: float, level: str, text: str) -> bytes:
    return _json.encode((number, round(time, 3), level, text))


def _array(lines: list[bytes]) -> bytes:
    return b"[" + b",".join(lines) + b"]"
