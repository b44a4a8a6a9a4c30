"""The orders of the memory store are orders, and what has left them takes no room."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from dolgo.store.memory.ordered import SLACK, Heap, Keys

ids = st.sampled_from("abcdef")
numbers = st.integers(0, 5).map(float)
stamps = st.tuples(numbers, ids)


@given(st.lists(st.tuples(st.booleans(), ids, numbers)))
def test_a_heap_hands_out_the_smallest_of_what_is_in_it(steps: list[tuple[bool, str, float]]) -> None:
    heap, inside = Heap(), dict[str, float]()
    for comes, id, number in steps:
        if comes:
            heap.add(id, number)
            inside[id] = number
        else:
            heap.discard(id)
            inside.pop(id, None)
        assert len(heap) == len(inside)
        assert heap.first() == min(((n, id) for id, n in inside.items()), default=None)


@given(st.lists(st.tuples(st.booleans(), stamps)), st.none() | stamps, st.none() | stamps, st.integers(0, 9), st.booleans())
def test_keys_show_any_stretch_in_order(
    steps: list[tuple[bool, tuple[float, str]]],
    low: tuple[float, str] | None,
    high: tuple[float, str] | None,
    most: int,
    backwards: bool,
) -> None:
    keys: Keys[tuple[float, str]] = Keys()
    inside = set[tuple[float, str]]()
    for comes, key in steps:
        (keys.add if comes else keys.discard)(key)
        (inside.add if comes else inside.discard)(key)
    order = sorted(inside)
    wanted = order[bisect_left(order, low) if low else 0 : bisect_left(order, high) if high else None]
    shown = keys.stretch(None, low=low, high=high, backwards=backwards)
    assert [key for key in shown if key in keys] == (wanted[::-1] if backwards else wanted)
    assert keys.stretch(most, low=low, high=high, backwards=backwards) == shown[:most]


def test_what_has_left_a_heap_takes_no_room() -> None:
    heap = Heap()
    for number in range(5_000):
        heap.add(f"{number}", number)
    for number in range(4_990):
        heap.discard(f"{number * 7 % 5_000}")
    assert len(heap._entries) <= 2 * len(heap) + SLACK
    for number in range(5_000):
        heap.add("the same", number)
    assert len(heap._entries) <= 2 * len(heap) + SLACK


def test_what_has_left_the_keys_takes_no_room_and_no_time() -> None:
    keys: Keys[int] = Keys()
    for number in range(5_000):
        keys.add(number)
    for number in range(4_000):
        keys.discard(number)
        assert keys.stretch(1) == [number + 1]  # not one of those that have left before it
        assert len(keys._keys) <= 2 * (4_999 - number) + SLACK
