"""Telling a broker of tasks: at once, not more than is of use, and never at the expense of who submits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from dolgo.metrics.catalog import PUBLISHED, UNPUBLISHED
from dolgo.metrics.tally import Tally
from dolgo.queue.base import Gone, Notice, Queue, Subscription
from dolgo.task.herald import AT_ONCE, LINES, MOST, Herald
from dolgo.task.types import NewTask

pytestmark = pytest.mark.anyio


class Broker(Queue):
    """Keeps what it is told; fails with `error` if it has one."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.calls: list[int] = []
        self.error: Exception | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def publish(self, notices: Sequence[Notice]) -> None:
        self.calls.append(len(notices))
        await self.free.wait()
        if self.error is not None:
            raise self.error
        self.told += notices

    def subscribe(self, subscription: Subscription) -> None: ...

    @property
    def trouble(self) -> str | None:
        return None

    def open(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def herald(broker: Broker) -> AsyncIterator[Herald]:
    made = Herald(broker, Tally())
    made.start()
    yield made
    await made.stop()


def tasks(count: int, queue: str = "default") -> list[NewTask]:
    return [NewTask(f"{queue}/{number}", "type", "hash", queue, b"{}") for number in range(count)]


async def told(broker: Broker, count: int) -> None:
    async with asyncio.timeout(20):
        while len(broker.told) < count:
            await asyncio.sleep(0.001)


async def test_every_task_of_a_few_is_told_with_its_line(herald: Herald, broker: Broker) -> None:
    herald.tell([*tasks(2), *tasks(1, "mail")])
    await told(broker, 3)
    assert broker.told == [
        Notice("default/0", "default", "type"),
        Notice("default/1", "default", "type"),
        Notice("mail/0", "mail", "type"),
    ]


async def test_of_a_flood_only_the_first_are_told_and_a_few_at_a_time(herald: Herald, broker: Broker) -> None:
    """Whoever hears of one takes as many as it can, and asks for more: it need not hear of each."""
    herald.tell(tasks(10_000))
    await told(broker, MOST)
    herald.tell(tasks(1, "after"))
    await told(broker, MOST + 1)
    assert len(broker.told) == MOST + 1
    assert max(broker.calls) <= AT_ONCE


async def test_lines_do_not_wait_for_one_another(herald: Herald, broker: Broker) -> None:
    herald.tell([*tasks(MOST), *tasks(1, "mail")])
    await told(broker, AT_ONCE + 1)
    assert "mail" in {notice.queue for notice in broker.told[: AT_ONCE + 1]}


async def test_what_waits_is_bounded_while_the_broker_says_nothing(herald: Herald, broker: Broker) -> None:
    broker.free.clear()
    herald.tell([task for number in range(2 * LINES) for task in tasks(1, f"q{number}")])
    await asyncio.sleep(0)
    herald.tell([task for number in range(2 * LINES) for task in tasks(1, f"p{number}")])
    broker.free.set()
    await told(broker, 2 * LINES)
    herald.tell(tasks(1, "after"))
    await told(broker, 2 * LINES + 1)
    assert broker.told[-1].queue == "after"


@pytest.mark.parametrize("error", [Gone("it is away"), RuntimeError("a fault of ours")])
async def test_a_failure_is_counted_said_seldom_and_not_the_end(
    error: Exception, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    tally = Tally()
    herald = Herald(broker, tally)
    herald.start()
    broker.error = error
    with caplog.at_level(logging.WARNING, "dolgo.queue"):
        herald.tell(tasks(2))
        async with asyncio.timeout(20):
            while tally.counted(UNPUBLISHED)[()] < 2:
                await asyncio.sleep(0.001)
    assert all(getattr(record, "seldom", False) for record in caplog.records)
    assert caplog.records
    broker.error = None
    herald.tell(tasks(1))
    await told(broker, 1)
    await herald.stop()
    assert (tally.counted(PUBLISHED)[()], tally.counted(UNPUBLISHED)[()]) == (1, 2)
