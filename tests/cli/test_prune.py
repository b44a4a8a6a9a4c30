"""`dolgo prune`: on the store itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.store.memory import MemoryStore
from dolgo.store.sqlite import SqliteStore
from tests.cli.conftest import Run
from tests.store.build import submit, task


def test_a_store_in_memory_cannot_be_pruned(alone: Run) -> None:
    ran = alone("prune", "--store", "memory://")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be reached" in ran.err


def test_a_time_that_is_none_is_refused(alone: Run) -> None:
    assert alone("prune", "--keep", "long").code == 2


def test_a_file_that_is_not_there_is_not_made(alone: Run, at: Path) -> None:
    ran = alone("prune")
    assert (ran.code, ran.out) == (1, "")
    assert "There is no file for sqlite:///dolgo.db" in ran.err
    assert not list(at.iterdir())


def test_what_ended_long_enough_ago_is_pruned_and_counted(alone: Run, at: Path) -> None:
    asyncio.run(fill(at / "dolgo.db", ended=600, unfinished=1))
    assert alone("prune", "--keep", "1h").out == "0 tasks pruned\n"
    assert alone("prune", "--store", f"sqlite:///{at}/dolgo.db", "--keep", "0", "--json") == (0, '{"pruned":600}\n', "")
    assert alone("prune", "--keep", "0").out == "0 tasks pruned\n"
    asyncio.run(fill(at / "dolgo.db", ended=1, unfinished=0))
    assert alone("prune", "--keep", "0").out == "1 task pruned\n"


def test_a_store_that_cannot_be_reached_is_one_line(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(MemoryStore):
        async def open(self) -> None:
            raise StoreUnavailable("Connection refused.")

    monkeypatch.setattr("dolgo.cli.opened.open_store", lambda url: Away())
    assert alone("prune", "--store", "away://there") == (1, "", "dolgo: Connection refused.\n")


async def fill(path: Path, *, ended: int, unfinished: int) -> None:
    """A store with so many tasks that are cancelled, and so many that are not."""
    store = SqliteStore(str(path))
    await store.open()
    ids = await submit(store, *(task() for _ in range(ended + unfinished)))
    await store.cancel(ids[:ended])
    await store.close()
