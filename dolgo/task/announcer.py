"""Announcing task types without a worker: a child lives just long enough to say which there are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from dolgo.errors import BadTaskType
from dolgo.runner.link import Child, Hello, Refused, Setup
from dolgo.task.manager import Manager

log = logging.getLogger("dolgo")


async def announce(manager: Manager, setup: Setup, environ: Mapping[str, str]) -> None:
    """The types found by `setup` are known to the web. Raises BadTaskType if they cannot be loaded."""
    greeting: asyncio.Future[Hello | Refused] = asyncio.get_running_loop().create_future()

    def gone(code: int) -> None:
        if not greeting.done():
            greeting.set_result(Refused(f"the child that loads the task types exited with code {code}"))

    child = await Child.spawn(
        "loop", setup, on_hello=greeting.set_result, on_reports=lambda _: None, on_exit=gone, environ=environ
    )
    try:
        hello = await greeting
        child.stop()
        await child.closed()
    finally:
        child.kill()  # if the wait was given up
    if isinstance(hello, Refused):
        raise BadTaskType(hello.reason)
    for broken in hello.broken:
        log.error("The task file %s is left out:\n%s", broken.file, broken.error)
    await manager.types.announce(hello.types)
