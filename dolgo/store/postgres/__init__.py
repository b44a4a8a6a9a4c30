"""The store in a PostgreSQL database: see `store.py`."""
