"""A dolgo that is broken on purpose, to see that the checker tells: each of these is a mistake that somebody could make.

A launcher calls `break_it` before `main` (`Deployment` writes it). All are mistakes of the SQLite store.
"""

from __future__ import annotations

import asyncio
import fcntl
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


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        settles_without_the_token, settles_by_id, queued_beats_a_cancel, answers_before_the_commit, meets_errors, swallows_errors,
        takes_turns_by_one_lock,
    )
}  # fmt: skip
