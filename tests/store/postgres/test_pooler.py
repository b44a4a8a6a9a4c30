"""By way of a PgBouncer, which has to give each of our connections one of its own."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolgo.errors import StoreUnusable
from dolgo.store.findings import Level
from dolgo.store.postgres import PostgresStore, doctor
from dolgo.task.types import Status
from tests.blackbox.server import Process
from tests.missing import need
from tests.postgres_server import PostgresServer, as_user
from tests.redis_server import free_port
from tests.store.build import claim, done, submit

pytestmark = pytest.mark.anyio

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=dolgo
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = {mode}
unix_socket_dir =
"""

Pool = Callable[[str], str]


@pytest.fixture
def pooled(server: PostgresServer, tmp_path: Path) -> Iterator[Pool]:
    """`pooled(mode)` is the URL of the server by way of a PgBouncer of that mode."""
    need("pgbouncer")
    started: list[Process] = []

    def start(mode: str) -> str:
        config, port = server.data / "pgbouncer.ini", free_port()
        config.write_text(CONFIG.format(server=server.port, port=port, mode=mode))
        process = Process([*as_user(), "pgbouncer", str(config)], tmp_path, ready="process up", name="pgbouncer")
        started.append(process)
        process.ready()
        return server.url.replace(f":{server.port}", f":{port}")

    yield start
    for process in started:
        process.close()


async def test_in_session_mode_all_goes_its_way(pooled: Pool, server: PostgresServer) -> None:
    url = pooled("session")
    store, other = PostgresStore(url), PostgresStore(server.url)
    await store.open()
    await other.open()
    heard = store.work.count
    (id,) = await submit(other)
    assert await store.work.wait(heard, 10.0), "the bell is heard through it"
    (lease,) = (await claim(store)).leases
    assert await store.settle([done(lease)]) == [True]
    (task,) = await store.get([id])
    assert task is not None
    assert task.status is Status.DONE
    await store.close()
    await other.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_in_another_mode_it_is_refused_with_what_to_set(pooled: Pool, mode: str) -> None:
    store = PostgresStore(pooled(mode))
    with pytest.raises(StoreUnusable, match="pool_mode = session"):
        await store.open()
    await store.close()


async def test_the_doctor_sees_it(pooled: Pool) -> None:
    findings = {finding.check: finding for finding in await asyncio.to_thread(doctor.examine, pooled("session"))}
    assert findings["pooler"].level is Level.WARN
