"""NSQ for the tests: `nsqd` and `nsqlookupd` on free ports of this machine, ended by whoever started them.

They are built by Go from the module that `tests/nsqd/go.mod` names, once, and kept in the user's cache:

    python -m tests.nsq_server

builds them now, which takes a minute.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.blackbox.server import Process
from tests.missing import missing
from tests.redis_server import free_port

MODULE = Path(__file__).with_name("nsqd")
PROGRAMS = ("nsqd", "nsqlookupd")
GO = (shutil.which("go"), "/usr/local/go/bin/go")  # where its own installer puts it
BUILT_WITHIN = 600.0  # seconds


class LookupServer(Process):
    """`nsqlookupd`."""

    def __init__(self, folder: Path, *, name: str = "nsqlookupd") -> None:
        self.tcp, self.http = free_port(), free_port()
        argv = [
            str(programs() / "nsqlookupd"),
            f"-tcp-address=127.0.0.1:{self.tcp}",
            f"-http-address=127.0.0.1:{self.http}",
        ]
        super().__init__(argv, folder, ready="HTTP: listening", name=name)


class NsqServer(Process):
    """`nsqd`, its data in `folder`."""

    def __init__(self, folder: Path, *, lookup: LookupServer | None = None, name: str = "nsqd") -> None:
        self.port, self.http = free_port(), free_port()
        data = folder / name
        data.mkdir()
        argv = [
            str(programs() / "nsqd"),
            f"-tcp-address=127.0.0.1:{self.port}",
            f"-http-address=127.0.0.1:{self.http}",
            "-broadcast-address=127.0.0.1",
            f"-data-path={data}",
            *([f"-lookupd-tcp-address=127.0.0.1:{lookup.tcp}"] if lookup else []),
        ]
        super().__init__(argv, folder, ready="HTTP: listening", name=name)

    @property
    def url(self) -> str:
        return f"nsq://127.0.0.1:{self.port}"


def go() -> str | None:
    """Where Go is."""
    return next((path for path in GO if path and Path(path).exists()), None)


@cache
def programs() -> Path:
    """The folder with both programs."""
    found = go()
    if found is None:
        missing("there is no go (apt-get install golang-go)")
    assert found is not None
    pinned = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dolgo-tests"
    folder = cached / f"nsq-{hashlib.sha256(pinned).hexdigest()[:16]}"
    cached.mkdir(parents=True, exist_ok=True)
    with (cached / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not all((folder / name).exists() for name in PROGRAMS):
            _build(found, folder)
    return folder


def _build(found: str, folder: Path) -> None:
    """All of it or nothing: a build that was broken off is no build."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        command = [found, "build", "-o", f"{made}/", *(f"github.com/nsqio/nsq/apps/{name}" for name in PROGRAMS)]
        ran = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, timeout=BUILT_WITHIN)
        if ran.returncode:
            missing(f"nsqd cannot be built: {ran.stderr[-2000:]}")
        folder.mkdir(exist_ok=True)
        for name in PROGRAMS:
            os.replace(Path(made) / name, folder / name)


@cache
def shared() -> NsqServer:
    """One that all tests of this run share; it ends with them."""
    programs()
    folder = tempfile.mkdtemp(prefix="dolgo-nsq-")
    server = NsqServer(Path(folder)).ready()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.close)
    return server


if __name__ == "__main__":
    try:
        programs()
    except pytest.skip.Exception as skipped:
        sys.stderr.write(f"dolgo: going on without NSQ; the tests that need it are skipped: {skipped}\n")
