"""For tests of task types: handlers run in this process, on a store in memory, with time in hand.

from dolgo.testing import Service, run

assert run(shout, text="hello") == {"said": "HELLO!"}
"""

from dolgo.client import TaskCancelled, TaskFailed, WaitTimeout
from dolgo.testing.house import Stuck
from dolgo.testing.service import Service, run

__all__ = ["Service", "Stuck", "TaskCancelled", "TaskFailed", "WaitTimeout", "run"]
