"""The log of a process: what many parts of it say all the time is said once in a while."""

from __future__ import annotations

import subprocess
import sys

LINES = """
import logging, time
from dolgo import logs
logs.SELDOM_EVERY = 0.3
logs.configure("text")
log = logging.getLogger("dolgo.store")
for number in range(4):
    log.warning("The store is away: %s.", number, extra=logs.SELDOM)
log.warning("Tasks cannot be claimed.", extra=logs.SELDOM)
log.warning("Task %s is lost.", 1)
log.warning("Task %s is lost.", 2)
time.sleep(0.4)
log.warning("The store is away: %s.", 4, extra=logs.SELDOM)
log.warning("The store is away: %s.", 5, extra=logs.SELDOM)
"""


def test_what_is_said_all_the_time_is_said_once_in_a_while_and_how_often() -> None:
    ran = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    assert [line.partition("dolgo.store: ")[2] for line in ran.stderr.splitlines()] == [
        "The store is away: 0.",
        "Tasks cannot be claimed.",
        "Task 1 is lost.",
        "Task 2 is lost.",
        "The store is away: 4. (3 more like it.)",
    ]
