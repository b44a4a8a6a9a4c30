"""Servers and workers of a test: ended with it, their logs shown if it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.blackbox.client import Client, write_type
from tests.blackbox.server import Process, Server, Worker


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """What a test adds to this list is closed after it, last first."""
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.close()
        process.show()


@pytest.fixture
def serve(tmp_path: Path, processes: list[Process]) -> Callable[..., Server]:
    """`serve("--slots", "2")` is a ready server on the database of this test."""

    def start(*options: str, folder: Path = tmp_path) -> Server:
        server = Server(folder, *options, name=f"serve-{len(processes)}")
        processes.append(server)
        return server.ready()

    return start


@pytest.fixture
def worker(tmp_path: Path, processes: list[Process]) -> Callable[..., Worker]:
    """`worker("--slots", "2")` is a ready worker on the database of this test."""

    def start(*options: str, folder: Path = tmp_path) -> Worker:
        worker = Worker(folder, *options, name=f"worker-{len(processes)}")
        processes.append(worker)
        return worker.ready()

    return start


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready server for all tests of a module: it has the types of the module's `HANDLERS` and was given its `OPTIONS`."""
    folder = tmp_path_factory.mktemp("shared")
    write_type(folder, "handlers", request.module.HANDLERS)
    with Server(folder, *request.module.OPTIONS).ready() as server:
        yield server


@pytest.fixture
def client(shared: Server, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Speaks to the server that the tests of the module share; its log is shown if one failed."""
    failed = request.session.testsfailed
    with Client(shared.url) as client:
        yield client
    if request.session.testsfailed > failed:
        shared.show()
