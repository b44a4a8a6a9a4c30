"""Work that takes too long for a web request: what a task type is written with."""

# Imported at once, not on demand: the first import of the folder `dolgo/task` sets the attribute `dolgo.task` to that package,
# and these lines, which bring it about, then set it to the decorator for good.
from dolgo.runner.context import Context, SyncContext
from dolgo.runner.options import Backoff
from dolgo.runner.parents import Parent
from dolgo.runner.registry import Task, task
from dolgo.runner.signals import Fail, Retry
from dolgo.version import __version__

__all__ = ["Backoff", "Context", "Fail", "Parent", "Retry", "SyncContext", "Task", "__version__", "task"]
