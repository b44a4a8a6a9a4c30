"""One fixture that runs a test on every store."""

from collections.abc import AsyncIterator

import pytest

from dolgo.store.base import Store
from tests.store.clock import Clock
from tests.store.kinds import KINDS, a_folder


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=sorted(KINDS))
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Store]:
    with a_folder() as folder:
        made = KINDS[request.param](folder, clock)
        await made.open()
        yield made
        await made.close()
