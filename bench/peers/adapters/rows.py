"""For peers that keep their tasks in PostgreSQL: how results are counted and read there. They bring psycopg, or are given it."""

from __future__ import annotations

from typing import Any

import psycopg
from contract import URL, Adapter


class Rows(Adapter):
    """A peer with tables."""

    look = 0.05  # seconds: a look counts rows, and the database shares its core
    counted: str  # a statement that counts tasks that have ended well
    kept: str  # a statement that answers ids and numbers of tasks that have ended well

    def store(self) -> psycopg.Connection:
        return psycopg.connect(URL, autocommit=True)

    def finished(self, store: Any, tasks: int) -> int:
        row = store.execute(self.counted).fetchone()
        return int(row[0])

    def results(self, ids: list[Any]) -> list[int | None]:
        with self.store() as store:
            found = {str(id): n for id, n in store.execute(self.kept).fetchall()}
        return [found.get(str(id)) for id in ids]
