"""What an idle dolgo asks of its store, told by the store: commits of a file, commands of a Redis."""

from __future__ import annotations

import sqlite3
import time
from typing import Protocol

import redis

from bench.place import Place

LOOK = 0.02  # seconds between two looks for commits: those of an idle server are seconds apart


class Watch(Protocol):
    """Counts, from its making on."""

    unit: str
    per: float  # seconds that the unit is of

    def wait(self, seconds: float) -> int:
        """So much later: what the store was asked for meanwhile."""


def watch(place: Place) -> Watch:
    """One that suits the store of a place."""
    return Commands(place.kind) if place.kind else Commits(place)


class Commits:
    """Commits of others on a database, one counted for all that fall between two looks."""

    unit = "commits a minute"
    per = 60.0

    def __init__(self, place: Place) -> None:
        self._file = place.file

    def wait(self, seconds: float) -> int:
        store = sqlite3.connect(self._file, isolation_level=None)
        try:
            return _changes(store, seconds)
        finally:
            store.close()


class Commands:
    """Commands that others send to a Redis; those inside a script count one by one."""

    unit = "commands a second"
    per = 1.0

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def wait(self, seconds: float) -> int:
        before = self._processed()
        time.sleep(seconds)
        return self._processed() - before - 1  # the second look is one itself

    def _processed(self) -> int:
        return int(self._client.info("stats")["total_commands_processed"])


def _changes(store: sqlite3.Connection, seconds: float) -> int:
    commits, version, ends = 0, _version(store), time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(LOOK)
        now = _version(store)
        commits += now != version
        version = now
    return commits


def _version(store: sqlite3.Connection) -> int:
    """Changes when another connection has committed."""
    return int(store.execute("PRAGMA data_version").fetchone()[0])
