"""Which store a URL names: the one list of all stores."""

from __future__ import annotations

from collections.abc import Sequence

from dolgo.errors import BadSetting, StoreUnusable
from dolgo.setting_kinds import masked
from dolgo.store.base import Store
from dolgo.store.findings import Finding, bad

KNOWN = "memory://, sqlite:///PATH, redis://HOST:PORT/DB or postgresql://HOST:PORT/DATABASE"


def open_store(url: str) -> Store:
    """The store of a URL, not opened yet. An optional driver is imported in the branch that needs it."""
    scheme, _, path = url.partition("://")
    if scheme == "memory":
        from dolgo.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite" and path.startswith("/") and len(path) > 1:
        from dolgo.store.sqlite import SqliteStore

        return SqliteStore(path[1:])
    if scheme in ("redis", "rediss"):
        try:
            from dolgo.store.redis import RedisStore
        except ModuleNotFoundError as error:
            raise BadSetting(f"The store {masked(url)} needs the package {error.name}: pip install 'dolgo[redis]'.") from None
        return RedisStore(url)
    if scheme in ("postgresql", "postgres"):
        try:
            from dolgo.store.postgres import PostgresStore
        except ModuleNotFoundError as error:
            raise BadSetting(f"The store {masked(url)} needs the package {error.name}: pip install 'dolgo[postgres]'.") from None
        return PostgresStore(url)
    raise BadSetting(f"The store {masked(url)} cannot be used: give {KNOWN}.")


def examine_store(url: str, *, full: bool) -> Sequence[Finding]:
    """What is right and wrong with the store of a URL, which is not opened as a server would. Raises `StartError`."""
    scheme, _, path = url.partition("://")
    if scheme == "memory":
        return [
            Finding("durability", *bad("all tasks are gone when the process ends", "For more than a trial: sqlite:///dolgo.db."))
        ]
    if scheme == "sqlite" and path.startswith("/") and len(path) > 1:
        from dolgo.store.sqlite import doctor as sqlite_doctor

        return sqlite_doctor.examine(path[1:], full=full)
    if scheme in ("redis", "rediss"):
        try:
            from dolgo.store.redis import doctor as redis_doctor
        except ModuleNotFoundError as error:
            raise StoreUnusable(f"The store {masked(url)} needs a package more: pip install 'dolgo[redis]'.") from error
        return redis_doctor.examine(url)
    if scheme in ("postgresql", "postgres"):
        try:
            from dolgo.store.postgres import doctor as postgres_doctor
        except ModuleNotFoundError as error:
            raise StoreUnusable(f"The store {masked(url)} needs a package more: pip install 'dolgo[postgres]'.") from error
        return postgres_doctor.examine(url)
    raise BadSetting(f"The store {masked(url)} cannot be used: give {KNOWN}.")
