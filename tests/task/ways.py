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


@task
async def leaves_a_thread() -> int:
    """Ends, but its process would not for as long as a thread of the event loop's own sleeps."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 300)
    return os.getpid()


@task(isolation="thread")
def looks_up(mark: str, ctx: SyncContext) -> str:
    """Stops when it sees that it is to."""
    mark_begun(mark)
    while not ctx.cancelled:
        time.sleep(0.005)
    raise asyncio.CancelledError


@task
async def says_in_loop(lines: int, ctx: Context, file: str = "") -> None:
    say(lines, ctx)
    while file and not os.path.exists(file):
        await asyncio.sleep(0.005)


@task
def says_in_single(lines: int, ctx: SyncContext, file: str = "") -> None:
    say(lines, ctx)
    while file and not os.path.exists(file):
        time.sleep(0.005)


@task(isolation="thread")
def says_in_thread(lines: int, ctx: SyncContext, file: str = "") -> None:
    says_in_single(lines, ctx, file)


@task
async def asks_in_loop(mark: str, ctx: Context) -> list[object]:
    """Two steps and a task of its own; the first attempt ends between them."""
    first = await ctx.step("one", lambda: mark_begun(mark) or 1)
    child = await ctx.submit("quick", {"value": 5})
    if ctx.attempt == 1:
        raise Retry(delay=0.0)
    return [first, await ctx.step("two", lambda: 2), child]


@task
def asks_in_single(mark: str, ctx: SyncContext) -> list[object]:
    first = ctx.step("one", lambda: mark_begun(mark) or 1)
    child = ctx.submit("quick", {"value": 5})
    if ctx.attempt == 1:
        raise Retry(delay=0.0)
    return [first, ctx.step("two", lambda: 2), child]


@task(isolation="thread")
def asks_in_thread(mark: str, ctx: SyncContext) -> list[object]:
    return asks_in_single(mark, ctx)


@task
async def sees_parents(ctx: Context) -> list[object]:
    return [[parent.id, parent.status, parent.result, parent.error] async for parent in ctx.parents]


@task
async def asks_for_nonsense(ctx: Context) -> None:
    await ctx.submit("no_such_type")


@task
async def asks_much(number: int, ctx: Context) -> int:
    return len(set(await asyncio.gather(*(ctx.submit("quick", {"value": n}) for n in range(number)))))


def say(lines: int, ctx: Context | SyncContext) -> None:
    """Tells how far it is, and what it does."""
    for line in range(lines):
        ctx.progress(line + 1, total=lines)
        ctx.log.info("line %d", line + 1)


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
