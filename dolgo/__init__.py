"""Work that takes too long for a web request: what a task type is written with, and the client of a server."""

from typing import TYPE_CHECKING, Any

# Imported at once, not on demand: the first import of the folder `dolgo/task` sets the attribute `dolgo.task` to that package,
# and these lines, which bring it about, then set it to the decorator for good.
from dolgo.runner.context import Context, SyncContext
from dolgo.runner.options import Backoff
from dolgo.runner.parents import Parent
from dolgo.runner.registry import Task, task
from dolgo.runner.signals import Fail, Retry
from dolgo.version import __version__

if TYPE_CHECKING:
    from dolgo.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Backoff",
    "Client",
    "Context",
    "Fail",
    "Parent",
    "Retry",
    "SyncContext",
    "Task",
    "__version__",
    "task",
]


def __getattr__(name: str) -> Any:
    """The clients, when they are first asked for: they bring in httpx, which a task file need not wait for."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dolgo import client

    globals()[name] = found = getattr(client, name)
    return found
