"""The task types that workers have announced, as the web knows them: it never imports task code."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec

from dolgo.errors import UnknownType
from dolgo.shape import Shape
from dolgo.store.base import Store
from dolgo.task.types import Put, TypeInfo

PREFIX = "type/"
KEPT = 86_400.0  # seconds an announcement outlives its last worker
LIMITS = ("max_running", "max_running_per_key", "rate")  # options that a gate holds
FRESH = 1.0  # seconds an answer of the store is used before it is asked again

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TypeInfo).decode


class Announced:
    """Task types by name: of several announcements of one name, the one first seen last."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self.monotonic = monotonic
        self._read_at = float("-inf")  # monotonic, of the last answer of the store
        self._looks = 0  # under way
        self._versions: dict[str, tuple[float, int]] = {}  # by key: when first seen, and how often written
        self._newest: dict[str, TypeInfo] = {}
        self._known: dict[tuple[str, str], TypeInfo] = {}  # by name and hash
        self._shapes: dict[str, Shape] = {}  # by hash; made when first needed

    async def announce(self, types: Iterable[TypeInfo]) -> None:
        """Store the types; kept for a day after the last time."""
        types = list(types)
        await self._store.put([Put(f"{PREFIX}{info.name}/{info.hash}", _encode(info), None, KEPT) for info in types])
        await self.read()
        await self._gate({info.name for info in types})

    async def _gate(self, names: Set[str]) -> None:
        """Limits that types set themselves hold for all workers: as the newest announcement of each has them."""
        gates = {gate.scope: gate for gate in await self._store.gates()}
        for name in names & self._newest.keys():
            scope = f"type/{name}"
            wanted = {limit: self._newest[name].options.get(limit) for limit in LIMITS}
            if any(getattr(gates.get(scope), limit, None) != value for limit, value in wanted.items()):
                await self._store.gate(scope, wanted)

    async def has(self, types: Iterable[TypeInfo]) -> bool:
        """Whether the store still has the announcements of all these."""
        await self.read()
        return {(info.name, info.hash) for info in types} <= self._known.keys()

    async def keep(self, wanted: Set[tuple[str, str]]) -> None:
        """Keep these announcements, (name, hash), for a day from now: they are still needed, with or without a worker."""
        keys = {f"{PREFIX}{name}/{hash}" for name, hash in wanted}
        for record in await self._store.records(PREFIX):
            if record.key in keys:  # under its version: a worker may be writing a newer description of the same type
                await self._store.put([Put(record.key, record.value, record.version, KEPT)])

    async def find(self, name: str, *, since: float = float("-inf")) -> TypeInfo:
        """The type of this name. Raises UnknownType with a near miss, if a look begun after `since` (monotonic) found none."""
        known = name in self._newest
        late = self.monotonic() - self._read_at > FRESH
        if (late and not (known and self._looks)) or (not known and self._read_at < since):
            await self.read()
        info = self._newest.get(name)
        if info is None:
            raise UnknownType(self._unknown(name))
        return info

    def options(self, name: str, hash: str) -> Mapping[str, Any]:
        """What an announced type says of itself; nothing if this process has not heard of it."""
        info = self._known.get((name, hash))
        return {} if info is None else info.options

    def shape(self, info: TypeInfo) -> Shape:
        """What checks the payloads of a type."""
        shape = self._shapes.get(info.hash)
        if shape is None:
            shape = self._shapes[info.hash] = Shape(info.payload)
        return shape

    async def all(self) -> Sequence[TypeInfo]:
        """Every type, by name."""
        await self.read()
        return [self._newest[name] for name in sorted(self._newest)]

    async def read(self) -> None:
        """Take over what the store has now."""
        asked_at = self.monotonic()
        self._looks += 1
        try:
            records = await self._store.records(PREFIX)
        finally:
            self._looks -= 1
        if asked_at < self._read_at:  # a look that began later has answered sooner
            return
        self._read_at = asked_at
        versions = {record.key: (record.first_at, record.version) for record in records}
        if versions != self._versions:
            self._versions = versions
            infos = [_decode(record.value) for record in sorted(records, key=lambda record: record.first_at)]
            self._known = {(info.name, info.hash): info for info in infos}
            self._newest = {info.name: info for info in infos}

    def _unknown(self, name: str) -> str:
        if not self._newest:
            return f"No worker has announced any task type yet, so {name!r} is unknown: start a worker with --tasks."
        near = difflib.get_close_matches(name, self._newest, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known types: {', '.join(sorted(self._newest)[:20])}."
        return f"No worker has announced the task type {name!r}.{hint}"
