"""The server that hostile clients meet, the same for all of them, as it would be in life."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.blackbox.server import Server
from tests.faults.http.case import MAX_BATCH, MAX_PAYLOAD

OPTIONS = ("--max-payload", str(MAX_PAYLOAD), "--max-batch", str(MAX_BATCH), "--drain-timeout", "0")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready server; it must still run, and have logged no failure, when all is over."""
    with Server(tmp_path_factory.mktemp("hostile"), *OPTIONS).ready() as server:
        yield server
        assert server.running
        assert "Traceback" not in server.said(), server.said()


@pytest.fixture
def port(hostile: Server) -> int:
    return int(hostile.argv[3])
