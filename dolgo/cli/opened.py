"""The store itself, for commands that need no server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from dolgo.errors import BadSetting, StoreUnusable
from dolgo.store.base import Store
from dolgo.stores import open_store

FILE = "sqlite:///"


@contextlib.asynccontextmanager
async def opened(url: str, *, make: bool = False) -> AsyncIterator[Store]:
    """The store of a URL, open. `make`: a file that is not there is made. Raises StartError and StoreUnavailable."""
    if url.startswith("memory:"):
        raise BadSetting("A store in memory cannot be reached from outside its process: name another with --store.")
    if not make and _is_no_file(url):
        raise StoreUnusable(f"There is no file for {url}: --store names another.")  # opening it would make one
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _is_no_file(url: str) -> bool:
    return url.startswith(FILE) and not Path(url.removeprefix(FILE)).exists()
