"""The audit log: who did what by hand, when, to which tasks. It is kept in the store, and said on the log as well.

An entry is a record. They are numbered by one more record that is written in the same commit, so readers meet them in order and
without gaps; those of a hundred share the beginning of their key, so a page is one look. Old ones expire, and of more than
`MOST` the oldest go: nobody can fill the store with them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dolgo.errors import Refused, StoreUnavailable
from dolgo.store.base import Store
from dolgo.task.types import Put

log = logging.getLogger("dolgo.audit")

KEEP = 90 * 86_400.0  # seconds
MOST = 100_000  # entries
PAGE = 100  # entries whose keys begin alike
HEAD = "audit-head"
PREFIX = "audit/"
TRIES = 50  # to write after somebody else
AT_ONCE = 100  # entries a commit
LOOKS = 200  # of a page at most: of a log whose most has expired it may then be short


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was done by hand."""

    seq: int = 0  # given by the log, from 1
    time: float = 0.0  # given by the log: the store's
    who: str  # as `Caller.who`, or "command_line"
    name: str = ""  # of a token, or of a user, for people
    action: str
    target: str = ""  # what the address named, if that is no task
    ids: tuple[str, ...] = ()  # of tasks, or of tokens; the first hundred
    changed: int | None = None  # of many tasks, how many
    detail: str = ""  # what else was asked for


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Audit:
    """The audit log of a store."""

    def __init__(self, store: Store, *, keep: float = KEEP) -> None:
        self._store = store
        self._keep = keep
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, entry: Entry) -> None:
        """Return when it is written. Those that come meanwhile share the next commit. Raises what the store says against it."""
        log.info("%s", _encode(entry).decode())
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="audit")
        await written

    async def page(self, after: int, limit: int) -> tuple[Sequence[Entry], int]:
        """Entries of a larger number, the oldest first, and what to ask for entries after next time."""
        head, _ = await self._head()
        place, found = max(after, head - MOST), list[Entry]()
        for _ in range(LOOKS):
            if place >= head or len(found) >= limit:
                break
            records = await self._store.records(_page(place + 1))
            entries = [_decode(record.value) for record in records]
            found += [entry for entry in entries if entry.seq > place][: limit - len(found)]
            place = (place // PAGE + 1) * PAGE  # of a page that has expired nothing is left
        following = found[-1].seq if len(found) == limit else min(place, head)
        return found, max(after, following)

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                await self._write([entry for entry, _ in some])
            except Exception as error:  # whatever it is, those who wait for it must hear of it, or they wait for ever
                for _, written in some:
                    if not written.done():
                        written.set_exception(error)
                if not isinstance(error, Refused):
                    log.exception("The audit log cannot be written.")
            for _, written in some:
                if not written.done():
                    written.set_result(None)

    async def _write(self, entries: Sequence[Entry]) -> None:
        now = await self._store.now()
        for _ in range(TRIES):
            head, version = await self._head()
            numbered = [replace(entry, seq=head + place, time=now) for place, entry in enumerate(entries, 1)]
            puts = [Put(_key(entry.seq), _encode(entry), None, self._keep) for entry in numbered]
            there = await self._store.put([Put(HEAD, _encode(numbered[-1].seq), version), *puts])
            if there is None:
                await self._store.forget([_key(entry.seq - MOST) for entry in numbered if entry.seq > MOST])
                return
        raise StoreUnavailable("The audit log is being written by others all the time.")

    async def _head(self) -> tuple[int, int]:
        """The newest number, and the version of its record."""
        for record in await self._store.records(HEAD):
            return msgspec.json.decode(record.value, type=int), record.version
        return 0, 0


def _page(seq: int) -> str:
    return f"{PREFIX}{(seq - 1) // PAGE:012d}/"


def _key(seq: int) -> str:
    return f"{_page(seq)}{seq:014d}"
