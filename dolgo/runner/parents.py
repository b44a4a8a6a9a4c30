"""What a handler sees of the tasks its own one waited for."""

from __future__ import annotations

import itertools
from asyncio import wrap_future
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from dolgo.runner.desk import Desk
from dolgo.runner.frames import Verb
from dolgo.task.types import Status


class Parent(Struct, frozen=True):
    """A task that this one waited for, as it ended."""

    id: str
    ref: str | None  # what it was called in the batch it came in
    type: str
    status: Status
    result: Any  # if it is `done`
    error: str | None  # if it is not


_decoder = msgspec.json.Decoder(Parent | None)


class AsyncParents:
    """The parents in the order of `depends_on`, for `async for`. Each is fetched when it is reached, and again next time."""

    def __init__(self, desk: Desk | None, given: Sequence[Parent]) -> None:
        self._desk = desk
        self._given = given

    async def __aiter__(self) -> AsyncIterator[Parent]:
        if self._desk is None:
            for given in self._given:
                yield given
            return
        for place in itertools.count():
            answer = await wrap_future(self._desk.ask(Verb.PARENT, name=str(place)))
            parent = _decoder.decode(answer)
            if parent is None:
                return
            yield parent


class Parents:
    """The parents in the order of `depends_on`, for `for`. Each is fetched when it is reached, and again next time."""

    def __init__(self, desk: Desk | None, given: Sequence[Parent]) -> None:
        self._desk = desk
        self._given = given

    def __iter__(self) -> Iterator[Parent]:
        if self._desk is None:
            yield from self._given
            return
        for place in itertools.count():
            parent = _decoder.decode(self._desk.ask(Verb.PARENT, name=str(place)).result())
            if parent is None:
                return
            yield parent
