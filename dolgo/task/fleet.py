"""Which workers there are, and which of them are certainly dead."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from dolgo.errors import NotFound
from dolgo.store.base import Store
from dolgo.task.types import Put, Query, Record, Status, WorkerInfo

PREFIX = "worker/"
MISSED = 3.0  # heartbeats a worker may miss before its record expires
HELD_AT_ONCE = 1_000  # ids of what a worker holds that are fetched in one go
SOON = 0.1  # seconds a record is kept at least that is about to expire

STATES = RUNNING, DRAINING, DRAINED = "running", "draining", "drained"  # of a worker, which never goes back to an earlier one

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerInfo).decode


class Seen(msgspec.Struct, frozen=True):
    """A worker and when it was last heard of."""

    info: WorkerInfo
    heartbeat_at: float  # seconds since the epoch, by the store's time


class Fleet:
    """The workers' records in the store.

    A wish that a worker drains is written into its own record. A heartbeat writes over the version it knows alone, so it meets
    the wish without a call of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: dict[str, int] = {}  # of the records written here, by worker

    async def announce(self, info: WorkerInfo, *, every: float) -> bool:
        """A heartbeat: the worker is alive for some times `every` seconds from now. Whether somebody has asked that it drains."""
        key, asked = PREFIX + info.id, False
        while True:
            version = self._versions.get(info.id, 0)
            there = await self._store.put([Put(key, _encode(info), version, every * MISSED)])
            if there is None:
                self._versions[info.id] = version + 1
                return asked
            # Somebody's wish; or the record has expired; or it was this worker itself, and the answer got lost.
            self._versions[info.id] = there.version
            if there.version and info.state == RUNNING and _decode(there.value).state != RUNNING:
                info, asked = replace(info, state=DRAINING), True

    async def drain(self, id: str) -> Seen:
        """Ask a worker to drain; the worker as it is known from then on. One that drains already is left as it is.

        Raises NotFound."""
        while True:
            record = await self._record(id)
            if record is None:
                raise NotFound(f"There is no worker {id}. GET /workers lists those there are.")
            info = _decode(record.value)
            if info.state != RUNNING:
                return Seen(info, record.written_at)
            info = replace(info, state=DRAINING)
            left = max(SOON, (record.expires_at or 0.0) - await self._store.now())
            if await self._store.put([Put(record.key, _encode(info), record.version, left)]) is None:
                return Seen(info, record.written_at)

    async def held_by(self, id: str) -> Sequence[str]:
        """Ids of the tasks a worker holds at this moment, those it claimed ahead among them.

        Asked of the store, because a heartbeat would tell what was so some seconds ago."""
        query = Query(worker=id, status=Status.IN_PROGRESS, limit=HELD_AT_ONCE)
        ids: list[str] = []
        while True:
            page = await self._store.find(query)
            ids += page.ids
            if page.after is None:
                return ids
            query = replace(query, after=page.after)

    async def is_running(self, id: str) -> bool:
        """False once somebody has asked this worker to drain. True also if there is no record of it: it may have expired."""
        record = await self._record(id)
        return record is None or _decode(record.value).state == RUNNING

    async def _record(self, id: str) -> Record | None:
        key = PREFIX + id
        return next((record for record in await self._store.records(key) if record.key == key), None)

    async def leave(self, ids: Iterable[str]) -> None:
        """These workers are gone."""
        await self._store.forget([PREFIX + id for id in ids])

    async def all(self) -> list[Seen]:
        """Every worker that has been heard of lately, by id."""
        return [Seen(_decode(record.value), record.written_at) for record in await self._store.records(PREFIX)]


def described(id: str, *, version: str, queues: Iterable[str] | None, slots: int, lease: float) -> WorkerInfo:
    """A worker of this process as it is announced, before it knows its task types."""
    served = None if queues is None else tuple(sorted(queues))
    return WorkerInfo(
        id=id, host=socket.gethostname(), pid=os.getpid(), version=version, state=RUNNING, queues=served, types=(),
        broken=(), slots=slots, lease=lease, started_at=0.0, boot=this_host(), birth=birth(os.getpid()) or 0.0,
    )  # fmt: skip


def this_host() -> str:
    """Names the system this process's pid belongs to: host, boot and pid namespace. Empty where the kernel does not tell.

    Empty as well where /proc shows another pid namespace than this process's: a pid would be looked up among strangers."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return ""
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def birth(pid: int) -> float | None:
    """When a process started, in ticks since boot; None if there is none with this pid (a zombie counts as none)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold anything
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else float(fields[19])


def is_gone(info: WorkerInfo, host: str) -> bool:
    """True if the worker's process certainly is no more: it ran on this system, and its pid is free or another process's."""
    if not host or info.boot != host or not info.birth:
        return False
    born = birth(info.pid)
    return born != info.birth and not (born is None and _hidden(info.pid))


def _hidden(pid: int) -> bool:
    """True if there is a process that /proc does not show to this user (mount option `hidepid`)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False
