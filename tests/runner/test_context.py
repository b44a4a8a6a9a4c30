"""What a handler is given."""

from __future__ import annotations

import logging

import pytest

from dolgo.runner.context import Context, SyncContext


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
