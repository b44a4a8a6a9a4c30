"""The one thread of a process that writes: takes what has gathered, commits it together, answers each caller."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.base import Clock
from dolgo.store.batch import Batcher, Operation
from dolgo.store.sqlite.database import connect
from dolgo.store.sqlite.edges import follow
from dolgo.store.sqlite.lines import Lines
from dolgo.store.sqlite.settle import Mixed
from dolgo.store.sqlite.sql import Row
from dolgo.store.sqlite.turn import Turn
from dolgo.store.sqlite.turnstile import Turnstile
from dolgo.store.sqlite.writes import ONE_BY_ONE, VERBS, Verb

log = logging.getLogger("dolgo.store")

# Errors of the machine below, not of an operation: everybody in the batch is told that the store is not available.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM,
}  # fmt: skip
_DOUBTFUL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # what is on disk is not known

# Called on the loop with the number of a commit's first event, its events, and whether there is new work.
Committed = Callable[[int, Sequence[Row], bool], None]


class Writer:
    """Commits batches of operations in turns with the other processes on the file."""

    def __init__(self, path: str, *, clock: Clock, batcher: Batcher, lines: Lines, committed: Committed) -> None:
        self._path = path
        self._clock = clock
        self._batcher = batcher
        self._lines = lines
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._turnstile = Turnstile(path)
        self._connection: sqlite3.Connection | None = connect(path)
        self._checkpoint_due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dolgo-writer", daemon=True)
        self._thread.start()

    def checkpoint_soon(self) -> None:
        """Between two commits, bring the log back to its start: the checkpointer cannot while writes go on."""
        self._checkpoint_due.set()

    def join(self) -> None:
        """Wait for the last commit; the batcher must be closed. Blocks."""
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        while (batch := self._batcher.take()) is not None:
            if batch:
                self._loop.call_soon_threadsafe(self._deliver, batch, *self._commit_or_explain(batch))
            if self._checkpoint_due.is_set():
                self._restart_log()
        if self._connection is not None:
            self._connection.close()
        self._turnstile.close()

    def _deliver(self, batch: list[Operation], answers: list[Any], turn: Turn | None) -> None:
        """Callers first, then those who wait for news. On the loop."""
        self._batcher.answer(batch, answers)
        if turn is not None:
            self._committed(turn.first_seq, turn.events, turn.work)

    def _commit_or_explain(self, batch: list[Operation]) -> tuple[list[Any], Turn | None]:
        try:
            with self._turnstile:
                return self._commit(batch)
        except Exception as error:  # a caller waits for every operation: whatever it is, it is told and logged
            log.exception("A batch of %d operations failed.", len(batch))
            return [StoreUnavailable(f"The store cannot be written: {error}.")] * len(batch), None

    def _commit(self, batch: list[Operation]) -> tuple[list[Any], Turn | None]:
        """All operations in one commit; if one of them cannot be written, each in a commit of its own."""
        try:
            return self._transact(batch, VERBS)
        except sqlite3.Error as error:
            if self._is_unavailable(error):
                return self._unavailable(batch, error), None
            if len(batch) == 1 and batch[0].verb != "submit":
                return [error], None
        except Mixed:
            pass
        except Exception as error:  # a value that fits no column, or whatever else is wrong with one of them
            if len(batch) == 1:
                return [error], None
        return self._commit_one_by_one(batch)

    def _commit_one_by_one(self, batch: list[Operation]) -> tuple[list[Any], Turn | None]:
        answers: list[Any] = []
        last: Turn | None = None
        for operation in batch:
            try:
                answer, turn = self._transact([operation], ONE_BY_ONE)
            except Exception as error:
                if isinstance(error, sqlite3.Error) and self._is_unavailable(error):
                    return answers + self._unavailable(batch[len(answers) :], error), last
                log.error("An operation (%s) could not be written: %s", operation.verb, error)
                answers.append(error)
                continue
            answers.extend(answer)
            if last is not None:
                turn.first_seq = last.first_seq if last.events else turn.first_seq
                turn.events[:0] = last.events
                turn.work = turn.work or last.work
            last = turn
        return answers, last

    def _transact(self, batch: Sequence[Operation], verbs: dict[str, Verb]) -> tuple[list[Any], Turn]:
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            turn = Turn(connection, self._lines, self._clock())
            answers: list[Any] = [None] * len(batch)
            places: dict[str, list[int]] = {}
            for place, operation in enumerate(batch):
                places.setdefault(operation.verb, []).append(place)
            for verb in [verb for verb in verbs if verb in places]:
                found = places[verb]
                for place, answer in zip(found, verbs[verb](turn, [batch[p].argument for p in found]), strict=True):
                    answers[place] = answer
            follow(turn)
            turn.finish()
            connection.execute("COMMIT")
        except BaseException:
            self._lines.drop()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return answers, turn

    # -- when the disk fails

    def _is_unavailable(self, error: sqlite3.Error) -> bool:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNAVAILABLE

    def _unavailable(self, batch: Sequence[Operation], error: sqlite3.Error) -> list[Any]:
        log.error("The store cannot be written: %s", error, extra=SELDOM)
        if error.sqlite_errorcode & 0xFF in _DOUBTFUL:
            self._give_up_connection()
        return [StoreUnavailable(f"The store cannot be written: {error}.")] * len(batch)

    def _give_up_connection(self) -> None:
        """After a failed flush the kernel may have dropped the pages: nothing is acknowledged until the file was read anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = connect(self._path)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if answer != "ok":
                    raise sqlite3.DatabaseError(f"the file is damaged: {answer}")
            except sqlite3.Error:
                connection.close()
                raise
            log.warning("The store was opened anew and is sound.")
            self._connection = connection
        return self._connection

    def _restart_log(self) -> None:
        self._checkpoint_due.clear()
        if self._connection is None:
            return
        try:
            with self._turnstile:
                self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error as error:
            log.warning("A checkpoint failed and is tried again: %s", error, extra=SELDOM)
