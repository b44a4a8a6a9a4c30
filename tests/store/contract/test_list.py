"""Lists: in order, page by page, and only what was asked for."""

import random
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Query, Status, Task
from tests.store.build import claim, done, ended, failed, hold, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


async def pages(store: Store, **query: Any) -> list[list[Task]]:
    """All the pages of a query."""
    found: list[list[Task]] = []
    after = None
    for _ in range(200):
        page = await store.list(Query(after=after, **query))
        assert len(page.tasks) <= query.get("limit", 50)
        found.append(page.tasks)
        if (after := page.after) is None:
            return found
    raise AssertionError("the list does not end")


async def listed(store: Store, **query: Any) -> list[str]:
    return [one.id for page in await pages(store, **query) for one in page]


async def found(store: Store, **query: Any) -> list[str]:
    """All the ids of a query."""
    ids: list[str] = []
    after = None
    for _ in range(200):
        page = await store.find(Query(after=after, **query))
        assert len(page.ids) <= query.get("limit", 50)
        ids += page.ids
        if (after := page.after) is None:
            return ids
    raise AssertionError("the ids do not end")


async def test_newest_first_unless_asked_otherwise(store: Store, clock: Clock) -> None:
    ids = []
    for _ in range(7):
        ids += await submit(store, task(), task())
        clock.advance(1)
    assert await listed(store) == ids[::-1]
    assert await listed(store, order="created_at") == ids


@pytest.mark.parametrize("order", ["-created_at", "created_at", "-finished_at", "finished_at"])
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_every_task_is_on_exactly_one_page(store: Store, clock: Clock, order: str, limit: int) -> None:
    dice = random.Random(limit)
    for _ in range(20):
        await submit(store, task())
        clock.jump(dice.choice([0, 0, 1, -3]))
    clock.advance(100)
    for lease in dice.sample((await claim(store, limit=20)).leases, k=15):
        await store.settle([done(lease)])
        clock.jump(dice.choice([0, 1, -2]))
    (page,) = await pages(store, limit=1_000)
    column = order.removeprefix("-")
    wanted = sorted((getattr(one, column), one.id) for one in page if getattr(one, column) is not None)
    assert len(wanted) == (20 if column == "created_at" else 15)
    if order.startswith("-"):
        wanted.reverse()
    assert await listed(store, order=order, limit=limit) == [id for _, id in wanted]


@pytest.mark.parametrize("order", ["-created_at", "created_at"])
async def test_pages_are_stable_under_inserts(store: Store, clock: Clock, order: str) -> None:
    before = []
    for _ in range(20):
        before += await submit(store)
        clock.advance(1)
    seen: list[str] = []
    after = None
    while True:
        page = await store.list(Query(order=order, limit=6, after=after))
        seen += [one.id for one in page.tasks]
        after = page.after
        if after is None:
            break
        if len(seen) < 20:
            await submit(store, task(), task())
            clock.advance(1)
    assert len(seen) == len(set(seen))
    kept = [id for id in seen if id in before]
    assert kept == (before if order == "created_at" else before[::-1])


async def test_pages_are_stable_under_deletes(store: Store, clock: Clock) -> None:
    ids = []
    for _ in range(10):
        ids.append((await ended(store, Status.DONE)).id)
        clock.advance(1)
    first = await store.list(Query(limit=4, order="created_at"))
    await store.delete([ids[3], ids[5]])  # the last one seen, and one to come
    rest = await listed(store, limit=4, order="created_at")
    second = await store.list(Query(limit=100, order="created_at", after=first.after))
    assert [one.id for one in second.tasks] == [ids[4], *ids[6:]]
    assert rest == [*ids[:3], ids[4], *ids[6:]]


async def test_finished_orders_list_only_what_has_ended(store: Store, clock: Clock) -> None:
    leases = [await hold(store) for _ in range(3)]
    await submit(store)
    for lease in (leases[2], leases[0]):
        clock.advance(1)
        await store.settle([failed(lease)])
    assert await listed(store, order="finished_at") == [leases[2].id, leases[0].id]
    assert await listed(store, order="-finished_at") == [leases[0].id, leases[2].id]
    await store.retry([leases[2].id])
    assert await listed(store, order="finished_at") == [leases[0].id]


FILTERS: dict[str, dict[str, Any]] = {
    "status": {"status": Status.IN_PROGRESS},
    "queued": {"status": Status.QUEUED},
    "done": {"status": Status.DONE},
    "failed": {"status": Status.FAILED},
    "waiting": {"status": Status.WAITING},
    "type": {"type": "x"},
    "queue": {"queue": "b"},
    "tag": {"tag": "red"},
    "odd tag": {"tag": 'a"b%'},
    "part of a tag": {"tag": "re"},
    "worker": {"worker": "w2"},
    "all": {"status": Status.QUEUED, "type": "x", "queue": "a", "tag": "red"},
    "none": {"type": "nothing"},
}
ORDERS = ["-created_at", "created_at", "-finished_at", "finished_at"]


async def a_mixture(store: Store, clock: Clock) -> list[Task]:
    dice = random.Random(3)
    for _ in range(60):
        tags = tuple(dice.sample(["red", "blue", 'a"b%', "Red"], dice.randrange(3)))
        await submit(store, type=dice.choice("xy"), queue=dice.choice("ab"), tags=tags)
        clock.advance(dice.choice([0, 1]))
    leases = (await claim(store, limit=20, types=frozenset("xy"))).leases
    leases += (await claim(store, limit=20, types=frozenset("xy"), worker="w2")).leases
    for settled in [done(lease) for lease in leases[::3]] + [failed(lease) for lease in leases[1::3]]:
        await store.settle([settled])
        clock.advance(1)
    return (await store.list(Query(limit=1_000))).tasks


def fits(one: Task, wanted: dict[str, Any]) -> bool:
    plain = {name: value for name, value in wanted.items() if name != "tag"}
    return all(getattr(one, name) == value for name, value in plain.items()) and wanted.get("tag", (*one.tags, 0)[0]) in (
        *one.tags,
        0,
    )


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
async def test_a_filter_shows_what_fits_and_nothing_else(store: Store, clock: Clock, wanted: dict[str, Any]) -> None:
    everything = await a_mixture(store, clock)
    assert len(everything) == 60
    for order in ORDERS:
        column = order.removeprefix("-")
        fitting = [one for one in everything if fits(one, wanted) and getattr(one, column) is not None]
        fitting.sort(key=lambda one: (getattr(one, column), one.id), reverse=order.startswith("-"))
        assert await listed(store, order=order, limit=7, **wanted) == [one.id for one in fitting]


@pytest.mark.parametrize("order", ORDERS)
async def test_times_of_creation_bound_the_list(store: Store, clock: Clock, order: str) -> None:
    everything = await a_mixture(store, clock)
    times = sorted({one.created_at for one in everything})
    low, high = times[3] + 0.5, times[-3] - 0.5
    column = order.removeprefix("-")
    for after, before in ((low, None), (None, high), (low, high), (high, low)):
        fitting = {
            one.id
            for one in everything
            if (after is None or one.created_at > after)
            and (before is None or one.created_at < before)
            and getattr(one, column) is not None
        }
        found = await listed(store, order=order, limit=5, created_after=after, created_before=before)
        assert len(found) == len(set(found))
        assert set(found) == fitting


async def test_an_empty_store_lists_nothing(store: Store) -> None:
    for order in ORDERS:
        assert await pages(store, order=order) == [[]]


async def test_a_filter_that_fits_nothing_ends_after_a_bounded_number_of_pages(store: Store, clock: Clock) -> None:
    for _ in range(3):
        await store.submit([task() for _ in range(10_000)])
        clock.advance(1)
    (mine,) = await submit(store, type="rare")
    assert await listed(store, order="created_at", type="rare") == [mine]
    found = await pages(store, type="nothing")
    assert 1 <= len(found) <= 5
    page = await store.list(Query(order="created_at", type="rare"))
    assert page.tasks == []  # it looked at a bounded number of tasks and says where to go on
    assert page.after is not None


@pytest.mark.parametrize("order", ["-created_at", "finished_at"])
async def test_find_tells_the_ids_of_what_is_listed(store: Store, clock: Clock, order: str) -> None:
    await a_mixture(store, clock)
    for wanted in ({}, *FILTERS.values()):
        for limit in (1, 50):
            query = {"order": order, "limit": limit, **wanted}
            assert await found(store, **query) == await listed(store, **query)


async def test_types_that_begin_so_can_be_left_out(store: Store) -> None:
    mine, other, own = await submit(store, task(), task(type="dolgonaut"), task(type="dolgo.callback", queue="dolgo"))
    assert await listed(store, without="dolgo.") == await found(store, without="dolgo.") == [other, mine]
    assert await listed(store) == [own, other, mine]
