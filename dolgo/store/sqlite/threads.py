"""The threads that read and that checkpoint. Neither ever waits for the writer."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.batch import Batcher
from dolgo.store.sqlite.database import connect

log = logging.getLogger("dolgo.store")

CHECKPOINT_EVERY = 0.5  # seconds between two checkpoints while there are commits
RESTART_PAGES = 8_000  # pages of log (32 MiB) at which the writer is asked to let it start anew

Read = Callable[[sqlite3.Connection], Any]


class Reader:
    """Runs reads on a connection and a thread of their own; each read fetches all it wants and ends."""

    def __init__(self, path: str, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher()
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only = 1")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, read: Read) -> asyncio.Future[Any]:
        """The future of what `read` returns."""
        return self._batcher.add("read", read)

    def close(self) -> None:
        """End after the reads that were asked for. Blocks."""
        self._batcher.close()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (batch := self._batcher.take()) is not None:
            answers = [self._answer(operation.argument) for operation in batch]
            self._loop.call_soon_threadsafe(self._batcher.answer, batch, answers)

    def _answer(self, read: Read) -> Any:
        try:
            return read(self._connection)
        except sqlite3.Error as error:
            log.error("The store cannot be read: %s", error, extra=SELDOM)
            return StoreUnavailable(f"The store cannot be read: {error}.")
        except Exception as error:  # the caller is told; the thread must live for the others
            return error


class Checkpointer:
    """Copies the write-ahead log into the database beside the writer, so that no commit pays for it."""

    def __init__(self, path: str, restart: Callable[[], None]) -> None:
        self._connection = connect(path)
        self._restart = restart
        self._asked = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dolgo-checkpointer", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """There was a commit: the log has grown."""
        if not self._asked.is_set():
            self._asked.set()

    def close(self) -> None:
        """Stop. Blocks until a checkpoint under way is done."""
        self._closed.set()
        self._asked.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._asked.wait()
            self._asked.clear()
            if not self._closed.wait(CHECKPOINT_EVERY):
                self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            pages = self._copy()
            if pages > RESTART_PAGES:
                self._copy()  # what came meanwhile, so that little is left for the writer
                self._restart()
        except sqlite3.Error as error:
            log.warning("A checkpoint failed and is tried again: %s", error, extra=SELDOM)

    def _copy(self) -> int:
        """Copy what no reader still needs; how many pages the log has."""
        pages: int = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        return pages
