"""What a handler is given."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from dolgo.runner.context import Context, SyncContext
from dolgo.runner.parents import Parent
from dolgo.task.types import Status

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [Context, SyncContext])
def test_both_kinds_say_what_task_it_is(kind: type[Context] | type[SyncContext]) -> None:
    ctx = kind("an-id", type="t", queue="q", payload=b'{"a":[1.50]}', attempt=2, tags=("x",))
    assert (ctx.id, ctx.type, ctx.queue, ctx.attempt, ctx.tags) == ("an-id", "t", "q", 2, ("x",))
    assert ctx.payload == {"a": [1.5]}
    assert ctx.payload is ctx.payload
    assert not ctx.cancelled


def test_whether_it_is_cancelled_is_asked_each_time() -> None:
    answers = iter([False, True])
    ctx = Context("id", type="t", queue="q", payload=b"{}", attempt=1, cancelled=lambda: next(answers))
    assert not ctx.cancelled
    assert ctx.cancelled


def test_lines_carry_the_task_and_reach_the_ordinary_handlers(caplog: pytest.LogCaptureFixture) -> None:
    ctx = Context("an-id", type="thumbnail", queue="q", payload=b"{}", attempt=1)
    with caplog.at_level(logging.INFO):
        ctx.log.info("half of %s", "it")
        ctx.log.debug("not this")
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("dolgo.task.thumbnail", "half of it")
    assert vars(record)["task_id"] == "an-id"


def test_a_task_leaves_no_logger_behind() -> None:
    known = len(logging.Logger.manager.loggerDict)
    for number in range(100):
        Context(str(number), type="one", queue="q", payload=b"{}", attempt=1).log.debug("x")
    assert len(logging.Logger.manager.loggerDict) <= known + 3


# Made by hand, as in a test of a handler


def by_hand(**more: Any) -> dict[str, Any]:
    return {"id": "id", "type": "t", "queue": "q", "payload": b"{}", "attempt": 3, **more}


PARENT = Parent("a", None, "t", Status.DONE, 1, None)


async def test_without_a_child_steps_run_and_nothing_is_stored() -> None:
    async def later(word: str, *, times: int) -> tuple[str, ...]:
        return (word,) * times

    ctx = Context(**by_hand())
    assert await ctx.step("a", later, "x", times=2) == ["x", "x"]
    assert await ctx.step("b", str.upper, "x") == "X"
    assert SyncContext(**by_hand()).step("a", lambda word: (word, 1), "x") == ["x", 1]


async def test_without_a_child_progress_and_the_log_go_nowhere() -> None:
    for ctx in (Context(**by_hand()), SyncContext(**by_hand())):
        ctx.progress(1, 2, "half")
        ctx.log.info("half")
        with pytest.raises(ValueError, match="in numbers, not '1'"):
            ctx.progress("1")  # type: ignore[arg-type]


async def test_without_a_child_submitting_is_an_error_that_says_why() -> None:
    with pytest.raises(RuntimeError, match="made by hand"):
        await Context(**by_hand()).submit("echo")
    with pytest.raises(RuntimeError, match="made by hand"):
        SyncContext(**by_hand()).submit("echo")


async def test_without_a_child_the_parents_are_those_given() -> None:
    assert [parent async for parent in Context(**by_hand(parents=[PARENT])).parents] == [PARENT]
    assert list(SyncContext(**by_hand(parents=[PARENT])).parents) == [PARENT]
    assert [parent async for parent in Context(**by_hand()).parents] == []


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0", "\ud800", 5])
def test_what_is_no_name_of_a_step_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="is not the name of a step"):
        SyncContext(**by_hand()).step(name, int)


@pytest.mark.parametrize("name", ["a", "x" * 200, "a/b: ç € 🙂"])
def test_a_step_may_be_named_in_any_language(name: str) -> None:
    assert SyncContext(**by_hand()).step(name, int) == 0


def test_a_step_within_itself_is_an_error() -> None:
    ctx = SyncContext(**by_hand())
    with pytest.raises(ValueError, match="step `a` runs already"):
        ctx.step("a", lambda: ctx.step("a", int))
    assert ctx.step("b", lambda: ctx.step("c", int)) == 0
