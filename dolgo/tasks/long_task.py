"""The reference type: the shortest handler that takes a while."""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta

from dolgo import Context, Task


class LongTask(Task, extra=True):
    """Wait, then report success."""

    seconds: Annotated[float, Meta(ge=0, description="How long to wait.")] = 180.0

    async def run(self, ctx: Context) -> dict[str, str]:
        await asyncio.sleep(self.seconds)
        return {"result": "success"}
