"""The store without a file: see `store.py`."""

from dolgo.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
