"""Every store there is, and how the tests make one. A new store adds its line here and has to keep the whole contract."""

from collections.abc import Callable
from pathlib import Path

from dolgo.store.base import Clock, Store
from dolgo.store.memory import MemoryStore
from dolgo.store.sqlite import SqliteStore

Make = Callable[[Path, Clock], Store]

KINDS: dict[str, Make] = {
    "memory": lambda folder, clock: MemoryStore(clock=clock),
    "sqlite": lambda folder, clock: SqliteStore(str(folder / "dolgo.db"), clock=clock),
}
OUTLIVING = {"sqlite"}  # what is stored is there again when the store is opened anew
