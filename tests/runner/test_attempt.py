"""An attempt costs what it needs, and is gone when it has ended."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from dolgo import Context, task
from dolgo.runner.attempt import Attempt, Shared
from dolgo.runner.frames import Job, Kind, Report
from dolgo.runner.notes import Notes
from dolgo.runner.outlet import Outlet
from dolgo.runner.questions import Questions
from dolgo.runner.registry import TaskType, mark_of

pytestmark = pytest.mark.anyio


@task
async def plain() -> None: ...


@task
async def given(ctx: Context) -> str:
    return ctx.id


def attempt_at(handler: Any) -> Attempt:
    mark = mark_of(handler)
    assert mark is not None
    task_type = TaskType(mark)
    outlet = Outlet(None)  # type: ignore[arg-type] - nothing is sent
    shared = Shared({task_type.name: task_type}, 100, 5.0, False, outlet, Notes(outlet), Questions(outlet.put))
    return Attempt(Job(7, 0.0, "an-id", task_type.name, task_type.info.hash, "default", b"{}", 1), shared)


@pytest.mark.parametrize("handler", [plain, given])
async def test_an_attempt_that_has_ended_is_freed_at_once(handler: Any) -> None:
    attempt = attempt_at(handler)
    reports: list[Report] = []
    gc.collect()
    gc.disable()
    try:
        task = attempt.task = asyncio.get_running_loop().create_task(attempt.run(reports.append))
        await task
        gone = weakref.ref(attempt)
        del attempt, task
        await asyncio.sleep(0)
        assert gone() is None, "only the garbage collector would find it"
    finally:
        gc.enable()
    assert [report.kind for report in reports] == [Kind.DONE]


async def test_what_an_attempt_left_running_can_ask_for_nothing() -> None:
    attempt = attempt_at(given)
    await attempt.run(lambda report: None)
    with pytest.raises(RuntimeError, match="this attempt is over"):
        await Context("id", type="t", queue="q", payload=b"{}", attempt=1, desk=attempt).submit("echo")
