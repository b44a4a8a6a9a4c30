"""What the tests of faults share."""

from __future__ import annotations

import pytest

from dolgo.errors import BadSetting
from dolgo.stores import open_store
from tests.missing import missing, need
from tests.postgres_server import need_postgres


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    """The name of a store that is to be broken."""
    if request.param == "redis":
        need("redis-server")
        try:
            open_store("redis://127.0.0.1/0")
        except BadSetting as error:
            missing(str(error))
    if request.param == "postgres":
        need_postgres()
    return str(request.param)
