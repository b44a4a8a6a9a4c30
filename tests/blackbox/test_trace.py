"""The reader of traces finds the answers that came too early."""

from __future__ import annotations

from tests.blackbox.trace import answers

ASK = '7  read(9<socket:[1]>, "POST /tasks HTTP/1.1\\r\\n"..., 65536) = 200'
SEND = '7  write(9<socket:[1]>, "HTTP/1.1 202 Accepted\\r\\n"..., 300) = 300'
FLUSH = "8  fdatasync(5</x/dolgo.db-wal>) = 0"
BEGIN = "8  fdatasync(5</x/dolgo.db-wal> <unfinished ...>"
END = "8  <... fdatasync resumed>) = 0"


def early(*lines: str) -> tuple[int, int]:
    found = answers(lines)
    return found.sent, len(found.unsynced)


def test_a_flush_between_request_and_answer_is_what_is_asked_for() -> None:
    assert early(ASK, FLUSH, SEND) == (1, 0)
    assert early(ASK, BEGIN, END, SEND) == (1, 0)
    assert early(ASK, FLUSH, SEND, ASK, FLUSH, SEND) == (2, 0)


def test_an_answer_without_a_flush_of_its_own_is_found() -> None:
    assert early(ASK, SEND) == (1, 1)
    assert early(FLUSH, ASK, SEND) == (1, 1)
    assert early(ASK, FLUSH, SEND, ASK, SEND) == (2, 1)


def test_an_answer_during_the_flush_is_found() -> None:
    assert early(ASK, BEGIN, SEND, END) == (1, 1)


def test_a_flush_that_began_before_the_request_does_not_count() -> None:
    assert early(BEGIN, ASK, END, SEND) == (1, 1)


def test_a_flush_that_failed_or_of_another_file_does_not_count() -> None:
    assert early(ASK, FLUSH.replace("= 0", "= -1 EIO (Input/output error)"), SEND) == (1, 1)
    assert early(ASK, FLUSH.replace("-wal", ""), SEND) == (1, 1)


def test_one_flush_may_serve_several_connections() -> None:
    other = [line.replace("9<socket:[1]>", "10<socket:[2]>") for line in (ASK, SEND)]
    assert early(ASK, other[0], FLUSH, SEND, other[1]) == (2, 0)
    assert early(ASK, FLUSH, other[0], SEND, other[1]) == (2, 1)


def test_a_request_that_is_read_in_two_lines_counts_from_when_it_was_read() -> None:
    split = ["7  read(9<socket:[1]>,  <unfinished ...>", '7  <... read resumed>"POST /tasks HTTP/1.1\\r\\n"..., 65536) = 200']
    assert early(split[0], FLUSH, split[1], SEND) == (1, 1)
    assert early(*split, FLUSH, SEND) == (1, 0)
