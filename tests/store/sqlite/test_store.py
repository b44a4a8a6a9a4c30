"""What the SQLite store promises besides the contract."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dolgo.errors import StoreUnusable
from dolgo.store.sqlite import SqliteStore
from dolgo.task.types import Status
from tests.store.build import again, claim, done, read, submit, task
from tests.store.clock import Clock
from tests.store.kinds import a_folder

pytestmark = pytest.mark.anyio


@pytest.fixture
async def two(clock: Clock) -> AsyncIterator[tuple[SqliteStore, SqliteStore]]:
    """Two processes on one file, as far as SQLite can tell."""
    with a_folder() as folder:
        stores = SqliteStore(str(folder / "dolgo.db"), clock=clock), SqliteStore(str(folder / "dolgo.db"), clock=clock)
        for store in stores:
            await store.open()
        yield stores
        for store in stores:
            await store.close()


async def test_a_gate_holds_in_every_process_from_its_answer_on(two: tuple[SqliteStore, SqliteStore]) -> None:
    here, there = two
    await submit(here, *(task() for _ in range(3)))
    await here.gate("queue/default", {"max_running": 1})
    assert [len((await claim(store)).leases) for store in (there, here, there)] == [1, 0, 0]
    await there.gate("queue/default", {"paused": True})
    assert (await claim(here)).leases == []


async def test_a_gate_that_opens_wakes_claims_in_every_process(two: tuple[SqliteStore, SqliteStore]) -> None:
    here, there = two
    await here.gate("queue/default", {"paused": True})
    await submit(here)
    seen = (await claim(there)).seen
    assert await there.work.wait(seen, 0.2) in (True, False)  # the commits so far may ring once more
    seen = there.work.count
    await here.gate("queue/default", {"paused": False})
    assert await there.work.wait(seen, 5.0)
    assert len((await claim(there)).leases) == 1


async def test_lines_of_saturated_keys_are_closed_and_opened_again(two: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = two
    await store.gate("type/echo", {"max_running_per_key": 1})
    await store.submit([task(limit_key=f"k{n}") for n in range(1_200)])
    held = []
    while leases := (await claim(store, limit=500)).leases:
        held += leases
    assert len(held) == 1_200
    await store.submit([task(limit_key=f"k{n}", priority=9) for n in range(1_200)])
    (free,) = await submit(store)
    found = [lease.id for _ in range(3) for lease in (await claim(store, limit=5)).leases]
    assert found == [free]  # 1,200 lines in its way took two claims
    closed = "SELECT count(*) FROM keyed_line WHERE closed = 1"
    assert store._watched.execute(closed).fetchone() == (1_200,)
    await store.settle([done(held[7])])
    assert [lease.limit_key for lease in (await claim(store, limit=5)).leases] == [held[7].limit_key]
    await store.gate("type/echo", {"max_running_per_key": None})
    assert len((await claim(store, limit=2_000)).leases) == 1_199


async def test_nothing_of_a_limit_key_stays_behind(two: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = two
    ids = await submit(store, *(task(limit_key=f"k{n}") for n in range(5)))
    await store.settle([done(lease) for lease in (await claim(store, limit=3)).leases])
    await store.cancel(ids)
    assert store._watched.execute("SELECT count(*) FROM keyed_line").fetchone() == (0,)


async def test_an_attempt_more_writes_no_more_than_the_one_before(two: tuple[SqliteStore, SqliteStore], clock: Clock) -> None:
    store, _ = two
    (id,) = await submit(store)
    for _ in range(30):
        (lease,) = (await claim(store)).leases
        await store.settle([again(lease, 0)])
    found = await read(store, id)
    assert ([attempt.number for attempt in found.history], found.status) == (list(range(1, 31)), Status.QUEUED)
    assert list(await store.notes(id)) == []  # they are notes, but not to those who ask for notes


async def test_a_file_of_a_development_version_is_refused_with_the_way_out(tmp_path: Path, clock: Clock) -> None:
    store = SqliteStore(str(tmp_path / "dolgo.db"), clock=clock)
    await store.open()
    await store.close()
    with sqlite3.connect(tmp_path / "dolgo.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StoreUnusable, match=r"development version.*--store"):
        await store.open()
