"""The task that does nothing but what every peer's does: one line in the ledger, so that a second run is seen."""

import asyncio
import os

from dolgo import task

PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))
LEDGER = os.open(os.environ.get("BENCH_LEDGER", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@task
async def nothing(n: int) -> int:
    """Answer the number that was sent."""
    os.write(LEDGER, b"%d\n" % n)
    if PAUSE:
        await asyncio.sleep(PAUSE)
    return n
