"""How far the event log has been followed for callbacks, and by whom: one record.

There is none before the first task with a callback: until then nobody follows, and nothing has to be kept for it."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from dolgo.store.base import Bell, Store
from dolgo.task.callbacks.wish import wish_of
from dolgo.task.types import Put, Record, Task

UNTOLD = 60.0  # seconds a task with a callback is kept at least, so that it is looked at before it goes
BEHIND = 30.0  # seconds: while the log is followed later than this, nothing is pruned

AHEAD = 1_000  # events, among which that of one task is looked for

KEY = "callbacks/cursor"
TOLD = "callbacks/of/"  # and the task's id: which deliveries were made for it


class Cursor(Struct, frozen=True):
    """A place in the log, and who follows from it."""

    seq: int
    holder: str = ""
    until: float = 0.0  # past it anybody may follow


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Cursor).decode


class Book:
    """The record of the cursor, and the deliveries of each task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.begun = Bell()  # there are callbacks, or more of them, in this process

    async def begin(self) -> None:
        """The log is followed from here at the latest: before the first task with a callback is stored."""
        if await self.read() is None:
            await self._store.put([put(Cursor(await self._store.head()), 0)])
        self.begun.ring()

    async def read(self) -> tuple[Cursor, int] | None:
        """The cursor and its version; None if no task ever had a callback."""
        found = await self._record()
        return None if found is None else (_decode(found.value), found.version)

    async def prune(self, keep: float, limit: int) -> int:
        """As the store's, but nothing goes before it was looked at."""
        found = await self.read()
        if found is None:
            return await self._store.prune(keep, limit)
        page = await self._store.events(found[0].seq, 1)
        if page.events and page.events[0].time < await self._store.now() - BEHIND:
            return 0
        return await self._store.prune(max(keep, UNTOLD), limit)

    async def awaits(self, task: Task) -> bool:
        """Whether somebody is to be told of the end of a task, and it has still to be looked at."""
        wish, found = wish_of(task.extras), await self.read()
        if wish is None or task.status not in wish.on or found is None:
            return False
        events = (await self._store.events(found[0].seq, AHEAD)).events
        return len(events) == AHEAD or any(event.id == task.id for event in events)

    async def deliveries(self, task: Task) -> list[Task]:
        """The tasks that tell of a task's ends, oldest first."""
        records = [] if task.extras is None else await self._store.records(f"{TOLD}{task.id}/")
        return [told for told in await self._store.get([record.value.decode() for record in records]) if told is not None]

    async def _record(self) -> Record | None:
        return next((record for record in await self._store.records(KEY) if record.key == KEY), None)


def put(cursor: Cursor, version: int) -> Put:
    """The cursor as it is written if its version is still this one."""
    return Put(KEY, _encode(cursor), version)
