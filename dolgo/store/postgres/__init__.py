"""The store in a PostgreSQL database: see `store.py`."""

from dolgo.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
