"""Fixtures for the tests of the rules: stores under a clock that is moved by hand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.store.memory import MemoryStore
from dolgo.task import manager as manager_room
from dolgo.task import verdict as verdict_room
from tests.store.clock import Clock
from tests.store.kinds import KINDS, a_folder
from tests.task.yard import Yard


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> Store:
    """A store where it does not matter which."""
    return MemoryStore(clock=clock)


@pytest.fixture(params=sorted(KINDS))
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Store]:
    with a_folder() as folder:
        made = KINDS[request.param](folder, clock)
        await made.open()
        yield made
        await made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed or was lost runs again at once."""
    monkeypatch.setattr(verdict_room, "after_loss", lambda losses: 0.0)
    monkeypatch.setattr(manager_room, "pause", lambda backoff, tries, random: 0.0)


@pytest.fixture
async def yard(tmp_path: Path, impatient: None) -> AsyncIterator[Yard]:
    """Workers where it does not matter which store they have."""
    made = Yard(MemoryStore(), tmp_path)
    yield made
    await made.close()


@pytest.fixture(params=sorted(KINDS))
async def any_yard(request: pytest.FixtureRequest, tmp_path: Path, impatient: None) -> AsyncIterator[Yard]:
    """Workers before each store."""
    with a_folder() as folder:
        store = KINDS[request.param](folder, time.time)
        await store.open()
        made = Yard(store, tmp_path)
        yield made
        await made.close()
        await store.close()
