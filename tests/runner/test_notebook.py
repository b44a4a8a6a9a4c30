"""A log stays small as it is written, and says what it left out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolgo.runner.notebook import HEAD, LINE, TAIL, TAIL_EVERY, Log, Notebook
from dolgo.task.types import EventKind

TAIL_NAME = "log/00000003/99999999"


def pieces(log: Log, now: float = 0.0) -> dict[str, list[Any]]:
    return {name: msgspec.json.decode(value) for name, value in log.take(now)}


def printed(*texts: str) -> list[str]:
    """The lines of a log that these were printed to."""
    notebook = Notebook(0, 1)
    for text in texts:
        notebook.print(0.0, "stdout", text)
    return [line[3] for note in notebook.take_last(0.0) for line in msgspec.json.decode(note.value)]


def test_lines_are_numbered_and_gathered_into_pieces() -> None:
    log = Log(3)
    log.add(1.23456, "info", "one")
    log.add(2.0, "error", "two")
    assert pieces(log) == {"log/00000003/00000000": [[1, 1.235, "info", "one"], [2, 2.0, "error", "two"]]}
    log.add(3.0, "info", "three")
    assert pieces(log) == {"log/00000003/00000001": [[3, 3.0, "info", "three"]]}
    assert pieces(log) == {}


def test_of_a_long_log_the_head_and_the_tail_are_kept_and_the_gap_is_told() -> None:
    log = Log(3)
    for number in range(1, 10_001):
        log.add(float(number), "info", "x" * 100)
    head, tail = pieces(log).values()
    assert [line[0] for line in head] == list(range(1, len(head) + 1))
    notice, *kept = tail
    assert [line[0] for line in kept] == list(range(kept[0][0], 10_001))
    assert notice == [kept[0][0] - 1, kept[0][1], "notice", f"… {10_000 - len(head) - len(kept)} lines left out …"]
    assert HEAD - 200 < len(msgspec.json.encode(head)) <= HEAD
    assert TAIL - 200 < len(msgspec.json.encode(kept)) <= TAIL + 1


def test_a_tail_that_holds_all_the_rest_tells_of_no_gap() -> None:
    log = Log(3)
    for _ in range(700):
        log.add(0.0, "info", "x" * 100)
    head, tail = pieces(log).values()
    assert [line[0] for line in head + tail] == list(range(1, 701))


def test_a_short_line_does_not_come_before_a_longer_one() -> None:
    log = Log(3)
    for size in [8000] * 8 + [1500, 8000, 5]:
        log.add(0.0, "info", "x" * size)
    assert [line[0] for lines in pieces(log).values() for line in lines] == list(range(1, 12))


def test_the_tail_is_rewritten_at_most_once_a_second_and_at_the_end() -> None:
    log = Log(3)
    for _ in range(1000):
        log.add(0.0, "info", "x" * 100)
    assert TAIL_NAME in pieces(log, 10.0)
    log.add(0.0, "info", "more")
    assert pieces(log, 10.0 + TAIL_EVERY / 2) == {}
    assert log.waits
    assert pieces(log, 10.0 + TAIL_EVERY)[TAIL_NAME][-1][3] == "more"
    assert not log.waits
    log.add(0.0, "info", "last")
    assert pieces(log, float("inf"))[TAIL_NAME][-1][3] == "last"


def test_a_long_line_is_clipped_in_the_middle_and_says_so() -> None:
    log = Log(3)
    log.add(0.0, "info", "a" * LINE + "b" * 10_000)
    ((line,),) = pieces(log).values()
    assert line[3] == "a" * (LINE // 2) + "\n… 10000 characters left out …\n" + "b" * (LINE // 2)


def test_print_makes_a_line_of_each_line_feed() -> None:
    assert printed("one\ntw", "o\n", "\n", "three") == ["one", "two", "", "three"]


def test_the_streams_do_not_mix_their_unfinished_lines() -> None:
    notebook = Notebook(0, 1)
    for stream, text in (("stdout", "a"), ("stderr", "b"), ("stdout", "c\n"), ("stderr", "d\n")):
        notebook.print(0.0, stream, text)
    (note,) = notebook.take(0.0)
    assert [line[2:] for line in msgspec.json.decode(note.value)] == [["stdout", "ac"], ["stderr", "bd"]]


@pytest.mark.parametrize("part", [1, 7, 1000, LINE, LINE + 1, 3 * LINE])
@pytest.mark.parametrize("size", [LINE - 100, LINE, LINE + 1, 20 * LINE])
def test_a_line_printed_in_parts_is_clipped_once_and_counts_right(part: int, size: int) -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(size))
    (line,) = printed(*(text[i : i + part] for i in range(0, size, part)), "\n")
    assert len(line) <= LINE + 50
    if "\n" not in line:
        assert line == text
    else:
        start, gap, end = line.split("\n")
        assert gap == f"… {size - len(start) - len(end)} characters left out …"
        assert (text.startswith(start), text.endswith(end)) == (True, True)


@given(st.lists(st.text(alphabet="ab\n", max_size=5)))
def test_however_it_is_printed_the_lines_are_the_same(parts: list[str]) -> None:
    whole = "".join(parts)
    expected = whole.split("\n")
    assert printed(*parts) == (expected if expected[-1] else expected[:-1])


def test_only_the_newest_progress_is_sent_and_the_same_but_once() -> None:
    notebook = Notebook(7, 1)
    for done in (b"1", b"2", b"3"):
        notebook.progress(done)
    (note,) = notebook.take(0.0)
    assert (note.key, note.name, note.value, note.event) == (7, "progress", b"3", EventKind.PROGRESS)
    notebook.progress(b"3")
    assert notebook.take(0.0) == []
    notebook.progress(b"4")
    assert [note.value for note in notebook.take_last(0.0)] == [b"4"]
