"""Natural batching of reads: what is asked for while an answer is under way goes as the next question, never on a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from dolgo.task.types import Task

MOST_ASKED = 500  # ids in a question, about: an answer may hold as many payloads and results

Ask = Callable[[Sequence[str]], Awaitable[Sequence[Task | None]]]
Waiting = tuple[Sequence[str], asyncio.Future[list[Task | None]]]


class Gathered:
    """Tasks by id, for many callers at once. `ask` answers in the order asked."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: list[Waiting] = []
        self._asking: asyncio.Task[None] | None = None

    async def get(self, ids: Sequence[str]) -> list[Task | None]:
        """The tasks, in the order asked for. Raises what `ask` raises."""
        future: asyncio.Future[list[Task | None]] = asyncio.get_running_loop().create_future()
        self._waiting.append((ids, future))
        if self._asking is None:
            self._asking = asyncio.create_task(self._run(), name="postgresql reads")
        return await future

    async def close(self) -> None:
        """Wait for what is under way; each question has an end of its own."""
        if self._asking is not None:
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._take())
        finally:
            self._asking = None

    def _take(self) -> list[Waiting]:
        taken = count = 0
        while taken < len(self._waiting) and count < MOST_ASKED:
            count += len(self._waiting[taken][0])
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return [(ids, future) for ids, future in batch if not future.done()]  # others were given up on

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            found = iter(await self._ask([id for ids, _ in batch for id in ids]))
        except Exception as error:  # every caller is told
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for ids, future in batch:
                tasks = list(islice(found, len(ids)))
                if not future.done():
                    future.set_result(tasks)
