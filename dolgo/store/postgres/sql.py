"""The statements of `queries/` and the migrations of `sql/`, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from asyncpg import Connection

__all__ = ["MIGRATIONS", "QUERIES", "Connection", "Record", "row", "rows"]

Record = Sequence[Any]  # a row, by place; asyncpg has no type for it that says so

_HERE = files("dolgo.store.postgres")


def _texts(folder: str) -> dict[str, str]:
    """The files of SQL of a folder, by name without its ending, in the order of their names."""
    found = sorted((entry for entry in _HERE.joinpath(folder).iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    return {entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8") for entry in found}


def _queries() -> dict[str, str]:
    """The named blocks of all files. A name that two of them have is an error."""
    queries: dict[str, str] = {}
    for text in _texts("queries").values():
        parts = re.split(r"^-- name: (\w+).*$", text, flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in queries:
                raise ValueError(f"two statements are named {name}")
            queries[name] = re.sub(r"(?m)^--.*\n", "", body).strip()
    return queries


QUERIES = _queries()
MIGRATIONS = {int(number): text for number, text in _texts("sql").items()}


async def rows(connection: Connection, name: str, *values: Any) -> list[Record]:
    """All rows that one named statement answers."""
    answer: list[Record] = await connection.fetch(QUERIES[name], *values)
    return answer


async def row(connection: Connection, name: str, *values: Any) -> Record | None:
    """The first row, None if there is none."""
    answer: Record | None = await connection.fetchrow(QUERIES[name], *values)
    return answer
