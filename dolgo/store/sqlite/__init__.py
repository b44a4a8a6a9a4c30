"""The embedded store: see `store.py`."""

from dolgo.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
