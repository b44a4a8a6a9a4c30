"""A store over whatever happens to its server and to the way there."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest
import redis

from dolgo.errors import StoreUnavailable
from dolgo.store.redis import RedisStore
from dolgo.task.types import Status
from tests.redis_server import RedisServer, free_port
from tests.store.build import claim, done, submit, task

pytestmark = pytest.mark.anyio

BACK_WITHIN = 10.0  # seconds; five are promised, on a machine that is not busy with other tests

Opened = Callable[..., "RedisStore"]


async def eventually(store: RedisStore) -> str:
    """The id of a task that was submitted as soon as the store took one."""
    deadline = time.monotonic() + BACK_WITHIN
    while True:
        try:
            return (await submit(store))[0]
        except StoreUnavailable:
            assert time.monotonic() < deadline, "the store does not come back"
            await asyncio.sleep(0.05)


async def test_a_server_that_was_killed_and_started_again_is_found_again(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    (before,) = await submit(store)
    server.kill(signal.SIGKILL)
    server.wait()
    with pytest.raises(StoreUnavailable, match=r"redis://127\.0\.0\.1"):
        await submit(store)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await submit(store)
    assert time.monotonic() - started < 3, "a second call into an outage waits"
    server.start().wait_ready()
    after = await eventually(store)
    assert {one.id for one in await store.get([before, after]) if one} == {before, after}


async def test_bells_ring_after_an_outage_because_something_may_have_been_missed(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    work, log = store.work.count, store.log.count
    with redis.Redis(port=server.port) as admin:
        admin.client_kill_filter(_type="pubsub")
    assert await store.work.wait(work, BACK_WITHIN)
    assert await store.log.wait(log, BACK_WITHIN)
    work = store.work.count
    await submit(store)
    assert await store.work.wait(work, BACK_WITHIN)


async def test_a_connection_that_was_cut_does_not_show_where_repeating_does_no_harm(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    with redis.Redis(port=server.port) as admin:
        for _ in range(5):
            (id,) = await submit(store)
            (lease,) = (await claim(store)).leases
            admin.client_kill_filter(_type="normal")
            assert await store.settle([done(lease)]) == [True]
            admin.client_kill_filter(_type="normal")
            assert [one.status for one in await store.get([id]) if one] == [Status.DONE]


async def test_functions_that_were_flushed_come_back(server: RedisServer, opened: Opened) -> None:
    store, other = await opened(), await opened()
    with redis.Redis(port=server.port) as admin:
        admin.function_flush()
        await asyncio.gather(*(submit(one) for one in (store, other, store, other)))
        admin.flushall()
        assert await store.head() == 0


async def test_data_that_was_wiped_begins_another_history(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    for type in ("one", "two", "three"):
        await submit(store, type=type)
    assert [event.type for event in (await store.events(0, 10)).events] == ["one", "two", "three"]
    with redis.Redis(port=server.port) as admin:
        admin.flushall()
    await submit(store, type="two")
    await submit(store, type="one")
    page = await store.events(0, 10)
    assert [(event.seq, event.type) for event in page.events] == [(1, "two"), (2, "one")]
    assert (await store.events(3, 10)).reset, "it is told that what it followed is gone"


async def test_who_listens_goes_along_to_where_commands_go(server: RedisServer, opened: Opened) -> None:
    store, other = await opened(), await opened()
    with redis.Redis(port=server.port) as admin:
        heard = {client["id"] for client in admin.client_list(_type="pubsub")}
        admin.client_kill_filter(_type="normal")
        deadline = time.monotonic() + BACK_WITHIN
        while heard & {client["id"] for client in admin.client_list(_type="pubsub")}:
            assert time.monotonic() < deadline, "it still listens where it did"
            await asyncio.sleep(0.1)
    seen = store.work.count
    await submit(other)
    assert await store.work.wait(seen, BACK_WITHIN)


async def test_out_of_memory_only_new_work_is_refused(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    ids = await submit(store, *(task() for _ in range(3)))
    (first, *_) = (await claim(store, limit=1)).leases
    with redis.Redis(port=server.port) as admin:
        admin.config_set("maxmemory", "1mb")
        with pytest.raises(StoreUnavailable, match="out of memory: give it more"):
            await submit(store)
        assert await store.settle([done(first)]) == [True]
        leases = (await claim(store)).leases
        assert await store.settle([done(lease) for lease in leases]) == [True, True]
        assert [one.status for one in await store.get(ids) if one] == [Status.DONE] * 3
        admin.config_set("maxmemory", "0")
        await submit(store)


async def test_a_server_that_became_a_replica_is_not_available_until_it_is_a_master_again(
    server: RedisServer, opened: Opened
) -> None:
    store = await opened()
    with redis.Redis(port=server.port) as admin:
        admin.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailable, match="replica"):
            await submit(store)
        admin.replicaof("no", "one")
        await eventually(store)


async def test_a_server_that_hangs_is_answered_for_in_time(server: RedisServer, opened: Opened) -> None:
    store = await opened()
    server.kill(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer"):
        await submit(store)
    assert time.monotonic() - started < 12
    server.kill(signal.SIGCONT)
    await eventually(store)


def cluster() -> tuple[str, ...]:
    return ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))


@pytest.mark.timeout(90)
async def test_a_cluster_is_told_where_the_keys_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    with RedisServer(folders[0], *cluster()).ready() as one, RedisServer(folders[1], *cluster()).ready() as two:
        with redis.Redis(port=one.port) as first, redis.Redis(port=two.port) as second:
            second.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            first.execute_command("CLUSTER", "MEET", "127.0.0.1", two.port, two.argv[-1])
            deadline = time.monotonic() + 30
            while any(node.cluster("INFO")["cluster_state"] != "ok" for node in (first, second)):
                assert time.monotonic() < deadline, "the nodes do not find each other"
                await asyncio.sleep(0.1)
        store = RedisStore(one.url)  # the other one has the keys
        await store.open()
        seen = store.work.count
        (id,) = await submit(store)
        assert await store.work.wait(seen, BACK_WITHIN)
        assert [lease.id for lease in (await claim(store)).leases] == [id]
        other = RedisStore(two.url)
        await other.open()
        with redis.Redis(port=one.port) as first, redis.Redis(port=two.port) as second:
            move_slot(second, first)
        assert await store.work.wait(store.work.count, BACK_WITHIN), "it noticed that the bell has moved"
        seen = store.work.count
        await eventually(other)
        assert await store.work.wait(seen, BACK_WITHIN)
        await store.close()
        await other.close()


def move_slot(old: "redis.Redis", new: "redis.Redis") -> None:
    """All that is dolgo's goes to another node, but without the tasks: they do not matter here."""
    slot, owner = old.cluster("KEYSLOT", "{dolgo}:"), new.cluster("MYID").decode()
    old.flushall()
    for node in (new, old):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner)
