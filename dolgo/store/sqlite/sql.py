"""The statements of `queries.sql` and the migrations of `schema.sql`, by name."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

Connection = sqlite3.Connection
Row = tuple[Any, ...]

_CHUNKS = (64, 8, 1)  # rows written by one statement: few sizes, so that each stays prepared


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


def run_rows(connection: Connection, name: str, rows: Sequence[Row]) -> int:
    """Write all rows, many with one statement; how many rows of the database changed.

    `executemany` hands the interpreter lock over at every row; with another thread busy each row would wait for it."""
    changed = start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            sql = _expanded(name, size, len(chunk[0]))
            changed += connection.execute(sql, [value for row in chunk for value in row]).rowcount
            start += size
    return changed


@lru_cache(maxsize=64)
def _expanded(name: str, rows: int, width: int) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return QUERIES[name].replace("{rows}", ", ".join([row] * rows))
