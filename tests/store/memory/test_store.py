"""What the memory store promises besides the contract: what is over costs nothing."""

from typing import NoReturn

import pytest

from dolgo.store.memory import MemoryStore
from dolgo.task.types import Query, Status
from tests.store.build import after, claim, done, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


class Untouchable:
    """Lines that nobody may look at."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the lines were asked for {name}")


async def test_a_line_that_a_claim_does_not_fit_is_not_looked_at(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await submit(store, task(queue="other"), task(type="other"), task(hash="other"))
    for group in store._table.groups.values():
        group._lines = group._heads = Untouchable()  # type: ignore[assignment]
    (mine,) = await submit(store)
    avoid = frozenset({("echo", "other")})
    for _ in range(3):
        leases = (await claim(store, queues=frozenset({"default"}), avoid=avoid)).leases
        assert [lease.id for lease in leases] in ([mine], [])


async def test_tasks_that_come_and_go_leave_nothing_but_events(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.gate("type/echo", {"max_running_per_key": 1})
    for round_ in range(200):
        says = {"queue": f"q{round_}", "limit_key": f"k{round_}", "expires_at": clock.now + 900}
        ids = await submit(store, *(task(delay=wait, keep=0.0, **says) for wait in (0.0, 0.0, 0.0, 1_000.0)))
        ids += await submit(store, task(depends_on=after(*ids), unique_key="u", **says))
        leases = (await claim(store, limit=2)).leases
        await store.settle([done(lease) for lease in leases])
        await store.cancel(ids)
        clock.advance(1)
        assert await store.prune(0.5, 100) == 5
        assert await store.trim(0.0, 0, 1_000) > 0
    table = store._table
    assert [table.rows, table.groups, table.held, table.log._events] == [{}, {}, {}, []]
    assert [table.unique, table.dependents, table.unfinished, table.closed, table.gates._running] == [{}, {}, {}, {}, {}]
    for order in (table.created, table.finished):
        assert len(order._keys) <= 64
    for heap in (table.later, table.expiring, table.kept._usual, table.kept._own, table.kept._needed):
        assert len(heap._entries) <= 64


async def test_what_is_stored_goes_with_the_store(clock: Clock) -> None:
    first = MemoryStore(clock=clock)
    await first.open()
    (id,) = await submit(first)
    await first.close()
    second = MemoryStore(clock=clock)
    await second.open()
    assert await second.get([id]) == [None]
    assert (await second.list(Query())).tasks == []
    assert await second.head() == 0


async def test_a_task_once_due_stays_in_its_line(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    (id,) = await submit(store, delay=10.0)
    clock.advance(10)
    assert (await claim(store, types=frozenset())).leases == []
    clock.jump(-3_600)
    assert [lease.id for lease in (await claim(store)).leases] == [id]
    assert (await store.get([id]))[0].status == Status.IN_PROGRESS  # type: ignore[union-attr]


async def test_full_keys_cost_a_claim_nothing_however_many_stand_behind_them(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    await store.gate("queue/default", {"max_running_per_key": 1})
    await submit(store, *(task(limit_key=f"k{n % 100}") for n in range(20_000)))
    assert len((await claim(store, limit=1_000)).leases) == 100
    (group,) = store._table.groups.values()
    assert group.first() is None  # closed until something ends: no claim looks at them
    (lease, *_) = (await store.renew("w1", {}, 30.0)).unnamed
    await store.settle([done(lease)])
    assert len(group._heads) == 1
