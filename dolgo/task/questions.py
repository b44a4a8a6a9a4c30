"""What the handlers in one child ask of the worker while they run, and wait for: steps, submits, parents."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from dolgo.errors import Refused, StoreUnavailable
from dolgo.runner.link import Answer, Ask
from dolgo.task.berth import Berth
from dolgo.task.leases import BACKOFF
from dolgo.task.types import Lease

log = logging.getLogger("dolgo.worker")

AT_ONCE = 100  # questions of one child that the store is asked at the same time
MOST_WAITING = 64 * 2**20  # bytes of questions that wait; past it they are refused
WEIGHT = 200  # bytes a question takes beside its body


class Questions:
    """The questions of one child, in the order they came. Each is answered: one whose attempt is over with that."""

    def __init__(self, berth: Berth, ask: Callable[[Lease, Ask], Awaitable[bytes]]) -> None:
        self._berth = berth
        self._ask = ask
        self._waiting: deque[Ask] = deque()
        self._bytes = 0  # of those that wait
        self._tasks: set[asyncio.Task[None]] = set()

    def asked(self, asks: Iterable[Ask]) -> None:
        """Have these answered."""
        for ask in asks:
            if self._bytes > MOST_WAITING:
                self._answer(Answer(ask.number, None, "Too many questions wait for an answer."))
            else:
                self._waiting.append(ask)
                self._bytes += _weight(ask)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and len(self._tasks) < AT_ONCE:
            ask = self._waiting.popleft()
            self._bytes -= _weight(ask)
            task = asyncio.create_task(self._see_to(ask))
            self._tasks.add(task)
            task.add_done_callback(self._seen_to)

    def _seen_to(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()

    async def _see_to(self, ask: Ask) -> None:
        """Ask and answer. A store that is away for a while is waited for, as long as the attempt runs."""
        answer, tries = None, 0
        while answer is None:
            if tries:
                await asyncio.sleep(BACKOFF[min(tries, len(BACKOFF)) - 1])
            aboard = self._berth.aboard.get(ask.key)
            over = Answer(ask.number, None, "The attempt is over.")
            answer = over if aboard is None else await self._found(aboard.lease, ask)
            tries += 1
        self._answer(answer)

    async def _found(self, lease: Lease, ask: Ask) -> Answer | None:
        """The answer; None if the store cannot be asked now."""
        try:
            return Answer(ask.number, await self._ask(lease, ask))
        except StoreUnavailable:
            return None
        except Refused as error:
            return Answer(ask.number, None, str(error))
        except Exception as error:
            log.exception("A question of task %s could not be answered.", lease.id)
            return Answer(ask.number, None, f"The worker could not answer: {type(error).__name__}.")

    def _answer(self, answer: Answer) -> None:
        if self._berth.child is not None:
            self._berth.child.answer([answer])


def _weight(ask: Ask) -> int:
    return len(ask.name) + len(ask.body) + WEIGHT
