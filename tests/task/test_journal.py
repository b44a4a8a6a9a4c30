"""The log of a task, page by page: every line once, in order, through all attempts."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from dolgo.errors import InvalidRequest, NotFound
from dolgo.store.base import Store
from dolgo.task.manager import Manager
from dolgo.task.types import Lease, Note
from tests.store.build import again, claim, hold
from tests.store.clock import Clock
from tests.task.kinds import a_manager

pytestmark = pytest.mark.anyio


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock)


async def write(store: Store, lease: Lease, piece: int, *numbers: int) -> None:
    lines = [(number, 1.5, "info", f"line {number}") for number in numbers]
    key = f"log/{lease.attempt:08}/{piece:08}"
    assert await store.note([Note(lease.id, lease.token, key, msgspec.json.encode(lines))]) == [True]


async def test_every_line_comes_once_whatever_the_size_of_a_page(manager: Manager, store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await write(store, lease, 0, 1, 2, 3)
    await write(store, lease, 1, 4)
    await store.settle([again(lease)])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    await write(store, second, 0, 1)
    await write(store, second, 99_999_999, 50, 51)
    wanted = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 50), (2, 51)]
    for limit in (1, 2, 3, 100):
        seen: list[tuple[int, int]] = []
        after = None
        while (page := await manager.log(lease.id, attempt=None, after=after, limit=limit)).lines:
            seen += [(line.attempt, line.number) for line in page.lines]
            after = page.next
        assert seen == wanted
    await write(store, second, 99_999_999, 51, 52)
    page = await manager.log(lease.id, attempt=None, after=after, limit=10)
    assert [(line.number, line.text, line.level, line.time) for line in page.lines] == [(52, "line 52", "info", 1.5)]


async def test_one_attempt_alone_can_be_asked_for(manager: Manager, store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await write(store, lease, 0, 1)
    await store.settle([again(lease)])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    await write(store, second, 0, 1, 2)
    page = await manager.log(lease.id, attempt=1, after=None, limit=10)
    assert [(line.attempt, line.number) for line in page.lines] == [(1, 1)]
    page = await manager.log(lease.id, attempt=2, after="1-0", limit=10)
    assert [(line.attempt, line.number) for line in page.lines] == [(2, 1), (2, 2)]
    page = await manager.log(lease.id, attempt=2, after="2-1", limit=10)
    assert [(line.attempt, line.number) for line in page.lines] == [(2, 2)]
    assert (await manager.log(lease.id, attempt=3, after=None, limit=10)).lines == []


async def test_of_one_attempt_come_its_own_lines_wherever_the_page_before_ended(
    manager: Manager, store: Store, clock: Clock
) -> None:
    lease = await hold(store)
    await write(store, lease, 0, 1, 2)
    await store.settle([again(lease)])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    await write(store, second, 0, 1)
    page = await manager.log(lease.id, attempt=2, after="1-1", limit=10)
    assert [(line.attempt, line.number) for line in page.lines] == [(2, 1)]
    assert (await asyncio.wait_for(manager.log(lease.id, attempt=99_999_999, after="1-1", limit=10), 5.0)).lines == []


async def test_a_task_without_lines_has_an_empty_log_and_none_is_not_found(manager: Manager, store: Store) -> None:
    lease = await hold(store)
    page = await manager.log(lease.id, attempt=None, after=None, limit=10)
    assert (page.lines, page.next) == ([], None)
    with pytest.raises(NotFound):
        await manager.log("nobody", attempt=None, after=None, limit=10)


@pytest.mark.parametrize("after", ["", "1", "-", "1-", "-1", "a-b", "1-2-3", "٣-1", "9" * 50 + "-1"])
async def test_what_is_no_place_is_refused(manager: Manager, store: Store, after: str) -> None:
    lease = await hold(store)
    with pytest.raises(InvalidRequest):
        await manager.log(lease.id, attempt=None, after=after, limit=10)
