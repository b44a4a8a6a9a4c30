"""Taking up new and changed task files while a worker runs."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable

from dolgo.settings import Settings
from dolgo.task.worker import Worker

log = logging.getLogger("dolgo")

LOOK_AGAIN = 500  # milliseconds between two looks whether a folder of task types has come or was replaced


async def reload(worker: Worker, settings: Settings) -> None:
    """Have the worker load its task files anew whenever one of them changes. A folder may come later, or be replaced."""
    from watchfiles import awatch

    paths = (*settings.tasks, "tasks")
    watched = _present(paths)
    while True:
        async for changes in awatch(*watched, debounce=200, step=50, rust_timeout=LOOK_AGAIN, yield_on_timeout=True):
            present = _present(paths)
            if changes or present != watched:
                log.info("Task files changed; loading them anew.")
                worker.reload()
            if present != watched:
                break
        watched = present


def _present(paths: Iterable[str]) -> dict[str, int]:
    """Those of the paths that exist, with what tells each from another that takes its name later: a watch follows the old one."""
    present: dict[str, int] = {}
    for path in paths:
        with contextlib.suppress(OSError):  # not there: a module's name, or a folder that may still come
            present[path] = os.stat(path).st_ino
    return present
