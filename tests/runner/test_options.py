"""What a type says of itself: what is taken, what is refused, and what is announced."""

from __future__ import annotations

from typing import Any

import pytest

from dolgo.errors import BadTaskType
from dolgo.runner.options import LONGEST, Backoff, announced, options_of
from dolgo.runner.registry import TaskType, mark_of, task

LEAST = {"queue": "default", "priority": 5}


def test_a_type_that_says_nothing_announces_its_queue_and_priority() -> None:
    assert announced(options_of("plain", {})) == LEAST


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"timeout": 60}, {"timeout": 60.0}),
        ({"retries": 0}, {"retries": 0}),
        ({"retries": 1000}, {"retries": 1000}),
        ({"backoff": 0}, {"backoff": [0.0]}),
        ({"backoff": 2.5}, {"backoff": [2.5]}),
        ({"backoff": (1, 10)}, {"backoff": [1.0, 10.0]}),
        ({"backoff": Backoff()}, {"backoff": {"base": 1.0, "factor": 2.0, "cap": 600.0}}),
        ({"backoff": Backoff(base=0, factor=1, cap=3)}, {"backoff": {"base": 0.0, "factor": 1.0, "cap": 3.0}}),
        ({"keep": 0}, {"keep": 0.0}),
        ({"isolation": "thread"}, {"isolation": "thread"}),
        ({"max_running": 1, "max_running_per_key": 2, "rate": 0.5}, {"max_running": 1, "max_running_per_key": 2, "rate": 0.5}),
        ({"unique": True, "extra": True}, {"unique": True, "extra": True}),
        ({"unique": False, "extra": False, "timeout": None, "backoff": None}, {}),
        ({"priority": 0}, {"priority": 0}),
    ],
)
def test_what_a_type_says_is_announced_as_plain_data(given: dict[str, Any], said: dict[str, Any]) -> None:
    assert announced(options_of("some", given)) == LEAST | said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"timeout": 0}, "timeout is more than 0"),
        ({"timeout": float("nan")}, "timeout is more than 0"),
        ({"timeout": "60"}, "Expected `float | null`, got `str` - at `.*timeout`"),
        ({"timeout": True}, "Expected `float | null`, got `bool`"),
        ({"retries": -1}, "retries is 0 to 1000, not -1"),
        ({"retries": 1001}, "retries is 0 to 1000, not 1001"),
        ({"retries": 1.5}, "Expected `int | null`, got `float`"),
        ({"backoff": -1}, "backoff is 0 to .* seconds, not -1"),
        ({"backoff": "soon"}, "backoff is in seconds, not 'soon'"),
        ({"backoff": []}, "backoff has 1 to 1000 delays, not 0"),
        ({"backoff": [1, float("inf")]}, "a delay of backoff is 0 to"),
        ({"backoff": [True]}, "a delay of backoff is in seconds, not True"),
        ({"backoff": Backoff(base=-1)}, "backoff's base is 0 to"),
        ({"backoff": Backoff(factor=0.5)}, "backoff's factor is 1 or more, not 0.5"),
        ({"backoff": Backoff(cap=float("nan"))}, "backoff's cap is 0 to"),
        ({"keep": -0.1}, "keep is 0 to"),
        ({"keep": LONGEST * 2}, "keep is 0 to"),
        ({"isolation": "fork"}, "Invalid enum value 'fork'"),
        ({"max_running": 0}, "max_running is 1 or more, not 0"),
        ({"max_running_per_key": 0}, "max_running_per_key is 1 or more"),
        ({"rate": 0}, "rate is 0.000001 to 1000000"),
        ({"rate": 1e-7}, "rate is 0.000001"),
        ({"rate": 1e7}, "rate is 0.000001"),
        ({"rate": float("nan")}, "rate is 0.000001"),
        ({"unique": "yes"}, "Expected `bool`"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadTaskType, match=f"task type `some`: {reason.replace('|', '.')}"):
        options_of("some", given)


def test_a_thread_is_for_def_handlers_alone() -> None:
    @task(isolation="thread")
    async def waits() -> None: ...

    mark = mark_of(waits)
    assert mark is not None
    with pytest.raises(BadTaskType, match="is for `def` handlers"):
        TaskType(mark)


@pytest.mark.parametrize(("isolation", "alone"), [(None, (False, True)), ("thread", (None, False)), ("process", (True, True))])
def test_which_types_need_a_child_to_themselves(isolation: Any, alone: tuple[bool | None, bool]) -> None:
    async def waits() -> None: ...

    def blocks() -> None: ...

    for handler, needs in zip((waits, blocks), alone, strict=True):
        if needs is not None:
            mark = mark_of(task(isolation=isolation)(handler))
            assert mark is not None
            assert TaskType(mark).alone is needs


def test_an_option_changes_the_hash_of_a_type_only_if_it_is_given() -> None:
    def plain() -> None: ...

    def hash_with(**options: Any) -> str:
        mark = mark_of(task(name="same", **options)(plain))
        assert mark is not None
        return TaskType(mark).info.hash

    assert hash_with() == hash_with(retries=None, unique=False)
    assert hash_with() != hash_with(retries=0)
