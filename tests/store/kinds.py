"""Every store there is, and how the tests make one. A new store adds its line here and has to keep the whole contract."""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dolgo.store.base import Clock, Store
from dolgo.store.memory import MemoryStore
from dolgo.store.postgres import PostgresStore
from dolgo.store.redis import RedisStore
from dolgo.store.sqlite import SqliteStore
from tests.missing import need
from tests.postgres_server import postgres_url
from tests.redis_server import RedisServer

Make = Callable[[Path, Clock], Store]


@cache
def redis_url() -> str:
    """Of a Redis that all tests of this run share; it ends with them."""
    need("redis-server")
    folder = tempfile.mkdtemp(prefix="dolgo-redis-")
    server = RedisServer(Path(folder)).ready()
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.close)
    return server.url


def schema_of(folder: Path) -> str:
    """The name of a schema for the store of a folder."""
    return "s_" + re.sub("[^a-z0-9]", "_", folder.name.lower())[:30]


KINDS: dict[str, Make] = {
    "memory": lambda folder, clock: MemoryStore(clock=clock),
    "postgres": lambda folder, clock: PostgresStore(f"{postgres_url()}?schema={schema_of(folder)}", clock=clock),
    "redis": lambda folder, clock: RedisStore(f"{redis_url()}?prefix={folder.name}", clock=clock),
    "sqlite": lambda folder, clock: SqliteStore(str(folder / "dolgo.db"), clock=clock),
}
OUTLIVING = {"postgres", "redis", "sqlite"}  # what is stored is there again when the store is opened anew

MEMORY_DISK = "/dev/shm"


@contextmanager
def a_folder() -> Iterator[Path]:
    """A folder for a store, in memory where the system has such a disk: these tests ask what is stored, not how it lasts."""
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if os.access(MEMORY_DISK, os.W_OK) else None) as folder:
        yield Path(folder)
