"""Opening a SQLite file: private, durable, of our making and of our version."""

from __future__ import annotations

import os
import sqlite3

from dolgo.errors import StoreUnusable
from dolgo.store.sqlite.sql import MIGRATIONS, Connection

APPLICATION = 0x646F6C67  # "dolg" in the file's header: says whose file it is
BUSY = 5.0  # seconds to wait for a lock that somebody outside the turnstile holds
CHECKED_SIZE = 64 << 20  # bytes; a file up to this size is checked whole at open, in under a second

_OPEN = ("PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 0", "PRAGMA temp_store = MEMORY", "PRAGMA cache_size = -65536")


def connect(path: str) -> Connection:
    """A connection that commits durably (a finished `fdatasync` before COMMIT returns) and never checkpoints by itself."""
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=512)
    for pragma in _OPEN:
        connection.execute(pragma)
    return connection


def prepare(path: str) -> None:
    """The file exists, is ours, sound and migrated. Raises StoreUnusable with the way out."""
    try:
        _make_private(path)
        connection = connect(path)
        try:
            _check(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            _migrate(connection, path)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise StoreUnusable(_explain(path, error)) from error
    except OSError as error:
        raise StoreUnusable(f"Cannot use {path} as the store: {error.strerror or error}. Name another with --store.") from error


def _make_private(path: str) -> None:
    """A new file is born 0600; SQLite gives its -wal and -shm the same mode."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise StoreUnusable(f"The folder {folder} of the store does not exist: make it, or name another with --store.")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreUnusable(
                f"{path} cannot be read and written by this user: change its mode, or name another store."
            ) from None


def _check(connection: Connection, path: str) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and application != APPLICATION:
        raise StoreUnusable(f"{path} is a database of another program: name another file with --store.")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > max(MIGRATIONS):
        raise StoreUnusable(
            f"{path} was written by a newer dolgo (data version {version}, this one knows {max(MIGRATIONS)}): upgrade dolgo."
        )
    if 0 < version < min(MIGRATIONS):
        raise StoreUnusable(f"{path} was written by a development version of dolgo: move it away, or name another with --store.")
    if os.path.getsize(path) <= CHECKED_SIZE:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise StoreUnusable(f"{path} is damaged ({answer}): restore it from a backup.")


def _migrate(connection: Connection, path: str) -> None:
    """Bring the file to this version, under SQLite's own write lock: two processes that start at once do it once."""
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number in sorted(number for number in MIGRATIONS if number > version):
        for statement in _statements(MIGRATIONS[number]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    if version == 0:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit the transaction first."""
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found


def _explain(path: str, error: sqlite3.DatabaseError) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a dolgo database: name another file with --store."
    if code == sqlite3.SQLITE_CORRUPT:
        return f"{path} is damaged ({error}): restore it from a backup."
    if code == sqlite3.SQLITE_BUSY:
        return f"{path} is locked by another program: end it, or name another store."
    return f"Cannot use {path} as the store: {error}. Check the disk and the file's mode, or name another with --store."
