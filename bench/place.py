"""Where dolgo keeps its tasks while it is measured: a file of its own, or a name of its own on a server that somebody started."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct


class Place(Struct, frozen=True):
    """An empty store, and a folder for logs."""

    folder: Path
    store: str  # URL
    kind: str | None  # URL of the server it is on; None: SQLite

    @property
    def file(self) -> Path:
        """SQLite's database."""
        return self.folder / "dolgo.db"

    def another(self) -> contextlib.AbstractContextManager[Place]:
        """A place of the same kind, just as empty."""
        return place(self.kind)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="dolgo-bench-") as path:
        yield Path(path)


@contextlib.contextmanager
def place(server: str | None = None) -> Iterator[Place]:
    """A place on SQLite or, given the URL of a Redis or a PostgreSQL, under a name of its own; that is not tidied."""
    with folder() as path:
        yield Place(path, f"{server}?{_own_name(server)}" if server else f"sqlite:///{path}/dolgo.db", server)


def _own_name(server: str) -> str:
    name = uuid.uuid4().hex[:8]
    return f"schema=bench_{name}" if server.startswith("postgres") else f"prefix=bench-{name}"
