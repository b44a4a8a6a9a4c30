"""What can be said of the disk under a folder: its file system, its room, how long a flush takes."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from dataclasses import dataclass

from dolgo.store.findings import Verdict, bad, ok, warn

MOUNTS = "/proc/self/mountinfo"
GIB, MIB = 1 << 30, 1 << 20
LEAST, TOO_LITTLE = GIB, 100 * MIB  # bytes that should, and that have to be free
LEAST_SHARE = 0.05  # of a disk that should stay free, or of its inodes
LEAST_INODES = 100  # a store needs some ten files
FLUSHES = 5
SLOW_FLUSH = 0.05  # seconds; a disk that spins needs 10 ms

LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "reiserfs", "nilfs2", "apfs"})
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "lustre", "beegfs", "gpfs", "ocfs2", "gfs2", "vboxsf"}
)
MEMORY = frozenset({"tmpfs", "ramfs"})
UNFLUSHED = frozenset({"nobarrier", "barrier=0", "volatile"})  # options by which a flush does not reach the disk


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    point: str
    kind: str  # the file system's type
    options: frozenset[str]  # of the mount and of its file system


def parse_mounts(text: str) -> list[Mount]:
    """The lines of mountinfo (proc(5)), in order: a later one hides an earlier one of the same place."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")  # between them any number of optional fields
        own, rest = before.split(" "), after.split(" ")
        if separator and len(own) >= 6 and len(rest) >= 3:
            options = frozenset((own[5] + "," + rest[2]).split(","))
            found.append(Mount(_plain(own[4]), rest[0], options))
    return found


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)


def mount_of(folder: str, mounts: list[Mount]) -> Mount | None:
    """The mount that a folder lies on; None where the list has none."""
    real = os.path.realpath(folder)
    above = [mount for mount in mounts if mount.point == "/" or real == mount.point or real.startswith(mount.point + "/")]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def read_mounts() -> list[Mount]:
    """The mounts this process sees; empty where the kernel does not tell."""
    try:
        with open(MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            return parse_mounts(file.read())
    except OSError:
        return []


def file_system(mount: Mount | None) -> Verdict | None:
    """Whether its locks and flushes can be trusted, and whether it is there tomorrow."""
    if mount is None:
        return None
    there = f"{mount.kind} at {mount.point}"
    if "ro" in mount.options:
        return bad(f"{there} is mounted read-only", "Mount it for writing, or put the store elsewhere.")
    if mount.kind in NETWORK or mount.kind.startswith("fuse."):
        return bad(
            f"{there}: locks and flushes of such a file system cannot be trusted", "Put the store on a disk of this machine."
        )
    if unflushed := UNFLUSHED & mount.options:
        option = min(unflushed)
        return bad(f"{there} is mounted with {option}: a flush does not reach the disk", "Mount it without that option.")
    if mount.kind in MEMORY:
        return warn(f"{there} is memory: everything is gone when the machine starts anew", "Put the store on a disk.")
    if mount.kind == "overlay":
        return warn(f"{there}: a container's own layer, gone with the container", "Put the store on a volume.")
    if mount.kind not in LOCAL:
        return warn(f"{there}: not known to keep locks and flushes", "Make sure that it is a disk of this machine alone.")
    return ok(there)


def room(folder: str) -> Verdict:
    """Whether there is room for more. Raises `OSError`."""
    stat = os.statvfs(folder)
    free, size = stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize
    text = f"{amount(free)} of {amount(size)} free"
    advice = "Make room, or put the store on a larger disk: with a full one nothing is acknowledged."
    few = stat.f_files and stat.f_favail < LEAST_INODES  # some file systems have no fixed number of inodes and say 0
    if free < TOO_LITTLE or few:
        return bad(text + (f", {stat.f_favail} inodes" if few else ""), advice)
    if free < LEAST or free < LEAST_SHARE * size or stat.f_favail < LEAST_SHARE * stat.f_files:
        return warn(f"{text}, {stat.f_favail} inodes", advice)
    return ok(text)


def flush(folder: str) -> Verdict:
    """How long a flush takes, tried on a file without a name. Raises `OSError`."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FLUSHES):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    median = statistics.median(took)
    text = f"a flush takes {median * 1000:.2f} ms"
    if median > SLOW_FLUSH:
        return warn(text, "Every acknowledgement waits for one: use a faster disk, or one with less to do.")
    return ok(text)


def amount(size: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, bytes in (("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10)):
        if size >= bytes:
            return f"{size / bytes:.1f} {unit}"
    return f"{size:.0f} bytes"
