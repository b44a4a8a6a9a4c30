"""One fixture that runs a test on every store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dolgo.store.base import Store
from tests.store.clock import Clock
from tests.store.kinds import KINDS


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(KINDS))
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = KINDS[request.param](tmp_path, clock)
    await made.open()
    yield made
    await made.close()
