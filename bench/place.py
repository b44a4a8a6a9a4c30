"""Where dolgo keeps its tasks while it is measured: a file of its own, or keys of its own on a Redis that somebody started."""

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
    kind: str | None  # URL of the Redis it is on; None: SQLite

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
def place(redis: str | None = None) -> Iterator[Place]:
    """A place on SQLite or, given the URL of a Redis, under a prefix that nobody else has; a Redis is not tidied afterwards."""
    with folder() as path:
        store = f"{redis}?prefix=bench-{uuid.uuid4().hex[:8]}" if redis else f"sqlite:///{path}/dolgo.db"
        yield Place(path, store, redis)
