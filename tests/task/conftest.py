"""Fixtures for the tests of the rules: stores under a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.store.memory import MemoryStore
from tests.store.clock import Clock
from tests.store.kinds import KINDS, a_folder


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
