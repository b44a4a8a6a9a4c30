"""What the SQLite store promises besides the contract."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from dolgo.errors import StoreUnusable
from dolgo.store.sqlite import SqliteStore, pages, reads, walk
from dolgo.store.sqlite.database import connect
from dolgo.store.sqlite.lines import Lines
from dolgo.store.sqlite.sql import QUERIES, Connection
from dolgo.task.types import Query, Status
from tests.store.build import again, claim, done, read, submit, task, wants
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


async def test_a_file_from_before_there_were_extras_is_brought_up_to_date_with_its_tasks(tmp_path: Path, clock: Clock) -> None:
    store = SqliteStore(str(tmp_path / "dolgo.db"), clock=clock)
    await store.open()
    (old,) = await submit(store)
    await store.close()
    with sqlite3.connect(tmp_path / "dolgo.db") as connection:
        connection.execute("ALTER TABLE task DROP COLUMN extras")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    await store.open()
    (new,) = await submit(store, extras=b"[1]")
    leases = (await claim(store)).leases
    assert [(lease.id, lease.extras) for lease in leases] == [(old, None), (new, b"[1]")]
    await store.close()


class Meddled:
    """A connection, and somebody who writes just before one of its statements."""

    def __init__(self, connection: Connection, before: str, write: Callable[[], object]) -> None:
        self._connection = connection
        self._before = before
        self._write = write

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if self._before in sql:
            self._write()
        return self._connection.execute(sql, values)


async def test_a_page_goes_on_where_it_looked_whatever_is_deleted_meanwhile(
    two: tuple[SqliteStore, SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = two
    monkeypatch.setattr(pages, "SCANNED", 3)
    ids = await submit(store, *(task() for _ in range(9)))
    reader, writer = connect(store._path), connect(store._path)
    meddled = Meddled(reader, "OFFSET", lambda: writer.execute("DELETE FROM task WHERE n <= 3"))
    page = pages.page(cast(Connection, meddled), Query(type="none", order="created_at", limit=2))
    assert page.after is not None
    assert page.after[1] == ids[2]
    for connection in (reader, writer):
        connection.close()


async def test_events_that_are_trimmed_while_they_are_read_are_not_missed(two: tuple[SqliteStore, SqliteStore]) -> None:
    store, _ = two
    await submit(store, *(task() for _ in range(9)))
    reader, writer = connect(store._path), connect(store._path)
    meddled = Meddled(reader, QUERIES["events"], lambda: writer.execute("DELETE FROM event WHERE seq <= 5"))
    page = reads.events(cast(Connection, meddled), Lines(), 2, 3)
    assert page.reset or [event.seq for event in page.events] == [3, 4, 5]
    for connection in (reader, writer):
        connection.close()


async def test_a_claim_counts_on_no_ring_of_a_submit_that_was_given_up(two: tuple[SqliteStore, SqliteStore]) -> None:
    """Or it would sleep through what rings next."""
    store, _ = two
    waiting = asyncio.create_task(store.claim(wants(), seen=(await claim(store)).seen, wait=60.0))
    await asyncio.sleep(0)
    submitting = asyncio.create_task(store.submit([task()]))
    await asyncio.sleep(0)
    submitting.cancel()  # before the writer has taken it
    answer = await asyncio.wait_for(waiting, 5.0)
    assert answer.leases == []
    assert answer.seen <= store.work.count


async def test_a_claim_closes_no_more_lines_than_one_commit_may(
    two: tuple[SqliteStore, SqliteStore], monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    store, _ = two
    monkeypatch.setattr(walk, "MOST_CLOSED", 3)
    await store.gate("type/echo", {"max_running_per_key": 0})
    await submit(store, *(task(limit_key=f"k{n}") for n in range(7)))
    assert [(await claim(store)).next_at for _ in range(4)] == [clock.now, clock.now, None, None]
    assert store._watched.execute("SELECT count(*) FROM keyed_line WHERE closed = 1").fetchone() == (7,)


async def test_what_a_claim_costs_does_not_depend_on_how_many_limit_keys_came_in_one_batch(
    two: tuple[SqliteStore, SqliteStore],
) -> None:
    store, _ = two
    ids = await submit(store, *(task(limit_key=f"k{n}") for n in range(500)))
    statements: list[str] = []
    assert store._writer._connection is not None
    store._writer._connection.set_trace_callback(statements.append)
    assert [lease.id for lease in (await claim(store, limit=3)).leases] == ids[:3]
    assert len(statements) < 50


async def test_tasks_of_thousands_of_new_queues_are_stored_without_reading_all_queues_for_each(
    two: tuple[SqliteStore, SqliteStore],
) -> None:
    store, _ = two
    statements: list[str] = []
    assert store._writer._connection is not None
    store._writer._connection.set_trace_callback(statements.append)
    await submit(store, *(task(queue=f"q{n}") for n in range(50)))
    assert statements.count(QUERIES["lines_all"]) <= 1
