"""The task that does not end: it holds what a limit lets through."""

import asyncio

from dolgo import task


@task(priority=9)
async def hold() -> None:
    """Wait until it is cancelled."""
    await asyncio.Event().wait()
