"""Fixtures for tests with child processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.runner.nest import Nest


@pytest.fixture
async def nest() -> AsyncIterator[Nest]:
    nest = Nest()
    yield nest
    await nest.close()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}
