"""Records: small keyed things, written only over the version that was meant."""

import asyncio

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Put, Query, Record
from tests.store.build import submit
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [record.key for record in await store.records(prefix)]


async def test_a_record_is_there_as_it_was_written(store: Store, clock: Clock) -> None:
    value = bytes(range(256))
    assert await store.put([Put("k", value, 0)]) is None
    assert await store.records("k") == [Record("k", value, 1, clock.now, clock.now, None)]


async def test_each_write_is_one_version_more(store: Store, clock: Clock) -> None:
    first = clock.now
    await store.put([Put("k", b"1", 0)])
    clock.advance(5)
    assert await store.put([Put("k", b"2", 1)]) is None
    clock.advance(5)
    assert await store.put([Put("k", b"3", None, 60.0)]) is None
    assert await store.records("k") == [Record("k", b"3", 3, clock.now, first, clock.now + 60)]


async def test_a_write_over_another_version_is_refused(store: Store) -> None:
    await store.put([Put("k", b"1", 0)])
    await store.put([Put("k", b"2", 1)])
    for version in (0, 1, 3):
        existing = await store.put([Put("k", b"x", version)])
        assert existing is not None
        assert (existing.key, existing.value, existing.version) == ("k", b"2", 2)
    assert [record.value for record in await store.records("k")] == [b"2"]


async def test_a_write_over_a_record_that_is_not_there_is_refused(store: Store) -> None:
    existing = await store.put([Put("k", b"x", 1)])
    assert existing is not None
    assert (existing.key, existing.version) == ("k", 0)
    assert await store.records("") == []


async def test_several_are_written_or_none(store: Store) -> None:
    assert await store.put([Put("a", b"1", 0), Put("b", b"1", 0)]) is None
    existing = await store.put([Put("c", b"1", 0), Put("a", b"2", 1), Put("b", b"2", 0)])
    assert existing is not None
    assert existing.key == "b"
    assert [(record.key, record.value, record.version) for record in await store.records("")] == [("a", b"1", 1), ("b", b"1", 1)]


async def test_of_many_writers_of_one_version_exactly_one_wins(store: Store) -> None:
    await store.put([Put("k", b"", 0)])
    for version in range(1, 6):
        answers = await asyncio.gather(*(store.put([Put("k", b"%d" % n, version)]) for n in range(10)))
        (winner,) = [n for n, answer in enumerate(answers) if answer is None]
        (record,) = await store.records("k")
        assert (record.value, record.version) == (b"%d" % winner, version + 1)


async def test_a_counter_kept_by_versions_loses_nothing(store: Store) -> None:
    await store.put([Put("n", b"0", 0)])

    async def add() -> None:
        while True:
            (record,) = await store.records("n")
            if await store.put([Put("n", b"%d" % (int(record.value) + 1), record.version)]) is None:
                return

    async with asyncio.timeout(30):
        await asyncio.gather(*(add() for _ in range(12)))
    assert [record.value for record in await store.records("n")] == [b"12"]


async def test_records_are_found_by_prefix_and_come_by_key(store: Store) -> None:
    names = ["a:2", "a:1", "a", "b:1", "A:1", "a%", "a_b", "ab", "a:ы", "a:\U0010fffd"]
    await store.put([Put(name, b"", 0) for name in names])
    assert await keys(store) == sorted(names)
    assert await keys(store, "a:") == ["a:1", "a:2", "a:ы", "a:\U0010fffd"]
    assert await keys(store, "a%") == ["a%"]
    assert await keys(store, "a_") == ["a_b"]
    assert await keys(store, "c") == []


async def test_an_expired_record_is_as_if_it_had_never_been(store: Store, clock: Clock) -> None:
    await store.put([Put("k", b"1", 0, 10.0)])
    clock.advance(9)
    assert await keys(store) == ["k"]
    clock.advance(1.5)
    assert await keys(store) == []
    assert await store.put([Put("k", b"2", 1)]) is not None
    assert await store.put([Put("k", b"2", 0)]) is None
    assert await store.records("k") == [Record("k", b"2", 1, clock.now, clock.now, None)]


async def test_writing_again_lengthens_the_life_of_a_record(store: Store, clock: Clock) -> None:
    for _ in range(5):
        await store.put([Put("k", b"", None, 10.0)])
        clock.advance(8)
    assert await keys(store) == ["k"]
    await store.put([Put("k", b"", None)])
    clock.advance(1_000_000)
    assert await keys(store) == ["k"]


async def test_forgotten_records_are_gone(store: Store) -> None:
    await store.put([Put("a", b"", 0), Put("b", b"", 0)])
    await store.forget(["a", "nobody", "a"])
    assert await keys(store) == ["b"]
    assert await store.put([Put("a", b"", 0)]) is None


async def test_records_leave_tasks_and_log_alone(store: Store) -> None:
    await submit(store)
    head = await store.head()
    await store.put([Put("k", b"", 0)])
    await store.forget(["k"])
    assert await store.head() == head


async def test_no_records_at_all_is_fine(store: Store) -> None:
    assert await store.put([]) is None
    await store.forget([])


async def test_a_store_that_takes_tasks_says_so_and_leaves_none(store: Store) -> None:
    await store.ready()
    await store.ready()
    assert (await store.list(Query())).tasks == []
    assert await store.head() == 0
