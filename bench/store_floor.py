"""The floor of the store: claim and settle on SQLite in a plain loop, nothing between the two.

One table, one partial index over what can be claimed, a row in the event log for each transition, results kept, every commit
flushed (`synchronous=FULL`). No HTTP, no children, no types, no limits, one queue.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from bench.errors import Invalid

BATCH = 100  # tasks a claim takes, and a settle ends
LEASE = 30.0  # seconds
TOKEN = "0123456789abcdef"

Rows = list[tuple[str, bytes]]  # id and payload

SCHEMA = """
CREATE TABLE task (id TEXT PRIMARY KEY, type TEXT, queue TEXT, state INT, rank REAL, run_at REAL, attempt INT DEFAULT 0,
    token TEXT, lease_until REAL, created_at REAL, started_at REAL, finished_at REAL, payload BLOB, result BLOB) WITHOUT ROWID;
CREATE INDEX ready ON task (queue, rank, id) WHERE state = 1;
CREATE TABLE event (seq INTEGER PRIMARY KEY, time REAL, id TEXT, state INT);
"""
SUBMIT = (
    "INSERT INTO task (id, type, queue, state, rank, run_at, created_at, payload) VALUES (?, 'nothing', 'default', 1, ?, ?, ?, ?)"
)
CLAIM = """
UPDATE task SET state = 2, attempt = attempt + 1, token = ?, lease_until = ?, started_at = ? WHERE id IN
    (SELECT id FROM task WHERE state = 1 AND queue = 'default' AND rank <= ? ORDER BY rank, id LIMIT ?) RETURNING id, payload
"""
SETTLE = "UPDATE task SET state = 3, result = ?, finished_at = ?, lease_until = NULL WHERE id = ? AND token = ? AND state = 2"
LOG = "INSERT INTO event (time, id, state) VALUES (?, ?, ?)"


def drain(path: Path, tasks: int) -> float:
    """Tasks a second, from the first claim to the last commit. Raises Invalid unless each ended once, with its result."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(SCHEMA)
        _fill(connection, tasks)
        started = time.perf_counter()
        held = _turn(connection, [])
        while held:
            held = _turn(connection, held)
        seconds = time.perf_counter() - started
        _check(connection, tasks)
    finally:
        connection.close()
    return tasks / seconds


def _fill(connection: sqlite3.Connection, tasks: int) -> None:
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(SUBMIT, ((f"01997c2e-5d0b-7c4e-9f6a-{n:012x}", now, now, now, b'{"n":%d}' % n) for n in range(tasks)))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _turn(connection: sqlite3.Connection, held: Rows) -> Rows:
    """End what is held and claim the next batch, in one commit: two would only be slower."""
    now = time.time()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(SETTLE, [(payload[5:-1], now, id, TOKEN) for id, payload in held])
    connection.executemany(LOG, [(now, id, 3) for id, _ in held])
    claimed = connection.execute(CLAIM, (TOKEN, now + LEASE, now, now, BATCH)).fetchall()
    connection.executemany(LOG, [(now, id, 2) for id, _ in claimed])
    connection.execute("COMMIT")
    return claimed


def _check(connection: sqlite3.Connection, tasks: int) -> None:
    sent_again = "'{\"n\":' || CAST(result AS TEXT) || '}'"
    right = f"SELECT count(*) FROM task WHERE state = 3 AND attempt = 1 AND CAST(payload AS TEXT) = {sent_again}"
    (done,) = connection.execute(right).fetchone()
    if done != tasks:
        raise Invalid(f"the raw loop ended {done} of {tasks} tasks as it should")
