"""Disks that fail: a small one that can be filled, one that fails for a while, and somebody else who holds the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.blackbox.server import DOLGO, Process
from tests.missing import missing

READY = r"dolgo \S+ ready on (http://\S+:(\d+))"
QUICK = ("--drain-timeout", "0")
DISK = 3 << 20  # bytes of the disk that is to be full
ATTACHED = 20.0  # seconds in which `strace` has all threads of a process, or has let go of them
WRITES = ("pwrite64", "fdatasync", "ftruncate")  # what SQLite does to a disk


def started(argv: list[str], folder: Path) -> Process:
    return Process(argv, folder, ready=READY, name="wrapped").ready()


def url(process: Process) -> str:
    assert process.came_ready is not None
    return process.came_ready[1]


class SmallDisk:
    """A server whose store is on a disk of a few MB of its own, which other processes do not see."""

    def __init__(self, folder: Path) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir()
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = f'mount -t tmpfs -o size={DISK} none "$0" && echo mounted >&2 && exec sleep 600'
        unshare = ["unshare", "--mount", *user, "sh", "-c", script, str(self._disk)]
        self._holder = Process(unshare, folder, ready="mounted", name="disk")  # the disk lives as long as this process
        try:
            self._holder.ready()
        except AssertionError as error:
            missing(f"no disk can be mounted: {error}")
        enter = ["nsenter", "--target", str(self._holder.pid), "--mount", *(["--user", "--preserve-credentials"] if user else [])]
        serve = [DOLGO, "serve", "--port", "0", "--slots", "2", "--store", f"sqlite:///{self._disk}/dolgo.db", *QUICK]
        self.process = started([*enter, *serve], folder)

    def close(self) -> None:
        self.process.close()
        self._holder.close()
        self.process.show()

    @property
    def _inside(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self._disk}")

    def fill(self) -> None:
        """Leave not a byte."""
        with (self._inside / "ballast").open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017 - other errors are not expected either

    def make_room(self) -> None:
        (self._inside / "ballast").unlink()


class FailingDisk:
    """A disk that answers the writes of a running process with an error, as long as the block lasts."""

    def __init__(self, process: Process, folder: Path, error: str, calls: Sequence[str] = WRITES) -> None:
        """`calls` on paths of `folder` fail with `error`, "EROFS" for one. Skips where a process cannot be traced."""
        self._process = process
        names = ",".join(calls)
        files = [word for end in ("", "-wal", "-journal", "-shm") for word in ("-P", str(folder / f"dolgo.db{end}"))]
        inject = ["-e", f"trace={names}", "-e", f"inject={names}:error={error}"]
        self._argv = ["strace", "-f", "-qq", "-p", str(process.pid), "-o", str(folder / "failing"), *files, *inject]

    def __enter__(self) -> Self:
        self._tracer = subprocess.Popen(self._argv, start_new_session=True, stderr=subprocess.PIPE)
        deadline = time.monotonic() + ATTACHED
        while not self._traced(all):
            if self._tracer.poll() is not None:
                missing(f"strace cannot attach: {self._tracer.communicate()[1].decode()}")
            assert time.monotonic() < deadline, "strace does not attach"
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tracer.send_signal(signal.SIGINT)
        self._tracer.communicate(timeout=ATTACHED)
        assert not self._traced(any)

    def _traced(self, of: object) -> bool:
        """Whether all threads of the process have a tracer, or any."""
        threads = Path(f"/proc/{self._process.pid}/task").iterdir()
        return bool(of("TracerPid:\t0\n" not in (thread / "status").read_text() for thread in threads))  # type: ignore[operator]


class OtherWriter(Process):
    """A program that is not dolgo and holds SQLite's write lock for some seconds. It is ready once it has it."""

    def __init__(self, path: Path, seconds: float) -> None:
        script = (
            "import sqlite3, sys, time\n"
            "connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "print('locked', flush=True)\n"
            "time.sleep(float(sys.argv[2]))\n"
            "connection.execute('ROLLBACK')\n"
        )
        super().__init__([sys.executable, "-c", script, str(path), str(seconds)], path.parent, ready="locked", name="other")
