"""What can be wrong with a SQLite store. Everything is only looked at: the file is opened for reading."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path

from dolgo.store import disk
from dolgo.store.findings import Checks, Finding, Verdict, bad, findings, ok, warn
from dolgo.store.sqlite import reads
from dolgo.store.sqlite.database import APPLICATION, connect
from dolgo.store.sqlite.sql import MIGRATIONS, Connection

BESIDE = ("-wal", "-shm", "-turn-a", "-turn-b")  # files that stand beside the database
CHECKED_SIZE = 256 << 20  # bytes; a larger file is read through only if asked for: that takes some seconds a gigabyte
LARGE_LOG = 256 << 20  # bytes; the log is begun anew from 32 MiB on, unless somebody reads for a long time
AHEAD = 5.0  # seconds that the newest event may be ahead of this clock: as much as a lease can bear
WORKERS = "worker/"  # the prefix under which workers announce themselves
# The releases with the correction of a rare damage, when one connection copies the log back while another begins it anew
# (sqlite.org/wal.html, "The WAL-Reset Bug"). dolgo does both, in different threads.
CORRECTED = ((3, 44, 6), (3, 50, 7), (3, 51, 3))


@dataclass(frozen=True)
class Look:
    """What the checks look at."""

    path: str
    full: bool  # read large files through
    now: float  # seconds since the epoch
    connection: Connection | None = None

    @property
    def folder(self) -> str:
        """Where the file is, or would be."""
        return os.path.dirname(os.path.abspath(self.path))

    @property
    def files(self) -> list[str]:
        """Those files of the store that are there, the database first."""
        return [file for file in (self.path, *(os.path.realpath(self.path) + end for end in BESIDE)) if os.path.exists(file)]

    @property
    def data(self) -> Connection:
        """The connection, for checks that are made only with one."""
        assert self.connection is not None
        return self.connection


def examine(path: str, *, full: bool) -> list[Finding]:
    """What is found in the store at `path`. Nothing is changed; SQLite may put its -wal and -shm beside a file it reads."""
    look = Look(path, full, time.time())
    if not os.path.isdir(look.folder):
        return [Finding("file", *_no_folder(look))]
    found = list(findings(FILE, look, hides=OSError))
    if not os.path.exists(path) or not os.path.getsize(path):
        return found
    try:
        with contextlib.closing(_open(path)) as connection:
            found += findings(DATA, replace(look, connection=connection), hides=OSError)
    except sqlite3.Error as error:
        found.append(Finding("contents", *_unreadable(error)))
    return found


def _open(path: str) -> Connection:
    uri = Path(os.path.abspath(path)).as_uri() + "?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)


def _no_folder(look: Look) -> Verdict:
    return bad(f"the folder {look.folder} does not exist", "Make it, or name another file with --store.")


def _unreadable(error: sqlite3.Error) -> Verdict:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return bad("the file is no SQLite database", "Name another with --store.")
    if code == sqlite3.SQLITE_CORRUPT:
        return bad(f"the file is damaged: {error}", "Restore it from a backup.")
    return bad(f"the file cannot be read: {error}", "Check its mode, its folder and its disk, or who has locked it.")


# -- the file


def _file(look: Look) -> Verdict:
    if not os.path.exists(look.path):
        return ok(f"{look.path} is not there yet: the first start makes it")
    status = os.stat(look.path)
    if not stat.S_ISREG(status.st_mode):
        return bad(f"{look.path} is no file", "Name another with --store.")
    if status.st_nlink > 1:
        return bad(
            f"{look.path} has {status.st_nlink} names: whoever opens it by another one misses the newest commits, and damages it",
            "Remove the other names, hard links.",
        )
    return ok(f"{look.path}, {disk.amount(status.st_size)}")


def _access(look: Look) -> Verdict:
    if not os.access(look.folder, os.W_OK | os.X_OK):
        return bad(f"{look.folder} cannot be written by this user", "SQLite makes files beside the database: change its mode.")
    shut = [file for file in look.files if not os.access(file, os.R_OK | os.W_OK)]
    if shut:
        return bad(
            f"{_names(shut)} cannot be read and written by this user", "Run dolgo as the owner, or change the owner with chown."
        )
    owners = {os.stat(file).st_uid for file in look.files}
    if len(owners) > 1:  # root may all of it: seen so, only the owners tell
        return bad(
            f"the files belong to different users ({', '.join(map(str, sorted(owners)))})",
            f"Give all of them to the one that dolgo runs as: chown USER {look.path}*",
        )
    return ok("this user may read and write all of it")


def _privacy(look: Look) -> Verdict:
    open_to_others = [file for file in look.files if stat.S_IMODE(os.stat(file).st_mode) & 0o077]
    if open_to_others:
        return warn(f"others may open {_names(open_to_others)}: payloads and results are in there", f"chmod 600 {look.path}*")
    mode = stat.S_IMODE(os.stat(look.folder).st_mode)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return warn(f"everybody may put other files in place of these: {look.folder} is open to all", f"chmod o-w {look.folder}")
    return ok("nobody else may open its files")


def _names(files: list[str]) -> str:
    return ", ".join(os.path.basename(file) for file in files)


def _file_system(look: Look) -> Verdict | None:
    return disk.file_system(disk.mount_of(_real_folder(look), disk.read_mounts()))


def _room(look: Look) -> Verdict:
    return disk.room(_real_folder(look))


def _flush(look: Look) -> Verdict | None:
    try:
        return disk.flush(_real_folder(look))
    except OSError as error:
        return bad(
            f"nothing can be written and flushed in {look.folder}: {error.strerror}", "See what is said of access and disk."
        )


def _real_folder(look: Look) -> str:
    return os.path.dirname(os.path.realpath(look.path))


def _opened(look: Look) -> Verdict:
    real = os.path.realpath(look.path)
    here, deleted = _openers({real}), _openers({f"{real} (deleted)", f"{real}-wal (deleted)"})
    if deleted:
        return bad(
            f"process {_pids(deleted)} writes to a database that was deleted here: what it acknowledges is lost when it ends",
            "Stop it, and restore the file from a backup. Its /proc/PID/fd still has the deleted one.",
        )
    return ok(f"open in process {_pids(here)}" if here else "open in no other process that this user may see")


def _pids(pids: list[int]) -> str:
    return ", ".join(map(str, pids))


def _openers(targets: set[str]) -> list[int]:
    """Other processes with one of these open, of those that this user may look into."""
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) if os.path.isdir("/proc") else []
    return [pid for pid in pids if pid != os.getpid() and targets & _open_files(pid)]


def _open_files(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def _library(look: Look) -> Verdict:
    version = sqlite3.sqlite_version_info
    corrected = version > max(CORRECTED) or any(version >= release for release in CORRECTED if release[:2] == version[:2])
    if corrected:
        return ok(f"SQLite {sqlite3.sqlite_version}")
    newest = ", ".join(".".join(map(str, release)) for release in sorted(CORRECTED, reverse=True))
    return warn(
        f"SQLite {sqlite3.sqlite_version} has a rare fault by which a write-ahead log that is begun anew can damage the database",
        f"Run Python on a SQLite of {newest} or newer, unless your distribution has put the correction in. Keep backups.",
    )


# -- what is in it


def _contents(look: Look) -> Verdict:
    application = look.data.execute("PRAGMA application_id").fetchone()[0]
    tables = look.data.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    version, newest = look.data.execute("PRAGMA user_version").fetchone()[0], max(MIGRATIONS)
    if tables and application != APPLICATION:
        return bad("a database of another program", "Name another file with --store.")
    if version > newest:
        return bad(f"written by a newer dolgo (data version {version}, this one knows {newest})", "Upgrade dolgo.")
    if 0 < version < min(MIGRATIONS):
        return bad("written by a development version of dolgo", "Move it away, or name another with --store.")
    return ok(f"data version {version}" + (f": the next start brings it to {newest}" if version < newest else ""))


def _readable(look: Look) -> bool:
    """Whether its tables are those of this dolgo."""
    version = look.data.execute("PRAGMA user_version").fetchone()[0]
    return bool(version == max(MIGRATIONS) and look.data.execute("PRAGMA application_id").fetchone()[0] == APPLICATION)


def _damage(look: Look) -> Verdict:
    size = os.path.getsize(look.path)
    if size > CHECKED_SIZE and not look.full:
        return ok(f"not looked for in a file of {disk.amount(size)}: --full does")
    try:
        said = look.data.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return _unreadable(error)
    return ok("none found") if said == "ok" else bad(f"the file is damaged: {said.splitlines()[-1]}", "Restore it from a backup.")


def _durability(look: Look) -> Verdict:
    with contextlib.closing(connect(":memory:")) as ours:
        synchronous = ours.execute("PRAGMA synchronous").fetchone()[0]
    if synchronous < 2:  # FULL
        return bad(f"dolgo opens it with synchronous = {synchronous}", "This is a fault of dolgo: report it.")
    mode = look.data.execute("PRAGMA journal_mode").fetchone()[0]
    turned = "" if mode == "wal" else f" (now {mode}: the next start changes it)"
    return ok(f"write-ahead log{turned}, synchronous FULL: a commit is flushed before it is acknowledged")


def _log(look: Look) -> Verdict:
    path = os.path.realpath(look.path) + "-wal"
    size = os.path.getsize(path) if os.path.exists(path) else 0
    if size > LARGE_LOG:
        return warn(
            f"the write-ahead log has {disk.amount(size)}",
            "Some process reads without an end, and keeps it from being copied back.",
        )
    return ok(f"the write-ahead log has {disk.amount(size)}")


def _clock(look: Look) -> Verdict | None:
    if not _readable(look):
        return None
    row = look.data.execute("SELECT time FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    ahead = row[0] - look.now if row else 0.0
    if ahead > AHEAD:
        return bad(
            f"the newest event is {ahead:.0f} s in the future: this clock was set back, or the file comes from elsewhere",
            "Set the clock right. Until then leases and delays last longer by as much.",
        )
    return ok("the newest event is not in the future")


def _work(look: Look) -> Verdict | None:
    if not _readable(look):
        return None
    alive = len(reads.records(look.data, WORKERS, look.now))
    (queued,) = look.data.execute("SELECT coalesce(sum(ready + later), 0) FROM line").fetchone()
    text = f"workers alive: {alive}; tasks queued: {queued}"
    return warn(text, "Start one: dolgo serve or dolgo worker.") if queued and not alive else ok(text)


FILE: Checks[Look] = {
    "file": _file,
    "access": _access,
    "privacy": _privacy,
    "file system": _file_system,
    "disk": _room,
    "flush": _flush,
    "opened": _opened,
    "SQLite": _library,
}
DATA: Checks[Look] = {
    "contents": _contents,
    "damage": _damage,
    "durability": _durability,
    "log": _log,
    "clock": _clock,
    "workers": _work,
}
