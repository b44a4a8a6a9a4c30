"""A dolgo that is broken on purpose, to see that the checker tells: each of these is a mistake that somebody could make.

A launcher calls `break_it` before `main` (`Deployment` writes it). Those whose names begin with `lua_` are mistakes of the Redis
store, the others of the SQLite store.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from dolgo.store.base import Submitted
from dolgo.store.sqlite import settle, sql, writes
from dolgo.store.sqlite.store import SqliteStore
from dolgo.store.sqlite.turnstile import Turnstile
from dolgo.task.types import Status

DELAY = 0.3  # seconds between an answer and its commit
POISONED = 3  # of so many batches with several submits, one meets an error

GUARD = "task.id = v.column1 AND task.token = v.column2 AND task.state = 4"


class Poison(Exception):
    """An error inside a batch."""


def break_it(name: str) -> None:
    """From now on this process makes the mistake."""
    MUTANTS[name]()


def settles_without_the_token() -> None:
    """Whoever was given the task may end it as long as it is in progress."""
    _settle_where("task.id = v.column1 AND task.state = 4")


def settles_by_id() -> None:
    """An outcome is written whatever there is already."""
    _settle_where("task.id = v.column1")


def _settle_where(guard: str) -> None:
    assert GUARD in sql.QUERIES["settle"]
    sql.QUERIES["settle"] = sql.QUERIES["settle"].replace(GUARD, guard)


def queued_beats_a_cancel() -> None:
    """What goes back to the line forgets that somebody wants it cancelled."""
    right = settle.queue_again

    def wrong(turn: Any, row: Any, **more: Any) -> None:
        row.cancel_asked = 0
        right(turn, row, **more)

    settle.queue_again = wrong


def answers_before_the_commit() -> None:
    """A submit is acknowledged at once and written a moment later."""
    right = SqliteStore.submit

    async def wrong(self: SqliteStore, tasks: Any, puts: Any = (), notes: Any = ()) -> Submitted:
        if notes or any(task.depends_on or task.unique_key for task in tasks):
            return await right(self, tasks, puts, notes)

        async def later() -> None:
            await asyncio.sleep(DELAY)
            await right(self, tasks, puts, notes)

        self.late = {*getattr(self, "late", ()), asyncio.create_task(later())}  # type: ignore[attr-defined]
        return Submitted([Status.QUEUED] * len(tasks))

    SqliteStore.submit = wrong  # type: ignore[method-assign]


def meets_errors() -> None:
    """No mistake: a batch fails now and then, and has to be written one by one."""
    _poison(lambda calls: None)


def swallows_errors() -> None:
    """A batch fails now and then, and whoever was in it is told that all is well."""
    _poison(lambda calls: [Submitted([Status.QUEUED] * len(tasks)) for tasks, _, _ in calls])


def _poison(answer: Callable[[Sequence[Any]], Sequence[Submitted] | None]) -> None:
    right, met = writes.VERBS["submit"], 0

    def wrong(turn: Any, calls: Sequence[Any]) -> Sequence[Any]:
        nonlocal met
        met += len(calls) > 1
        if len(calls) > 1 and met % POISONED == 0:
            right(turn, calls[:1])
            if (made_up := answer(calls)) is not None:
                return made_up
            raise Poison
        return right(turn, calls)

    writes.VERBS["submit"] = wrong


def takes_turns_by_one_lock() -> None:
    """Who has just written takes the turn again before the one who waits has woken."""

    def wrong(self: Turnstile) -> None:
        fcntl.flock(self._b, fcntl.LOCK_EX)

    Turnstile.__enter__ = wrong  # type: ignore[method-assign]


def lua_settles_without_the_token() -> None:
    """As `settles_without_the_token`."""
    _lua("if not task or task.token ~= token or token == '' then", "if not task then")


def lua_queued_beats_a_cancel() -> None:
    """As `queued_beats_a_cancel`."""
    _lua("function Settle.requeue(turn, task, changes, outcome, error)\n", "task.cancel_asked = 0\n", after=True)


def _lua(text: str, instead: str, *, after: bool = False) -> None:
    """The library with this piece of its code replaced, or with something more after it; under a name of its own."""
    importlib.import_module("dolgo.store.redis")
    module = sys.modules["dolgo.store.redis.library"]
    right = module.library()
    assert text in right.code
    name = right.name + "x"
    broken = module.Library(name, right.code.replace(text, text + instead if after else instead).replace(right.name, name))
    for other in [other for path, other in sys.modules.items() if path.startswith("dolgo.store.redis.")]:
        if getattr(other, "library", None) is module.library and other is not module:
            other.library = lambda: broken  # type: ignore[attr-defined]


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        settles_without_the_token, settles_by_id, queued_beats_a_cancel, answers_before_the_commit, meets_errors, swallows_errors,
        takes_turns_by_one_lock, lua_settles_without_the_token, lua_queued_beats_a_cancel,
    )
}  # fmt: skip
