"""Natural batching: what has gathered while a call was under way goes as the next one, never on a timer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from dolgo.errors import QueueFull
from dolgo.store.redis.wire import Reply

MOST_WAITING = 20_000  # of weight before the server; past it a submit is answered with QueueFull
MOST_TAKEN = 500  # of weight a call takes, about: so that none holds the server for long
MOST_BYTES = 16 * 2**20  # likewise; Redis takes half a GiB at most

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batches(Generic[Item, Answer]):
    """The calls of one verb. `send` makes them and answers for each item."""

    def __init__(self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, bounded: bool = False) -> None:
        self._send = send
        self._bounded = bounded
        self._gathered: list[tuple[Item, int, int, asyncio.Future[Answer]]] = []
        self._waiting = 0
        self._sender: asyncio.Task[None] | None = None

    async def add(self, item: Item, *, weight: int = 1, size: int = 0) -> Answer:
        """The answer to the item. Raises QueueFull, and what `send` raises."""
        if self._bounded and self._waiting >= MOST_WAITING:
            raise QueueFull
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._gathered.append((item, weight, size, future))
        self._waiting += weight
        if self._sender is None:
            self._sender = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Wait for what is under way; each call has an end of its own."""
        if self._sender is not None:
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._gathered:
                await self._take()
        finally:
            self._sender = None

    async def _take(self) -> None:
        taken, weight, size = 0, 0, 0
        while taken < len(self._gathered) and weight < MOST_TAKEN and size < MOST_BYTES:
            weight += self._gathered[taken][1]
            size += self._gathered[taken][2]
            taken += 1
        batch, self._gathered = self._gathered[:taken], self._gathered[taken:]
        self._waiting -= weight
        wanted = [(item, future) for item, _, _, future in batch if not future.done()]  # others were given up on
        if wanted:
            await self._answer(wanted)

    async def _answer(self, batch: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in batch])
        except Reply as refused:  # a fault of one of them: it is to cost the others nothing
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            else:
                _fail(batch, refused)
        except Exception as error:
            _fail(batch, error)
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _fail(batch: Sequence[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
