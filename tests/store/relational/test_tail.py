"""The newest events of a process: what is told from memory is what the log has, whoever else writes into it."""

from __future__ import annotations

import pytest

from dolgo.store.relational import tail
from dolgo.store.relational.tail import Tail


def rows(*ids: str) -> list[tuple[object, ...]]:
    """Events of one commit, as a store hands them over: time, id, line, state, attempt."""
    return [(0.0, id, 1, 3, 0) for id in ids]


def told(of: Tail, after: int, limit: int = 100) -> list[tuple[int, object]]:
    """Number and id of what is here."""
    return [(row[0], row[2]) for row in of.after(after, limit)]


def test_nothing_is_behind_the_end_of_a_log_that_is_opened() -> None:
    here = Tail(7)
    assert (here.head, here.reaches(7), told(here, 7)) == (7, True, [])
    assert not here.reaches(6), "what was before has to be read"


def test_own_commits_one_after_the_other_are_told_as_far_as_is_asked_for() -> None:
    here = Tail(7)
    here.add(8, rows("a", "b"))
    here.add(10, rows("c"))
    assert here.reaches(7)
    assert told(here, 7) == [(8, "a"), (9, "b"), (10, "c")]
    assert told(here, 8, limit=1) == [(9, "b")]
    assert not here.reaches(6)


def test_what_another_process_wrote_between_is_not_passed_over() -> None:
    here = Tail(0)
    here.add(1, rows("a"))
    here.add(5, rows("e"))
    assert not here.reaches(1)
    assert here.reaches(4)
    assert told(here, 4) == [(5, "e")]


def test_what_another_process_wrote_last_has_to_be_read() -> None:
    here = Tail(0)
    here.add(1, rows("a"))
    assert here.moved_on(3)
    assert not here.moved_on(3), "that is no news any more"
    assert not here.reaches(0)
    assert not here.reaches(1)
    assert here.reaches(3)


def test_an_own_commit_that_was_heard_of_before_is_no_step_back() -> None:
    here = Tail(0)
    assert here.moved_on(2)
    here.add(1, rows("a", "b"))
    assert here.head == 2
    assert told(here, 0) == [(1, "a"), (2, "b")]
    assert here.reaches(0)


def test_no_more_is_kept_than_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "KEPT", 3)
    here = Tail(0)
    for first in range(1, 21):
        here.add(first, rows(str(first)))
    assert here.reaches(17)
    assert told(here, 17) == [(18, "18"), (19, "19"), (20, "20")]
    assert not here.reaches(10)


def test_a_note_keeps_its_kind_and_data() -> None:
    here = Tail(0)
    here.add(1, [(0.0, "a", 1, 4, 1, 2, b"{}"), *rows("b")])
    assert [row[-2:] for row in here.after(0, 10)] == [(2, b"{}"), tail.PLAIN]


def test_of_another_log_nothing_is_known() -> None:
    here = Tail(0)
    here.add(1, rows("a"))
    here.forget()
    assert (here.head, told(here, 0)) == (0, [])
