"""The reference type."""

from __future__ import annotations

import asyncio
import time

import pytest

from dolgo.errors import InvalidPayload
from dolgo.runner.context import Context
from dolgo.runner.registry import TaskType, mark_of
from dolgo.shape import Shape
from dolgo.tasks.long_task import LongTask


@pytest.fixture
def task_type() -> TaskType:
    mark = mark_of(LongTask)
    assert mark is not None
    return TaskType(mark)


def context() -> Context:
    return Context("id", type="long_task", queue="default", payload=b"{}", attempt=1)


def test_it_waits_and_reports_success(task_type: TaskType) -> None:
    arguments = task_type.decode(b'{"seconds":0.01,"anything":["goes"]}')
    assert asyncio.run(task_type.call(context(), arguments)) == {"result": "success"}


def test_it_waits_three_minutes_by_default(task_type: TaskType) -> None:
    assert task_type.decode(b"{}") == {"seconds": 180.0}


@pytest.mark.parametrize("raw", [b'{"seconds":"1"}', b'{"seconds":-1}', b"[]"])
def test_a_wait_that_is_none_is_refused_by_child_and_door(task_type: TaskType, raw: bytes) -> None:
    with pytest.raises(InvalidPayload):
        task_type.decode(raw)
    with pytest.raises(InvalidPayload):
        Shape(task_type.info.payload).check(raw)


@pytest.mark.anyio
async def test_it_stops_at_once_when_cancelled(task_type: TaskType) -> None:
    running = asyncio.create_task(task_type.call(context(), {"seconds": 60.0}))
    await asyncio.sleep(0)
    begun = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - begun < 1
