"""The epoch of the event log: a word that is kept with it, so that a number of another log is not taken for one of this."""

from __future__ import annotations

import secrets
import time

from dolgo.store.base import Store
from dolgo.task.types import Put, Record

KEY = "log/epoch"
LOOK = 5.0  # seconds after which it is read again: another process may have seen that the log lost its end


class Epoch:
    """Made once, by the first who asks, and anew by who sees that the log has lost its end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._record: Record | None = None
        self._read_at = 0.0  # monotonic

    async def get(self) -> str:
        """The epoch. Raises StoreUnavailable."""
        if self._record is None or time.monotonic() - self._read_at > LOOK:
            await self._read()
        if self._record is None:
            await self._write(0)
        assert self._record is not None
        return self._record.value.decode()

    async def renew(self) -> None:
        """Another one from now on, unless another process has been faster. Raises StoreUnavailable."""
        await self.get()
        assert self._record is not None
        await self._write(self._record.version)

    async def _write(self, version: int) -> None:
        await self._store.put([Put(KEY, secrets.token_hex(4).encode(), version)])
        await self._read()

    async def _read(self) -> None:
        found = {record.key: record for record in await self._store.records(KEY)}
        self._record, self._read_at = found.get(KEY), time.monotonic()
