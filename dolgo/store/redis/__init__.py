"""The store on a Redis server: see `store.py`."""

from dolgo.store.redis.store import RedisStore

__all__ = ["RedisStore"]
