"""One web for a test."""

from collections.abc import AsyncIterator

import pytest

from tests.api.web import Web, open_web
from tests.store.clock import Clock


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web(Clock()) as opened:
        yield opened
