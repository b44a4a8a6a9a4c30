"""Real processes for tests: `dolgo serve` and `dolgo worker`, started as a user does and always ended.

with Server(tmp_path, "--tasks", "examples/tasks").ready() as server:
    httpx.post(f"{server.url}/tasks", json={"type": "long_task"})
    server.kill(signal.SIGKILL)
    server.start().wait_ready()  # again, on the same file and the same port
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

DOLGO = str(Path(sys.executable).with_name("dolgo"))
STARTS_WITHIN = 30.0  # seconds, on a machine that is busy with other tests
ENDS_WITHIN = 10.0  # seconds after SIGTERM, then it is killed
LOOK_EVERY = 0.01  # seconds
SHOWN = 8_000  # characters of a log; the file has the rest


class Child(NamedTuple):
    """A process, told apart from a later one of the same number by the time it was started."""

    pid: int
    born: int  # clock ticks since boot

    @property
    def alive(self) -> bool:
        """It runs, or is stopped; a zombie is dead."""
        stat = _stat(self.pid)
        return stat is not None and stat.born == self.born and stat.state not in "ZX"

    def gone(self, timeout: float = ENDS_WITHIN) -> bool:
        """Whether it ended, in `timeout` seconds at the latest."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
        return not self.alive

    @property
    def command(self) -> str:
        """Its command line, empty once it is gone."""
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            return ""

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; nothing happens if it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Process:
    """A program that says on stderr when it is ready. In a session of its own, so a Ctrl-C at the test does not reach it."""

    def __init__(
        self, argv: Sequence[str], folder: Path, *, ready: str, name: str = "process", environ: Mapping[str, str] | None = None
    ) -> None:
        """`ready` is a regular expression of the line to wait for; the program runs in `folder` and its log is kept there."""
        self.argv = list(argv)
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.came_ready: re.Match[str] | None = None
        self._ready = re.compile(ready)
        self._environ = {**{key: value for key, value in os.environ.items() if not key.startswith("DOLGO_")}, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._below: set[Child] = set()  # all that were seen below it when it got a signal
        self._log_from = 0  # where the log of the running process begins

    # -- life

    def start(self) -> Self:
        """Started, not ready yet. A process that ended may be started again; its log goes on."""
        assert not self.running, "it runs already"
        self.came_ready = None
        self._log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_ready(self, timeout: float = STARTS_WITHIN) -> Self:
        """Returns when it said so; fails, showing its log, if it ends before or says nothing in time."""
        deadline = time.monotonic() + timeout
        while self.came_ready is None:
            running = self.running  # asked first: what it said last is read then
            self.came_ready = self._ready.search(self.said())
            if self.came_ready is None and not running:
                raise AssertionError(f"{self.argv} ended with {self.wait()} before it was ready:\n{self.said()}")
            if self.came_ready is None and time.monotonic() > deadline:
                raise AssertionError(f"{self.argv} was not ready within {timeout:g} s:\n{self.said()}")
            time.sleep(LOOK_EVERY if self.came_ready is None else 0)
        return self

    def ready(self) -> Self:
        """Started, and ready."""
        try:
            return self.start().wait_ready()
        except BaseException:
            self.close()
            raise

    def wait(self, timeout: float = ENDS_WITHIN) -> int:
        """Its exit code, once it has ended; minus the signal's number if one killed it."""
        assert self._process is not None
        return self._process.wait(timeout)

    def kill(self, number: int = signal.SIGKILL, *, children: bool = False) -> None:
        """Send it a signal, and with `children` also every process below it. Returns at once."""
        if not self.running:
            return
        below = self.children()
        self._below.update(below)  # an orphan of a killed parent could not be found any more
        os.kill(self.pid, number)
        for child in below if children else []:
            child.kill(number)

    def close(self) -> None:
        """End it, gently if that works, and all that it started. Calling it twice is harmless."""
        self.kill(signal.SIGTERM)
        self.kill(signal.SIGCONT)  # one that was stopped hears nothing else
        try:
            if self.running:
                self.wait()
        except subprocess.TimeoutExpired:
            pass
        finally:  # also when a signal or a test's timeout cuts the waiting short
            self.kill()
        if self._process is not None:
            self.wait()
        for child in self._below:
            child.kill()
        assert all(child.gone() for child in self._below), "a child outlives SIGKILL"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if kind is not None:
            self.show()

    # -- looking

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[Child]:
        """The processes below it, theirs included, in the order they were started. Orphans of a dead one are not found."""
        parents = dict(_processes())
        below, found = {self.pid}, []
        while more := [child for child, parent in parents.items() if parent in below and child not in found]:
            found += more
            below |= {child.pid for child in more}
        return sorted(found, key=lambda child: (child.born, child.pid))

    def said(self) -> str:
        """What the running process, or the one that ran last, has written to stdout and stderr."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")

    def show(self) -> None:
        """Print the end of the log: pytest shows it with a test that failed."""
        if self.log.exists():
            said = self.log.read_text(errors="replace")[-SHOWN:]
            sys.stderr.write(f"--- {self.log.name} of {' '.join(self.argv)}\n{said}")


class Server(Process):
    """`dolgo serve` on a free port, its database in `folder`. Started again, it has the same port."""

    def __init__(self, folder: Path, *options: str, name: str = "serve", environ: Mapping[str, str] | None = None) -> None:
        ready = r"dolgo \S+ ready on (http://\S+:(\d+))"
        super().__init__([DOLGO, "serve", "--port", "0", *options], folder, ready=ready, name=name, environ=environ)

    def wait_ready(self, timeout: float = STARTS_WITHIN) -> Self:
        super().wait_ready(timeout)
        assert self.came_ready is not None
        self.argv[3] = self.came_ready[2]
        return self

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        assert self.came_ready is not None, "it is not ready yet"
        return self.came_ready[1]


class Worker(Process):
    """`dolgo worker` on the database in `folder`."""

    def __init__(self, folder: Path, *options: str, name: str = "worker", environ: Mapping[str, str] | None = None) -> None:
        super().__init__([DOLGO, "worker", *options], folder, ready=r"dolgo \S+ worker (\S+) ready", name=name, environ=environ)


class _Stat(NamedTuple):
    state: str
    parent: int
    born: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return _Stat(fields[0], int(fields[1]), int(fields[19]))


def _processes() -> list[tuple[Child, int]]:
    """Every living process with its parent's pid."""
    stats = [(int(name), _stat(int(name))) for name in os.listdir("/proc") if name.isdigit()]
    return [(Child(pid, stat.born), stat.parent) for pid, stat in stats if stat is not None and stat.state not in "ZX"]
