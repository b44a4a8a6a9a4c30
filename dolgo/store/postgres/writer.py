"""What a process writes: takes what has gathered while a transaction was under way, commits it together, answers each caller."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from asyncpg.exceptions import UniqueViolationError

from dolgo.errors import QueueFull, StoreUnavailable
from dolgo.store.base import Clock
from dolgo.store.batch import MOST_TAKEN, MOST_WAITING, PATIENCE, Operation
from dolgo.store.postgres import quick
from dolgo.store.postgres.edges import follow
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.rows import EventRow
from dolgo.store.postgres.server import Server
from dolgo.store.postgres.sql import Connection
from dolgo.store.postgres.turn import Turn, look, opening
from dolgo.store.postgres.writes import CAREFUL, VERBS, Verb

log = logging.getLogger("dolgo.store")

MOST_BYTES = 16 * 2**20  # of payloads and results in a batch, about
UNHURRIED = frozenset({"claim", "renew"})  # what ends or comes is waited for elsewhere, what begins is only looked on at
HARMLESS = frozenset({"settle", "note", "renew", "forget", "gate", "clamp"})  # to be done twice
MEETINGS = 3  # tries of a submit while other processes submit the same ids

Arguments = Mapping[str, Sequence[Any]]  # of all calls, by verb
Answered = tuple[Mapping[str, Sequence[Any]], "News"]  # the answers of all calls, by verb, and what was committed
Committed = Callable[["News"], None]
Notify = Callable[[bool], str | None]  # whether there is work → how the notice begins that goes with a commit, None for none
Outcome = tuple[list[Any], list["News"]]  # the answers of a batch, exceptions among them, and what was committed


class News(NamedTuple):
    """What a commit brought."""

    first_seq: int  # the first event's number
    events: Sequence[EventRow]
    work: bool  # something may have become claimable
    told: bool  # a notice to other processes went with it
    pressing: bool  # other processes may wait for it

    @property
    def last(self) -> int:
        """The newest event's number, 0 if there is none."""
        return self.first_seq + len(self.events) - 1 if self.events else 0


class Sized(Operation):
    """An operation that knows how many bytes it writes."""

    __slots__ = ("size",)

    def __init__(self, operation: tuple[str, Any, int, asyncio.Future[Any], float], size: int) -> None:
        super().__init__(*operation)
        self.size = size


class Writer:
    """Commits batches of operations, one after the other."""

    def __init__(self, server: Server, *, lines: Lines, clock: Clock | None, committed: Committed, notify: Notify) -> None:
        self._server = server
        self._lines = lines
        self._clock = clock
        self._committed = committed
        self._notify = notify
        self._urgent: deque[Sized] = deque()
        self._ordinary: deque[Sized] = deque()
        self._waiting = 0
        self._runner: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, verb: str, argument: Any, *, weight: int = 1, size: int = 0, urgent: bool = False) -> asyncio.Future[Any]:
        """The future of the operation's answer. What is `urgent` goes first and is never refused.

        All that is added in one turn of the loop is one batch."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("The store is closed."))
        elif self._waiting >= MOST_WAITING and not urgent:
            future.set_exception(QueueFull())
        else:
            operation = Sized((verb, argument, weight, future, loop.time()), size)
            self._waiting += weight
            (self._urgent if urgent else self._ordinary).append(operation)
            if self._runner is None:
                self._runner = loop.create_task(self._run(), name="postgres-writer")
            if self._watch is None:
                self._watch = loop.call_later(1.0, self._look_for_late)
        return future

    async def close(self) -> None:
        """Write what was added, and take no more. Calling it twice is harmless."""
        self._closed = True
        if self._runner is not None:
            await asyncio.gather(self._runner, return_exceptions=True)
        if self._watch is not None:
            self._watch.cancel()

    # -- batches

    async def _run(self) -> None:
        try:
            while batch := self._take():
                answers, commits = await self._commit_or_explain(batch)
                self._answer(batch, answers)
                for news in commits:
                    self._committed(news)
        finally:
            self._runner = None

    def _take(self) -> list[Sized]:
        batch: list[Sized] = []
        weight = size = 0
        for line in (self._urgent, self._ordinary):
            while line and weight < MOST_TAKEN and size < MOST_BYTES:
                operation = line.popleft()
                if operation.future.done():  # given up on while it waited: never begun, so nothing is in doubt
                    self._waiting -= operation.weight
                    continue
                weight += operation.weight
                size += operation.size
                batch.append(operation)
        return batch

    def _answer(self, batch: Sequence[Sized], answers: Sequence[Any]) -> None:
        for operation, answer in zip(batch, answers, strict=True):
            self._waiting -= operation.weight
            if operation.future.done():
                continue
            if isinstance(answer, BaseException):
                operation.future.set_exception(answer)
            else:
                operation.future.set_result(answer)

    def _look_for_late(self) -> None:
        """Answer those who have waited for their turn longer than the patience: one look a second, no timer for each."""
        late = asyncio.get_running_loop().time() - PATIENCE
        for operation in [*self._urgent, *self._ordinary]:
            if operation.since < late and not operation.future.done():
                operation.future.set_exception(StoreUnavailable("The store did not answer in time."))
        more = self._waiting > 0 and not self._closed
        self._watch = asyncio.get_running_loop().call_later(1.0, self._look_for_late) if more else None

    # -- transactions

    async def _commit_or_explain(self, batch: Sequence[Sized]) -> Outcome:
        try:
            return await self._commit(batch)
        except StoreUnavailable as error:
            return [error] * len(batch), []
        except Exception as error:  # a caller waits for every operation: whatever it is, it is told and logged
            log.exception("A batch of %d operations failed.", len(batch))
            return [StoreUnavailable(f"The store cannot be written: {error}.")] * len(batch), []

    async def _commit(self, batch: Sequence[Sized]) -> Outcome:
        """All operations in one commit; if one of them cannot be written, each in a commit of its own."""
        try:
            return await self._transact(batch, VERBS)
        except StoreUnavailable:
            raise
        except UniqueViolationError:
            log.debug("An id of a submit exists already.")
        except Exception as error:  # a value that fits no column, or whatever else is wrong with one of them
            if len(batch) == 1:
                return [error], []
        return await self._commit_one_by_one(batch)

    async def _commit_one_by_one(self, batch: Sequence[Sized]) -> Outcome:
        answers: list[Any] = []
        commits: list[News] = []
        for operation in batch:
            try:
                answer, news = await self._commit_alone(operation)
            except StoreUnavailable as error:
                return answers + [error] * (len(batch) - len(answers)), commits
            except Exception as error:  # its caller is told, and the others go on
                log.error("An operation (%s) could not be written: %s", operation.verb, error)
                answers.append(error)
                continue
            answers += answer
            commits += news
        return answers, commits

    async def _commit_alone(self, operation: Sized) -> Outcome:
        for _ in range(MEETINGS - 1):
            try:
                return await self._transact([operation], CAREFUL)
            except UniqueViolationError:  # by a transaction that was under way when it looked, and is committed now
                continue
        return await self._transact([operation], CAREFUL)

    async def _transact(self, batch: Sequence[Sized], verbs: Mapping[str, Verb]) -> Outcome:
        calls: dict[str, list[Sized]] = {}
        for operation in batch:
            calls.setdefault(operation.verb, []).append(operation)
        arguments = {verb: [operation.argument for operation in operations] for verb, operations in calls.items()}
        size = sum(operation.size for operation in batch)
        try:
            plain = quick.plain(arguments, self._lines, size) if verbs is VERBS else None
            done = None if plain is None else await self._write_quickly(plain, arguments, size)
            answered, news = done or await self._write(arguments, verbs, size)
        except BaseException:
            self._lines.drop()  # some may have been made by what was rolled back
            raise
        answers = {
            id(operation): answer
            for verb, operations in calls.items()
            for operation, answer in zip(operations, answered[verb], strict=True)
        }
        return [answers[id(operation)] for operation in batch], [news]

    async def _write_quickly(self, plain: quick.Plain, arguments: Arguments, size: int) -> Answered | None:
        """In one way to the server. None: nothing was done, it takes more than one."""
        pressing = _is_pressing(plain.work, arguments)
        told = self._notify(plain.work) if pressing else None
        now = self._now()

        async def work(connection: Connection) -> quick.Written | None:
            return await quick.write(connection, plain, self._lines, now, (self._server.address.channel, told))

        written = await self._server.transact(None, work, again=_harmless(arguments), size=size)
        if written is None:
            return None
        news = News(written.first_seq, written.events, plain.work, told is not None and len(written.events) > 0, pressing)
        return written.answers, news

    async def _write(self, arguments: Arguments, verbs: Mapping[str, Verb], size: int) -> Answered:
        async def work(connection: Connection) -> Answered:
            return await self._work(connection, arguments, verbs)

        return await self._server.transact(opening(arguments), work, again=_harmless(arguments), size=size)

    async def _work(self, connection: Connection, arguments: Arguments, verbs: Mapping[str, Verb]) -> Answered:
        turn = Turn(connection, self._lines, await look(connection), self._now())
        answers = {verb: await write(turn, arguments[verb]) for verb, write in verbs.items() if verb in arguments}
        await follow(turn)
        await turn.finish()
        news = News(turn.first_seq, turn.events, turn.work, told=False, pressing=_is_pressing(turn.work, arguments))
        told = self._notify(news.work) if news.pressing and (news.events or news.work) else None
        if told is not None:
            await turn.run("tell", self._server.address.channel, f"{told} {news.last}")
        return answers, news._replace(told=told is not None)

    def _now(self) -> float | None:
        return None if self._clock is None else self._clock()


def _is_pressing(work: bool, arguments: Arguments) -> bool:
    """Whether other processes may wait for what these calls do."""
    return work or not arguments.keys() <= UNHURRIED


def _harmless(arguments: Arguments) -> bool:
    """Whether a batch may be written again when nobody knows if it was."""
    plain = not any(puts or notes for _, puts, notes in arguments.get("submit", ()))
    return plain and arguments.keys() <= HARMLESS | {"submit"}
