"""Many at once: what the list shows and the change allows, in bounded steps, and how many of them."""

from __future__ import annotations

import pytest

from dolgo.store.base import Store
from dolgo.task import bulk
from dolgo.task.bulk import Bulk
from dolgo.task.manager import Manager, Submission
from dolgo.task.types import Query, Status
from tests.store.build import claim, done, failed, status
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager

pytestmark = pytest.mark.anyio

GOOD = b'{"value":1}'


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO)


def counted(done: Bulk) -> tuple[int, int, bool]:
    return done.matched, done.changed, done.more


async def many(manager: Manager, count: int, *tags: str) -> list[str]:
    return [id for id, _ in (await manager.submit([Submission("echo", GOOD, tags=tags)] * count, batch=True)).tasks]


async def test_all_that_match_are_cancelled_and_no_others(manager: Manager, store: Store) -> None:
    wanted, others = await many(manager, 20, "a"), await many(manager, 5, "b")
    running, finished = (await claim(store, limit=2)).leases
    await store.settle([done(finished)])
    assert counted(await manager.cancel_all([Query(tag="a")], dry_run=True)) == (19, 0, False)
    assert {await status(store, id) for id in wanted} == {Status.QUEUED, Status.IN_PROGRESS, Status.DONE}
    assert counted(await manager.cancel_all([Query(tag="a")])) == (19, 19, False)
    assert await status(store, running.id) is Status.IN_PROGRESS
    assert list(await store.asked("w1")) == [running.id]
    assert [await status(store, id) for id in wanted].count(Status.CANCELLED) == 18
    assert {await status(store, id) for id in others} == {Status.QUEUED}


async def test_all_that_failed_or_were_cancelled_are_retried(manager: Manager, store: Store) -> None:
    ids = await many(manager, 6)
    leases = (await claim(store, limit=4)).leases
    await store.settle([failed(leases[0]), failed(leases[1]), done(leases[2])])
    await store.cancel([ids[-1]])
    assert counted(await manager.retry_all([Query(status=Status.DONE)])) == (0, 0, False)
    assert counted(await manager.retry_all([Query(status=Status.FAILED)])) == (2, 2, False)
    assert counted(await manager.retry_all([Query(type="echo")])) == (1, 1, False)
    assert await status(store, ids[-1]) is Status.QUEUED


async def test_one_that_may_not_be_retried_is_counted_as_matched_alone(manager: Manager, store: Store) -> None:
    first = (await manager.submit([Submission("echo", GOOD, unique_key="k")])).tasks[0][0]
    await store.cancel([first])
    await manager.submit([Submission("echo", GOOD, unique_key="k")])
    assert counted(await manager.retry_all([Query()])) == (1, 0, False)


async def test_a_call_stops_at_its_bound_and_says_that_there_is_more(
    manager: Manager, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 1_200)
    await many(manager, 2_500)
    answers = [await manager.cancel_all([Query(type="echo")]) for _ in range(3)]
    assert [counted(done) for done in answers] == [(1_200, 1_200, True), (1_200, 1_200, True), (100, 100, False)]
    assert [len(done.some) for done in answers] == [bulk.NAMED] * 3


async def test_what_was_asked_to_stop_before_is_matched_and_not_changed_again(manager: Manager, store: Store) -> None:
    """Or whoever asks again while there is more would ask for ever."""
    await many(manager, 3)
    await claim(store, limit=2)
    assert counted(await manager.cancel_all([Query()])) == (3, 3, False)
    assert counted(await manager.cancel_all([Query()])) == (2, 0, False)
