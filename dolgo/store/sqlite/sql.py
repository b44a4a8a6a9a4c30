"""The statements of `queries.sql` and the migrations of `schema.sql`, by name."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from typing import Any

Connection = sqlite3.Connection
Row = tuple[Any, ...]

MOST_ROWS = 64  # rows one statement writes; each number of rows is a statement of its own, prepared once


def _blocks(file: str, mark: str) -> dict[str, str]:
    """The named blocks of a file of SQL."""
    text = files("dolgo.store.sqlite").joinpath(file).read_text(encoding="utf-8")
    parts = re.split(rf"^-- {mark}: (\w+).*$", text, flags=re.MULTILINE)
    return {name: re.sub(r"(?m)^--.*\n", "", body).strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


QUERIES = _blocks("queries.sql", "name")
MIGRATIONS = {int(number): body for number, body in _blocks("schema.sql", "migration").items()}


def run(connection: Connection, name: str, *values: Any) -> sqlite3.Cursor:
    """The cursor of one named statement."""
    return connection.execute(QUERIES[name], values)


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """All that is read meanwhile is as of one commit."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def run_rows(connection: Connection, name: str, rows: Sequence[Row]) -> tuple[int, int]:
    """Write all rows, many with one statement; how many rows of the database changed, and the number of the last one inserted.

    `executemany` lets go of the interpreter lock at every row, and with another thread busy waits for it at every row."""
    changed = last = 0
    for start in range(0, len(rows), MOST_ROWS):
        chunk = rows[start : start + MOST_ROWS]
        sql = _expanded(name, len(chunk), len(chunk[0]))
        cursor = connection.execute(sql, [value for row in chunk for value in row])
        changed += cursor.rowcount
        last = cursor.lastrowid or last
    return changed, last


@lru_cache(maxsize=512)
def _expanded(name: str, rows: int, width: int) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return QUERIES[name].replace("{rows}", ", ".join([row] * rows))
