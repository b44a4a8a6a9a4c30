"""A worker that will have nothing to do says so when it starts, in one line."""

from __future__ import annotations

import pytest

from dolgo.store.base import Store
from dolgo.task.idle import unused_queues, without_types
from dolgo.task.manager import Manager, Submission
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager, info

pytestmark = pytest.mark.anyio


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO)


def test_a_worker_with_a_type_of_its_own_has_something_to_do() -> None:
    assert without_types({"echo"}, []) is None


def test_a_worker_without_one_is_told_where_it_looked() -> None:
    said = without_types(set(), ["more", "app.jobs"])
    assert said is not None
    assert "./tasks or more or app.jobs" in said
    assert "--tasks" in said


async def test_queues_of_tasks_types_and_limits_are_used(manager: Manager) -> None:
    await manager.types.announce([info("other", options={"queue": "typed"})])
    await manager.submit([Submission("echo", b'{"value":1}', queue="standing")])
    await manager.limit("limited", {"max_running": 1})
    assert await unused_queues(manager, {"default", "typed", "standing", "limited"}) is None
    assert await unused_queues(manager, ()) is None


async def test_a_queue_that_nobody_uses_is_named_with_those_that_are(manager: Manager) -> None:
    await manager.pause("held", reason=None, until=None)
    said = await unused_queues(manager, {"default", "defualt"})
    assert said is not None
    assert "the queue 'defualt'," in said
    assert said.endswith("Used are 'default', 'held'.")
    assert "queues 'a', 'b', 'c'" in (await unused_queues(manager, {"a", "b", "c"}) or "")
    assert "and 3 more" in (await unused_queues(manager, {f"q{n}" for n in range(13)}) or "")
