"""A Redis of the tests' own: a real server on a free port of this machine, ended by whoever started it.

with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always").ready() as redis:
    Server(tmp_path, "--store", redis.url)
    redis.kill(signal.SIGKILL)
    redis.start().wait_ready()  # again, on the same data and the same port
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from tests.blackbox.server import Process

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer(Process):
    """`redis-server` on a free port, its data in `folder`. Without options it keeps nothing on disk."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        name: str = "redis",
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--loglevel", "notice", *options]
        super().__init__(argv, folder, ready="Ready to accept connections", name=name, environ=environ)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def free_port() -> int:
    """A port that nobody listens on. Another may take it before its taker listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
