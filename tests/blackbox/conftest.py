"""Servers and workers of a test: ended with it, their logs shown if it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
