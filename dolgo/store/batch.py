"""Natural batching: a writer takes whatever has gathered as soon as it is free, never on a timer.

So a batch is one operation when idle and hundreds under load, and each caller's answer waits for its own commit. The loop adds
operations, a thread takes them, and the answers of one commit come back to the loop in one hop.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from typing import Any

from dolgo.errors import QueueFull, StoreUnavailable

PATIENCE = 5.0  # seconds an operation waits for its turn before it is answered with StoreUnavailable
MOST_WAITING = 20_000  # items before the writer; past it a submit is answered with QueueFull
MOST_TAKEN = 2_000  # items a batch holds, about: keeps one commit to some tens of milliseconds


class Operation:
    """One verb called with one argument, and the future its caller waits for."""

    __slots__ = ("argument", "future", "since", "verb", "weight")

    def __init__(self, verb: str, argument: Any, weight: int, future: asyncio.Future[Any], since: float) -> None:
        self.verb = verb
        self.argument = argument
        self.weight = weight
        self.future = future
        self.since = since


class Batcher:
    """The queue before a writer thread. All but `take` and `answer` belong to the loop."""

    def __init__(self, *, patience: float = PATIENCE, most_waiting: int = MOST_WAITING) -> None:
        self._loop = asyncio.get_running_loop()
        self._urgent: deque[Operation] = deque()
        self._ordinary: deque[Operation] = deque()
        self._taken: list[Operation] = []
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # half the price of an Event
        self._asleep = False  # the writer waits at the bell, or is about to
        self._ringing = False  # it will be woken at the end of this turn
        self._waiting = 0
        self._patience = patience
        self._most_waiting = most_waiting
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, verb: str, argument: Any, *, weight: int = 1, urgent: bool = False) -> asyncio.Future[Any]:
        """The future of the operation's answer. Renewals are `urgent`: they go first and are never refused.

        An idle writer is woken at the end of this turn of the loop, so that all that is added in one turn is one batch."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("The store is closed."))
        elif self._waiting >= self._most_waiting and not urgent:
            future.set_exception(QueueFull())
        else:
            operation = Operation(verb, argument, weight, future, self._loop.time())
            self._waiting += weight
            (self._urgent if urgent else self._ordinary).append(operation)
            if self._asleep and not self._ringing:
                self._ringing = True
                self._loop.call_soon(self._ring)
            if self._watch is None:
                self._watch = self._loop.call_later(1.0, self._look_for_late)
        return future

    def close(self) -> None:
        """No more operations; `take` hands out what is left and then None."""
        self._closed = True
        self._bell.put(None)
        if self._watch is not None:
            self._watch.cancel()

    def take(self) -> list[Operation] | None:
        """What has gathered, waiting for it if need be; None when closed and empty. Called by the writer thread alone."""
        while not self._urgent and not self._ordinary:
            if self._closed:
                return None
            self._asleep = True
            if not self._urgent and not self._ordinary and not self._closed:
                self._bell.get()
            self._asleep = False
        batch: list[Operation] = []
        weight = 0
        for line in (self._urgent, self._ordinary):
            while line and weight < MOST_TAKEN:
                operation = line.popleft()
                weight += operation.weight
                if not operation.future.done():  # given up on while it waited: never begun, so nothing is in doubt
                    batch.append(operation)
                else:
                    self._loop.call_soon_threadsafe(self._forget, operation.weight)
        self._taken = batch
        return batch

    def answer(self, batch: list[Operation], answers: list[Any]) -> None:
        """Hand the answers (exceptions among them) to the callers, in one hop to the loop. Called on the loop."""
        if self._taken is batch:  # else the writer has the next one already, whose callers must not be forgotten
            self._taken = []
        for operation, answer in zip(batch, answers, strict=True):
            self._waiting -= operation.weight
            future = operation.future
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _ring(self) -> None:
        self._ringing = False
        if self._asleep:
            self._asleep = False
            self._bell.put(None)

    def _forget(self, weight: int) -> None:
        self._waiting -= weight

    def _look_for_late(self) -> None:
        """Answer those who have waited longer than the patience: one look a second, no timer for each operation."""
        late = self._loop.time() - self._patience
        for operation in [*self._taken, *self._urgent, *self._ordinary]:
            if operation.since < late and not operation.future.done():
                operation.future.set_exception(StoreUnavailable("The store did not answer in time."))
        more = self._waiting > 0 and not self._closed
        self._watch = self._loop.call_later(1.0, self._look_for_late) if more else None
