"""Which workers there are, and which of them are certainly dead."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

import msgspec

from dolgo.store.base import Store
from dolgo.task.types import Put, WorkerInfo

PREFIX = "worker/"
MISSED = 3.0  # heartbeats a worker may miss before its record expires

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerInfo).decode


class Seen(msgspec.Struct, frozen=True):
    """A worker and when it was last heard of."""

    info: WorkerInfo
    heartbeat_at: float  # seconds since the epoch, by the store's time


class Fleet:
    """The workers' records in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def announce(self, info: WorkerInfo, *, every: float) -> None:
        """A heartbeat: the worker is alive for some times `every` seconds from now."""
        await self._store.put([Put(PREFIX + info.id, _encode(info), None, every * MISSED)])

    async def leave(self, ids: Iterable[str]) -> None:
        """These workers are gone."""
        await self._store.forget([PREFIX + id for id in ids])

    async def all(self) -> list[Seen]:
        """Every worker that has been heard of lately, by id."""
        return [Seen(_decode(record.value), record.written_at) for record in await self._store.records(PREFIX)]


def this_host() -> str:
    """Names the system this process's pid belongs to: host, boot and pid namespace. Empty where the kernel does not tell."""
    try:
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
    if not host or info.boot != host:
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
