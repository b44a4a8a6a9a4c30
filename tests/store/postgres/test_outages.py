"""A store over whatever happens to its server and to the way there."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.store.postgres import PostgresStore
from dolgo.store.postgres.sql import MIGRATIONS
from dolgo.task.types import Put, Status
from tests.faults.proxy import Proxy
from tests.postgres_server import PostgresServer, need_postgres
from tests.store.build import claim, done, submit, task

pytestmark = pytest.mark.anyio

BACK_WITHIN = 15.0  # seconds; five are promised, on a machine that is not busy with other tests
OURS = "application_name = 'dolgo' AND pid <> pg_backend_pid()"
CUT = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OURS}"

Opened = Callable[..., PostgresStore]


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[PostgresServer]:
    need_postgres()
    with PostgresServer(tmp_path, durable=True).ready() as server:
        yield server


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def by_way_of(proxy: Proxy, server: PostgresServer) -> str:
    return server.url.replace(f":{server.port}", f":{proxy.port}")


async def count(store: PostgresStore) -> int:
    """How many tasks there are."""
    return sum(sum(entry.counts.values()) for entry in await store.counts())


async def eventually(store: PostgresStore) -> str:
    """The id of a task that was submitted as soon as the store took one."""
    deadline = time.monotonic() + BACK_WITHIN
    while True:
        try:
            return (await submit(store))[0]
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store does not come back"
            await asyncio.sleep(0.05)


async def refused(store: PostgresStore) -> None:
    """Submits until that is refused."""
    deadline = time.monotonic() + BACK_WITHIN
    while time.monotonic() < deadline:
        await submit(store)
        await asyncio.sleep(0.05)


async def test_a_server_that_was_killed_and_started_again_is_found_again(durable: PostgresServer, opened: Opened) -> None:
    store = await opened(durable.url)
    (before,) = await submit(store)
    durable.crash()
    with pytest.raises(StoreUnavailable, match=r"postgresql://\*\*\*@127\.0\.0\.1"):
        await submit(store)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await submit(store)
    with pytest.raises(StoreUnavailable):
        await store.get([before])
    assert time.monotonic() - started < 4, "a second call into an outage waits"
    durable.start().wait_ready()
    after = await eventually(store)
    assert {one.id for one in await store.get([before, after]) if one} == {before, after}


async def test_what_was_acknowledged_is_there_after_the_server_was_killed_under_load(
    durable: PostgresServer, opened: Opened
) -> None:
    store, acknowledged, over = await opened(durable.url), [], asyncio.Event()

    async def insist() -> None:
        while not over.is_set():
            acknowledged.append(await eventually(store))

    clients = [asyncio.create_task(insist()) for _ in range(8)]
    for _ in range(2):
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(durable.crash)
        await asyncio.to_thread(lambda: durable.start().wait_ready())
    over.set()
    await asyncio.gather(*clients)
    found = [one.id for one in await store.get(acknowledged) if one]
    assert found == acknowledged
    events = [event.id for event in (await store.events(0, 10_000)).events]
    assert len(events) == len(set(events)) == await count(store)
    assert set(acknowledged) <= set(events)


async def test_a_connection_that_was_cut_does_not_show_where_repeating_does_no_harm(
    server: PostgresServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolgo.store.postgres.link.PATIENCE", BACK_WITHIN)  # a busy machine takes a second to connect
    store = await opened()
    for _ in range(3):
        (id,) = await submit(store)
        (lease,) = (await claim(store)).leases
        server.sql(CUT)
        assert await store.settle([done(lease)]) == [True]
        server.sql(CUT)
        assert [one.status for one in await store.get([id]) if one] == [Status.DONE]


async def test_bells_ring_after_an_outage_because_something_may_have_been_missed(server: PostgresServer, opened: Opened) -> None:
    store = await opened()
    work, log = store.work.count, store.log.count
    other = await opened()
    server.sql(CUT)
    await eventually(other)
    assert await store.work.wait(work, BACK_WITHIN)
    assert await store.log.wait(log, BACK_WITHIN)
    while await store.work.wait(store.work.count, 3.0):  # until it has calmed down
        pass
    work = store.work.count
    await submit(other)
    assert await store.work.wait(work, BACK_WITHIN)


async def test_what_the_bell_did_not_tell_is_found_by_looking(
    server: PostgresServer, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf, other = await opened(), await opened()
    monkeypatch.setattr("dolgo.store.postgres.bell.Ringing.due", lambda *_: None)
    monkeypatch.setattr("dolgo.store.postgres.bell.Ringing.committed", lambda *_, **__: None)
    work, log = deaf.work.count, deaf.log.count
    await submit(other)
    assert await deaf.work.wait(work, BACK_WITHIN)
    assert await deaf.log.wait(log, BACK_WITHIN)


async def test_many_commits_in_a_row_are_told_in_few_notices_and_the_last_one_too(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dolgo.store.postgres.bell.RING_EVERY", 0.5)  # a busy machine commits no more often than it rings
    store, other = await opened(), await opened()
    rings = other.log.count
    for _ in range(100):
        await submit(store)
    seen = await store.head()
    deadline = time.monotonic() + BACK_WITHIN
    while other._tail.head != seen:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert other.log.count - rings < 90


async def test_an_end_is_not_held_back_behind_the_claim_before_it(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dolgo.store.postgres.bell.RING_EVERY", 60.0)
    monkeypatch.setattr("dolgo.store.postgres.bell.POLL_EVERY", 60.0)
    web, worker = await opened(), await opened()
    await submit(web)
    seen = web.log.count
    (lease,) = (await claim(worker)).leases
    assert await worker.settle([done(lease)]) == [True]
    assert await web.log.wait(seen, BACK_WITHIN)
    assert await web.head() == await worker.head()


async def test_a_server_that_takes_no_writes_is_not_available_until_it_does_again(server: PostgresServer, opened: Opened) -> None:
    store = await opened()
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        await refused(store)  # the sessions hear of it a moment later
    with pytest.raises(StoreUnavailable, match="takes no writes"):
        await store.ready()
    server.sql("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
    await eventually(store)


async def test_a_server_without_a_connection_left_is_waited_for(server: PostgresServer, opened: Opened) -> None:
    store = await opened()
    server.sql("CREATE ROLE app LOGIN", "GRANT ALL ON SCHEMA dolgo TO app", "ALTER ROLE app CONNECTION LIMIT 0")
    late = PostgresStore(server.url.replace("dolgo@", "app@"))
    with pytest.raises(StoreUnavailable, match="no connection left"):
        await late.open()
    await late.close()
    await submit(store)


async def test_a_server_that_hangs_is_answered_for_in_time(server: PostgresServer, opened: Opened) -> None:
    store = await opened()
    server.kill(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await submit(store)
    assert time.monotonic() - started < 12
    server.kill(signal.SIGCONT)
    await eventually(store)


async def test_a_lock_that_somebody_holds_is_answered_for_in_time(server: PostgresServer, opened: Opened) -> None:
    store, other = await opened(), await opened()
    connection = await other._server.writing.ready()
    await connection.execute("SET idle_in_transaction_session_timeout = 0")
    await connection.execute("BEGIN; LOCK TABLE meta")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await submit(store)
    assert time.monotonic() - started < 12
    await connection.execute("ROLLBACK")
    await eventually(store)


async def test_a_process_that_stands_still_in_a_transaction_is_not_waited_for_long(opened: Opened) -> None:
    store, frozen = await opened(), await opened()
    await (await frozen._server.writing.ready()).execute("BEGIN; LOCK TABLE meta")
    await submit(store)
    await eventually(frozen)


@pytest.mark.parametrize("answers", [0, 1, 40])
async def test_a_commit_whose_answer_was_lost_is_made_once(
    server: PostgresServer, proxy: Proxy, opened: Opened, answers: int
) -> None:
    store = await opened(by_way_of(proxy, server))
    for _ in range(3):
        new = task()
        await store.head()
        proxy.cut_after(answers)
        statuses = (await store.submit([new])).statuses
        assert statuses == [Status.QUEUED]
    assert await count(store) == 3
    assert len((await store.events(0, 10)).events) == 3


async def test_a_half_open_connection_is_noticed(server: PostgresServer, proxy: Proxy, opened: Opened) -> None:
    store, other = await opened(by_way_of(proxy, server)), await opened()
    proxy.swallow()
    work = store.work.count
    await submit(other)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await submit(store)
    assert time.monotonic() - started < 12
    proxy.pass_()
    await eventually(store)
    assert await store.work.wait(work, BACK_WITHIN), "what was not heard is made up for"


async def test_processes_that_stand_in_each_others_way_lose_nothing(opened: Opened) -> None:
    stores = [await opened() for _ in range(3)]
    shared = [task(unique_key=f"k{n}") for n in range(20)]

    async def crowd(store: PostgresStore, way: int) -> None:
        for one in shared[::way]:
            await store.submit([one])
            await store.put([Put("counter", b"1", None)])

    await asyncio.gather(*(crowd(store, way) for store, way in zip(stores, (1, -1, 1), strict=True)))
    assert await count(stores[0]) == 20


async def test_a_schema_that_was_dropped_is_said_and_one_that_was_made_anew_is_used(
    server: PostgresServer, opened: Opened
) -> None:
    store = await opened()
    await submit(store)
    server.sql("DROP SCHEMA dolgo CASCADE")
    with pytest.raises(StoreUnavailable, match=r"its (tables|functions) are gone"):
        await submit(store)
    await opened()
    id = await eventually(store)
    assert [event.id for event in (await store.events(0, 10)).events] == [id]
    assert server.sql("SELECT max(number) FROM dolgo.migration") == str(max(MIGRATIONS))


async def test_closing_twice_is_harmless_and_then_nothing_is_taken(opened: Opened) -> None:
    store = await opened()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await submit(store)
    with pytest.raises(StoreUnavailable):
        await store.head()
