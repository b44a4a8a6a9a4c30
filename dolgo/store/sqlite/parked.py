"""Claims that found nothing and wait for work: they go with the very commit that brings it.

So a task that meets an idle worker is submitted and claimed by one flush of the disk instead of two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from dolgo.store.base import Bell, Claim, Claimed

Going = tuple[asyncio.Future[Claimed], int]  # the claim's answer to come, and the rings it accounts for


class Parked:
    """The claims of this process that wait. All on the loop."""

    def __init__(self, work: Bell, add: Callable[[Claim], asyncio.Future[Claimed]]) -> None:
        self._work = work
        self._add = add
        self._waiting: dict[asyncio.Future[Going], Claim] = {}

    async def claim(self, claim: Claim, wait: float) -> Claimed:
        """What the claim takes once `go` is called, or after `wait` seconds. Cancelled before that, it is never made."""
        loop = asyncio.get_running_loop()
        going: asyncio.Future[Going] = loop.create_future()
        self._waiting[going] = claim
        timer = loop.call_later(wait, self._go, going, 0)
        try:
            answer, seen = await going
        finally:
            timer.cancel()
            self._waiting.pop(going, None)
        return replace(await answer, seen=seen)

    def go(self, *, rings: int = 0) -> None:
        """Make all these claims now. `rings`: how often the bell will ring for what they already take into account."""
        for going in list(self._waiting):
            self._go(going, rings)

    def _go(self, going: asyncio.Future[Going], rings: int) -> None:
        claim = self._waiting.pop(going, None)
        if claim is not None and not going.done():
            going.set_result((self._add(claim), self._work.count + rings))
