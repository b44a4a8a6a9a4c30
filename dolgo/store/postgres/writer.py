"""What a process writes: takes what has gathered while a transaction was under way, commits it together, answers each caller."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asyncpg.exceptions import UniqueViolationError

from dolgo.errors import QueueFull, StoreUnavailable
from dolgo.store.base import Clock
from dolgo.store.batch import MOST_TAKEN, MOST_WAITING, PATIENCE, Operation
from dolgo.store.postgres.edges import follow
from dolgo.store.postgres.lines import Lines
from dolgo.store.postgres.rows import EventRow
from dolgo.store.postgres.server import Server
from dolgo.store.postgres.sql import Connection
from dolgo.store.postgres.turn import Turn, look, opening
from dolgo.store.postgres.writes import CAREFUL, VERBS, Verb

log = logging.getLogger("dolgo.store")

MOST_BYTES = 16 * 2**20  # of payloads and results in a batch, about
HARMLESS = frozenset({"settle", "note", "renew", "forget", "gate", "clamp"})  # to be done twice
MEETINGS = 3  # tries of a submit while other processes submit the same ids

Committed = Callable[[int, Sequence[EventRow], bool], None]  # the first event's number, the events, whether there is new work
Notify = Callable[[int, bool], str | None]  # the newest event's number, whether there is work → what others are told
Outcome = tuple[list[Any], list[Turn]]  # the answers of a batch, exceptions among them, and what was committed


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
                answers, turns = await self._commit_or_explain(batch)
                self._answer(batch, answers)
                for turn in turns:
                    self._committed(turn.first_seq, turn.events, turn.work)
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
        turns: list[Turn] = []
        for operation in batch:
            try:
                answer, turn = await self._commit_alone(operation)
            except StoreUnavailable as error:
                return answers + [error] * (len(batch) - len(answers)), turns
            except Exception as error:  # its caller is told, and the others go on
                log.error("An operation (%s) could not be written: %s", operation.verb, error)
                answers.append(error)
                continue
            answers += answer
            turns += turn
        return answers, turns

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

        async def work(connection: Connection) -> tuple[dict[int, Any], Turn]:
            return await self._work(connection, calls, arguments, verbs)

        try:
            answers, turn = await self._server.transact(
                opening(arguments), work, again=_harmless(arguments), size=sum(operation.size for operation in batch)
            )
        except BaseException:
            self._lines.drop()  # some may have been made by what was rolled back
            raise
        return [answers[id(operation)] for operation in batch], [turn]

    async def _work(
        self, connection: Connection, calls: Mapping[str, list[Sized]], arguments: Mapping[str, list[Any]],
        verbs: Mapping[str, Verb],
    ) -> tuple[dict[int, Any], Turn]:  # fmt: skip
        turn = Turn(connection, self._lines, await look(connection), None if self._clock is None else self._clock())
        answers: dict[int, Any] = {}
        for verb, write in verbs.items():
            if verb in calls:
                answered = await write(turn, arguments[verb])
                answers.update(zip(map(id, calls[verb]), answered, strict=True))
        await follow(turn)
        await turn.finish()
        await self._tell(turn)
        return answers, turn

    async def _tell(self, turn: Turn) -> None:
        if not turn.events and not turn.work:
            return
        told = self._notify(turn.first_seq + len(turn.events) - 1 if turn.events else 0, turn.work)
        if told is not None:
            await turn.run("tell", self._server.address.channel, told)


def _harmless(arguments: Mapping[str, list[Any]]) -> bool:
    """Whether a batch may be written again when nobody knows if it was."""
    plain = not any(puts or notes for _, puts, notes in arguments.get("submit", ()))
    return plain and arguments.keys() <= HARMLESS | {"submit"}
