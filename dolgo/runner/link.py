"""The worker's end of a child process: spawn it, send it jobs, hear how they end, and see it die.

    child = await Child.spawn("loop", Setup(…), on_hello=…, on_reports=…, on_exit=…, on_notes=…, on_asks=…)
    child.send([Job(key=child.sent, …)])

Everything happens on the event loop that spawned the child. Which jobs had begun when it died is known exactly: the child writes
to a page shared with the worker, which outlives it, how many of the jobs sent it has taken up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO, Literal, NamedTuple

from dolgo.runner.frames import (
    CHUNK,
    Answer,
    Ask,
    Asks,
    BadFrame,
    Cancel,
    Ended,
    Fault,
    Hello,
    Job,
    Kind,
    Refused,
    Report,
    Setup,
    Stop,
    ToParent,
    Verb,
    Written,
    Wrote,
    from_child,
    pack,
    pack_answers,
    pack_run,
)

__all__ = ["Answer", "Ask", "Child", "Fault", "Hello", "Job", "Kind", "Refused", "Report", "Setup", "Verb", "Written"]

LINGER = 1.0  # seconds a child may live on without its link
LAST_READS = 64  # of CHUNK bytes: more than a socket holds, in case a stranger goes on writing

log = logging.getLogger("dolgo.child")


class Child:
    """One child process. `on_hello` is called once, `on_reports` for each batch, `on_exit` once and last, with the return code.

    `on_notes` has the notes of jobs, the oldest first; those of a job come before its report. `on_asks` has their questions: each
    is to be answered by `answer`, even if its job has ended meanwhile, or its handler waits for ever.
    A child runs what people wrote, and they can write to its link: look up a key, and ignore it where there is none."""

    def __init__(
        self,
        *,
        on_hello: Callable[[Hello | Refused], None],
        on_reports: Callable[[list[Report]], None],
        on_exit: Callable[[int], None],
        on_notes: Callable[[list[Written]], None],
        on_asks: Callable[[list[Ask]], None],
        max_result: int,
    ) -> None:
        self._on_hello = on_hello
        self._on_reports = on_reports
        self._on_exit = on_exit
        self._on_notes = on_notes
        self._on_asks = on_asks
        self._frames = from_child(max_result)
        self._greeted = False
        self._deaf = False
        self._exited = asyncio.Event()
        self._held = contextlib.ExitStack()  # closed when the process has gone
        self._counter: mmap.mmap | bytes = bytes(8)
        self.sent = 0  # jobs; the key of the next one

    @classmethod
    async def spawn(
        cls,
        kind: Literal["loop", "single"],
        setup: Setup,
        *,
        on_hello: Callable[[Hello | Refused], None],
        on_reports: Callable[[list[Report]], None],
        on_exit: Callable[[int], None],
        on_notes: Callable[[list[Written]], None] = lambda notes: None,
        on_asks: Callable[[list[Ask]], None] = lambda asks: None,
        environ: Mapping[str, str] | None = None,
    ) -> Child:
        """The child, started but not loaded yet. Call it in the main thread: on Linux a child dies with the thread it is from.

        Raises `OSError` when there are no processes, descriptors or memory left."""
        child = cls(
            on_hello=on_hello,
            on_reports=on_reports,
            on_exit=on_exit,
            on_notes=on_notes,
            on_asks=on_asks,
            max_result=setup.max_result,
        )
        ours, theirs = socket.socketpair()
        try:
            await child._connect(ours)
            child._start(kind, theirs, environ)  # last, and without an await: nothing can come between the process and its watch
        except BaseException:
            child._exited.set()
            child._held.close()
            raise
        finally:
            theirs.close()
        child._write(pack(setup))
        return child

    @property
    def pid(self) -> int:
        """The process, which leads a session and a group of its own."""
        return self._process.pid

    @property
    def begun(self) -> int:
        """How many of the jobs sent have been taken up: a job has begun if its key is smaller. Readable after the end, too."""
        return min(int.from_bytes(self._counter[:8], sys.byteorder), self.sent)

    def send(self, jobs: list[Job]) -> None:
        """Hand over jobs, keyed from `sent` on. Raises `RuntimeError` after `on_exit`: nobody would ever report them."""
        if self._exited.is_set():
            raise RuntimeError("this child has exited")
        if jobs:
            self.sent += len(jobs)
            self._write(pack_run(jobs))

    def cancel(self, keys: list[int]) -> None:
        """Ask that these jobs stop. What waits is reported `unstarted`, what runs as it ends; what has ended is left out."""
        self._write(pack(Cancel(keys)))

    def answer(self, answers: list[Answer]) -> None:
        """Answer questions, in any order. An answer to what nobody asked, or does not wait for any more, is ignored."""
        if answers:
            self._write(pack_answers(answers))

    def stop(self) -> None:
        """Ask the child to finish what runs, give back what waits, and exit with 0. It obeys SIGTERM from then on."""
        self._write(pack(Stop()))

    def kill(self) -> None:
        """End the child at once, with all that its handlers started and that did not leave its process group."""
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def closed(self) -> int:
        """The return code, once `on_exit` has been called."""
        await self._exited.wait()
        return self._process.wait()

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # else it is as good as dead, and `on_exit` tells what had not begun
            self._transport.write(data)

    async def _connect(self, ours: socket.socket) -> None:
        self._held.callback(ours.close)
        self._last = self._held.enter_context(ours.dup())  # outlives the transport, which gives up when a write fails
        loop = self._loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_unix_connection(lambda: _Wire(self), sock=ours)
        self._held.callback(self._transport.abort)

    def _start(self, kind: str, theirs: socket.socket, environ: Mapping[str, str] | None) -> None:
        lifeline, worker_end = os.pipe()
        # Both ends stay open here. When this process is killed, the kernel may end the child first: were the child's descriptor
        # of the lifeline the last one, the order to signal its group would be gone before our end of it is closed.
        for end in (worker_end, lifeline):
            self._held.callback(os.close, end)
        with _counter_file() as counter:
            self._counter = shared = mmap.mmap(counter.fileno(), 8)
            self._held.callback(self._keep_begun, shared)
            self._process = _spawn(kind, (theirs.fileno(), counter.fileno(), lifeline), environ)
        self._watch()

    def _keep_begun(self, shared: mmap.mmap) -> None:
        """Let go of the shared page, which holds a descriptor, but not of what it says."""
        self._counter = shared[:8]
        shared.close()

    def _watch(self) -> None:
        """Have `_on_death` called when the process ends, whoever still holds its end of the link."""
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # not Linux, or one before 5.3
            threading.Thread(target=self._wait, name=f"dolgo-child-{self._process.pid}", daemon=True).start()
        else:
            self._held.callback(os.close, pidfd)
            self._held.callback(self._loop.remove_reader, pidfd)
            self._loop.add_reader(pidfd, self._on_death)

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear of it
            self._loop.call_soon_threadsafe(self._on_death)

    def _on_death(self) -> None:
        self.kill()  # first: until it is waited for, its number is its group's and nobody else's
        returncode = self._process.wait()
        try:
            self._read_the_rest()
        finally:
            self._held.close()
            self._exited.set()
            self._on_exit(returncode)

    def _read_the_rest(self) -> None:
        """What it sent before it died is in the socket; its end may never come, if something it started holds it."""
        for _ in range(LAST_READS):
            try:
                data = self._last.recv(CHUNK)
            except OSError:  # nothing there; or a reset, because it died with jobs unread
                break
            if not data:
                break
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Delivers what these bytes complete, each kind in one batch however many frames it came in: the notes of a job are
        written while its lease is still held, so reports come last."""
        if self._deaf:
            return
        news = _News([], [], [])
        try:
            for frame in self._frames.feed(data):
                self._take(frame, news)
        except BadFrame as error:
            log.error("child %d is killed, because it sent a malformed frame: %s", self.pid, error)
            self._deaf = True
            self.kill()
        if news.notes:
            self._on_notes(news.notes)
        if news.asks:
            self._on_asks(news.asks)
        if news.reports:
            self._on_reports(news.reports)

    def _take(self, frame: ToParent, news: _News) -> None:
        if isinstance(frame, Hello | Refused) is self._greeted:
            raise BadFrame(f"{type(frame).__name__} at the wrong time")
        match frame:
            case Ended():
                news.reports.extend(frame.reports)
            case Wrote():
                news.notes.extend(frame.notes)
            case Asks():
                news.asks.extend(frame.asks)
            case _:
                self._greeted = True
                self._on_hello(frame)

    def _on_link_lost(self) -> None:
        """Usually its death, seen an instant early; a child that lives on without its link is of no use."""
        if not self._exited.is_set():
            self._held.callback(self._loop.call_later(LINGER, self.kill).cancel)


class _News(NamedTuple):
    """What one read from a child brought."""

    notes: list[Written]
    asks: list[Ask]
    reports: list[Report]


class _Wire(asyncio.Protocol):
    def __init__(self, child: Child) -> None:
        self._child = child

    def data_received(self, data: bytes) -> None:
        self._child._receive(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._child._on_link_lost()


def _spawn(kind: str, descriptors: tuple[int, ...], environ: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # -P: a file such as queue.py in the working directory must not take the place of a standard module.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "dolgo.runner", kind, *map(str, descriptors), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what handlers print is talk
        pass_fds=descriptors,
        start_new_session=True,
        env=environ,
    )


def _counter_file() -> IO[bytes]:
    """Eight zero bytes in a file without a name."""
    try:
        file: IO[bytes] = os.fdopen(os.memfd_create("dolgo-begun"), "r+b", buffering=0)
    except (AttributeError, OSError):  # not Linux
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    file.write(bytes(8))  # not only a size: a hole would be filled when first written, and on a full disk that is a SIGBUS
    return file
