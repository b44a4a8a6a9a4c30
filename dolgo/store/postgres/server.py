"""PostgreSQL as the store sees it: one connection that writes, one that reads, and what to do when either is in the way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from asyncpg import Connection

from dolgo.store.base import Clock
from dolgo.store.postgres.link import ANSWERS_WITHIN, Link
from dolgo.store.postgres.refusals import Failure, contended, cut, describe, meaning
from dolgo.store.postgres.sql import QUERIES, Record
from dolgo.store.postgres.url import Address

log = logging.getLogger("dolgo.store")

LONGEST = 15.0  # seconds a transaction may take whose every statement is answered in time
TRIES = 3  # of what a cut connection has undone
MOST_CONTENDED = 6  # tries of a transaction that others stood in the way of
SLOWEST = 4 * 2**20  # bytes a second that a server writes at least, or is said not to answer
GAP = 0.01  # seconds between two of those, at first; they double, and are never the same for all processes

Answer = TypeVar("Answer")
Work = Callable[[Connection], Awaitable[Answer]]


class Server:
    """The connections of a process. `open` before, `close` after."""

    def __init__(self, address: Address, clock: Clock | None) -> None:
        self.address = address
        self.writing = Link(address, told=logging.WARNING)
        self.reader = Reader(Link(address))
        self.writing.beside.append(self.reader.link)
        self.reader.link.beside.append(self.writing)
        self._clock = clock

    async def close(self) -> None:
        """Let go of the connections. Calling it twice is harmless."""
        await self.writing.close()
        await self.reader.link.close()

    async def now(self) -> float:
        """The server's time, unless tests have one of their own."""
        if self._clock is not None:
            return self._clock()
        ((now,),) = await self.reader.run("now")
        return float(now)

    async def transact(self, begin: str | None, work: Work[Answer], *, again: bool, size: int = 0) -> Answer:
        """What `work` answers, once it is committed; `begin` opens the transaction and takes its locks. `size`: bytes it writes.
        Without `begin`, `work` runs one statement, which is a transaction of its own.

        What others stood in the way of, or a cut connection has undone, is done again; so is what may have been committed
        already, if doing it `again` is harmless. Raises StoreUnavailable; and what `work` raises, rolled back."""
        contentions = cuts = 0
        while True:
            attempt = Attempt(await self.writing.ready(), within=LONGEST + size / SLOWEST)
            try:
                return await attempt.run(begin, work)
            except Failure as error:
                reason = await self._reason(attempt, error)
                if contended(error) and contentions < MOST_CONTENDED:
                    contentions += 1
                    await asyncio.sleep(GAP * 2**contentions * random.random())
                elif cut(error) and not isinstance(error, TimeoutError) and attempt.harmless(again) and cuts < TRIES - 1:
                    cuts += 1
                elif reason is None:
                    raise
                else:
                    raise self.writing.unavailable(reason) from None

    async def _reason(self, attempt: Attempt, error: BaseException) -> str | None:
        """Why the store cannot be used now, if that is it; the connection is rolled back, or dropped."""
        reason = "others were in the way again and again" if contended(error) else meaning(error)
        if cut(error):
            self.writing.drop(reason or describe(error))
        return reason


class Attempt:
    """A transaction under way."""

    def __init__(self, connection: Connection, *, within: float) -> None:
        self._connection = connection
        self._within = within
        self._committing = False  # from here on nobody knows, until there is an answer

    def harmless(self, again: bool) -> bool:
        """Whether all of it may be done once more."""
        return again or not self._committing

    async def run(self, begin: str | None, work: Work[Answer]) -> Answer:
        """What `work` answers, once it is committed. Raises anything, and then nothing was committed unless it was cut."""
        try:
            async with asyncio.timeout(self._within):
                if begin is None:
                    self._committing = True
                    return await work(self._connection)
                await self._connection.execute(begin)
                answer = await work(self._connection)
                self._committing = True
                await self._connection.execute("COMMIT")
        except BaseException as error:
            await self._roll_back(error, begun=begin is not None)
            raise
        return answer

    async def _roll_back(self, error: BaseException, *, begun: bool) -> None:
        """After a failure of PostgreSQL's or of ours. What was given up on half-way cannot be spoken to any more."""
        if isinstance(error, (TimeoutError, asyncio.CancelledError)) or cut(error):
            self._connection.terminate()
            return
        if not begun:
            return
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                await self._connection.execute("ROLLBACK")
        except Failure as failure:  # the server forgets it with its connection
            log.debug("A transaction could not be rolled back, and its connection is dropped: %s", describe(failure))
            self._connection.terminate()


class Reader:
    """Answers questions one after the other, each as of one moment."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._turn = asyncio.Lock()

    async def run(self, name: str, *values: Any) -> list[Record]:
        """All rows that one named statement answers. Raises StoreUnavailable."""
        return await self.query(QUERIES[name], *values)

    async def query(self, text: str, *values: Any) -> list[Record]:
        """As `run`, of a statement that was put together."""
        async with self._turn:
            for tries_left in reversed(range(TRIES)):
                connection = await self.link.ready()
                try:
                    async with asyncio.timeout(ANSWERS_WITHIN):
                        answer: list[Record] = await connection.fetch(text, *values)
                        return answer
                except Failure as error:
                    await self._failed(error, last=not tries_left)
        raise AssertionError("the last try returns or raises")

    async def _failed(self, error: BaseException, *, last: bool) -> None:
        """Returns if the question may be asked again. Raises StoreUnavailable, or the error if the question is at fault."""
        reason = meaning(error)
        if cut(error):
            self.link.drop(reason or describe(error))
            if not last and not isinstance(error, TimeoutError):
                return
        if contended(error) and not last:
            return
        if reason is None:
            raise error
        raise self.link.unavailable(reason) from None
