"""Task types that end in every way a handler can, in each isolation."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator

from dolgo import Context, Fail, Retry, SyncContext, task
from tests.task.handlers import mark_begun

ROOM = 64 * 2**20  # bytes the memory limit leaves


@task
async def in_loop(how: str, mark: str, ctx: Context) -> object:
    mark_begun(mark)
    if how == "endless":
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
    return end(how, ctx.attempt)


@task
def in_single(how: str, mark: str, ctx: SyncContext) -> object:
    mark_begun(mark)
    return end(how, ctx.attempt)


@task(isolation="thread")
def in_thread(how: str, mark: str, ctx: SyncContext) -> object:
    mark_begun(mark)
    return end(how, ctx.attempt)


@task(isolation="process")
async def in_process(how: str, mark: str, ctx: Context) -> object:
    return await in_loop(how, mark, ctx)


@task
async def next_in_loop() -> None: ...


@task
def next_in_single() -> None: ...


@task(isolation="thread")
def next_in_thread() -> None: ...


@task(isolation="process")
async def next_in_process() -> None: ...


@task
def cleans_up(mark: str) -> None:
    """Starts a process, waits for ever, and says when it is told to stop."""
    with subprocess.Popen(["sleep", "60"]) as other:
        mark_begun(mark)
        mark_begun(mark, other.pid)
        try:
            other.wait()
        finally:
            mark_begun(mark + ".cleaned")


@task(isolation="thread")
def looks_up(mark: str, ctx: SyncContext) -> str:
    """Stops when it sees that it is to."""
    mark_begun(mark)
    while not ctx.cancelled:
        time.sleep(0.005)
    raise asyncio.CancelledError


@task
async def says(lines: int, ctx: Context) -> None:
    """Tells how far it is, and what it does, until it ends."""
    for line in range(lines):
        ctx.progress(line + 1, total=lines)
        ctx.log.info("line %d", line + 1)


@task
async def asks(mark: str, ctx: Context) -> list[int]:
    """Two steps; the first attempt ends between them."""

    def one() -> int:
        mark_begun(mark)
        return 1

    first = await ctx.step("one", one)
    if ctx.attempt == 1:
        raise Retry(delay=0.0)
    return [first, await ctx.step("two", lambda: 2)]


def end(how: str, attempt: int) -> object:
    """The way a handler ends, or does not."""
    match how:
        case "return":
            return "well"
        case "raise":
            raise ValueError("boom")
        case "Fail":
            raise Fail("there is no point")
        case "Retry" if attempt == 1:
            raise Retry(delay=0.0)
        case "SystemExit":
            raise SystemExit(3)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "CancelledError":
            raise asyncio.CancelledError
        case "os._exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            with little_memory():
                return len(bytearray(2**34))
        case "blocked":
            time.sleep(600)
        case "endless":
            while True:
                with contextlib.suppress(BaseException):
                    time.sleep(0.01)
        case "unserialisable":
            return object()
    return "well"


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """The process may not have much more than it has."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
