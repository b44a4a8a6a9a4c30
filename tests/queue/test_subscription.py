"""What becomes of a notice, as far as no broker is needed to tell."""

from __future__ import annotations

from dolgo.queue.base import Audience, Delivery, Notice, Outcome, Subscription, write


class Handed(Delivery):
    """Remembers what was done with it."""

    def __init__(self, number: int = 0, queue: str = "default") -> None:
        self.body = write(Notice(str(number), queue, "type"))
        self.done = ""

    def take(self) -> None:
        self.done += "taken"

    def give_back(self) -> None:
        self.done += "back"


class Ring:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def made(ring: Ring, outcomes: list[Outcome] | None = None) -> Subscription:
    return Subscription(Audience({"type": "hash"}), ring=ring, count=(outcomes if outcomes is not None else []).append)


def test_what_there_is_room_for_is_taken_before_anything_else_happens() -> None:
    """Before the claim: then neither a limit of deliveries nor a time limit of the broker means anything."""
    ring = Ring()
    subscription = made(ring)
    subscription.room(1)
    handed = Handed()
    subscription.arrived(handed)
    assert (handed.done, ring.count) == ("taken", 1)


def test_beyond_the_room_it_is_held_until_the_worker_says_how_much_there_is() -> None:
    ring = Ring()
    subscription = made(ring)
    subscription.room(1)
    first, second, third = Handed(1), Handed(2), Handed(3)
    for handed in (first, second, third):
        subscription.arrived(handed)
    assert [first.done, second.done, third.done] == ["taken", "", ""]
    subscription.room(1)
    assert [second.done, third.done, ring.count] == ["taken", "", 2]


def test_what_is_held_goes_back_when_no_slot_is_free() -> None:
    subscription = made(Ring())
    subscription.room(1)
    taken, held = Handed(1), Handed(2)
    subscription.arrived(taken)
    subscription.arrived(held)
    subscription.room(0)
    subscription.emptied()
    late = Handed(3)
    subscription.arrived(late)
    assert [taken.done, held.done, late.done] == ["taken", "back", "back"]


def test_room_that_comes_while_the_driver_shuts_keeps_what_it_has_room_for() -> None:
    subscription = made(Ring())
    subscription.room(0)
    held, more = Handed(1), Handed(2)
    subscription.room(1)
    subscription.room(0)
    subscription.arrived(held)
    subscription.arrived(more)
    subscription.room(1)
    subscription.emptied()
    assert [held.done, more.done] == ["taken", "back"]


def test_an_audience_is_the_same_wherever_it_is_made_and_another_with_other_code() -> None:
    """Workers of an older version leave a task alone that they cannot decode: they must not take the notice from the newer."""
    one = Audience({"a": "1", "b": "2"}, frozenset({"x", "y"}))
    assert one.name == Audience({"b": "2", "a": "1"}, frozenset({"y", "x"})).name
    assert len({one.name, Audience({"a": "1", "b": "3"}, one.queues).name, Audience(one.types).name}) == 3
