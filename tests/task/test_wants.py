"""What a worker claims: exact for free slots, and ahead of them only where that keeps nobody out."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dolgo.store.base import Claim
from dolgo.task import wants as wants_room
from dolgo.task.crew import AHEAD_WITHIN, START_WITHIN, Crew
from dolgo.task.lookahead import LookAhead
from dolgo.task.wants import BREATH, Wants

EVERY = {"short", "long", "blocking"}


class Hand:
    """A crew in name only, and the time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ready = True
        self.blocking = frozenset({"blocking"})
        self.room = self.quick_slots = self.quick_singles = 4
        self.ahead = LookAhead()

    def monotonic(self) -> float:
        return self.now

    def wants(self) -> Wants:
        like = Claim("w1", 0, 30.0, frozenset(), frozenset({"q"}))
        return Wants(cast(Crew, self), self.ahead, slots=4, like=like)

    def measure(self) -> None:
        self.ahead.measured("short", 0.001, alone=False)
        self.ahead.measured("long", 1.0, alone=False)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr(wants_room, "time", made)
    return made


def asked(wants: Wants, running: int) -> list[tuple[Any, ...]]:
    found = wants.now(EVERY, running=running)
    return [(set(claim.types), claim.limit, claim.ahead, within) for claim, within in found.claims]


def test_free_slots_are_claimed_exactly_and_for_any_type(hand: Hand) -> None:
    wants = hand.wants()
    assert asked(wants, 1) == [(EVERY, 3, False, START_WITHIN)]
    (claim, _) = wants.now(EVERY, running=1).claims[0]
    assert (claim.worker, claim.lease, claim.queues) == ("w1", 30.0, {"q"})
    assert asked(wants, 4) == []


def test_slots_for_which_there_is_no_single_child_are_for_the_others(hand: Hand) -> None:
    hand.room = 1
    assert asked(hand.wants(), 1) == [(EVERY, 1, False, START_WITHIN), ({"short", "long"}, 2, False, START_WITHIN)]


def test_what_is_claimed_beyond_the_free_slots_is_short_and_ahead(hand: Hand) -> None:
    hand.measure()
    first, second = asked(hand.wants(), 1)
    assert first == (EVERY, 3, False, START_WITHIN)
    assert second[0] == {"short"}
    assert second[2:] == (True, AHEAD_WITHIN)


def test_without_a_free_slot_all_is_ahead(hand: Hand) -> None:
    hand.measure()
    wants = hand.wants()
    claims = asked(wants, 6)
    assert {ahead for _, _, ahead, _ in claims} == {True}
    assert [types for types, *_ in claims] == [EVERY, {"short"}]
    assert not wants.now(EVERY, running=6).whole, "what gates count is left out"


def test_a_worker_whose_slots_are_never_free_lets_its_look_ahead_run_dry_now_and_then(hand: Hand) -> None:
    """What gates count is claimed for free slots alone, and must have its turn among any number of short tasks."""
    hand.measure()
    wants = hand.wants()
    assert asked(wants, 4)
    hand.now += BREATH + 0.1
    assert asked(wants, 8) == []
    assert asked(wants, 4) == []
    assert asked(wants, 3)[0] == (EVERY, 1, False, START_WITHIN)
    assert asked(wants, 4)


def test_without_a_loop_child_only_what_runs_alone_is_claimed(hand: Hand) -> None:
    hand.ready = False
    assert asked(hand.wants(), 0) == [({"blocking"}, 4, False, START_WITHIN)]
    assert not hand.wants().now(EVERY, running=0).whole
