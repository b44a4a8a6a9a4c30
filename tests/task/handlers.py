"""Task types for the workers in these tests."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from dolgo import Context, SyncContext, task


@task
async def quick(value: int = 0) -> int:
    return value


@task
def quick_def(value: int = 0) -> int:
    return value


@task
async def nap(seconds: float, mark: str = "") -> str:
    """Marks that it has begun, and that it was told to stop."""
    mark_begun(mark)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        mark_begun(mark and mark + ".cancelled")
        raise
    return "rested"


@task
def sleep(seconds: float, mark: str = "") -> str:
    mark_begun(mark)
    time.sleep(seconds)
    return "rested"


@task
async def block(file: str = "", mark: str = "") -> str:
    """Blocks the loop for all others until a file is there."""
    mark_begun(mark)
    while not file or not Path(file).exists():
        time.sleep(0.005)
    return "rested"


@task
async def hold_out(mark: str = "") -> str:
    """Does not stop when it is told to."""
    mark_begun(mark)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)


@task
async def finish_quickly(mark: str = "") -> str:
    """Comes to a result when it is told to stop."""
    mark_begun(mark)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "in time"
    return "late"


@task
async def stumble(mark: str = "") -> None:
    """Makes an error of being told to stop."""
    mark_begun(mark)
    try:
        await asyncio.sleep(60)
    finally:
        raise RuntimeError("while it cleaned up")


@task
async def wait_for(file: str, mark: str = "") -> str:
    """Runs until a file is there."""
    mark_begun(mark)
    while not Path(file).exists():
        await asyncio.sleep(0.005)
    return "seen"


@task
def wait_for_def(file: str, mark: str = "") -> str:
    mark_begun(mark)
    while not Path(file).exists():
        time.sleep(0.005)
    return "seen"


@task
async def die(how: str, mark: str = "") -> None:
    mark_begun(mark)
    _die(how)


@task
def die_def(how: str, mark: str = "") -> None:
    mark_begun(mark)
    _die(how)


@task
async def die_once(mark: str, ctx: Context) -> int:
    """Takes its child with it in its first attempt."""
    if ctx.attempt == 1:
        mark_begun(mark)
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@task
async def stay(seconds: float, log: str) -> None:
    """Writes down when it ran."""
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    _note(log, begun)


@task
def stay_def(seconds: float, log: str) -> None:
    begun = time.monotonic()
    time.sleep(seconds)
    _note(log, begun)


@task
async def sometimes_slow(slow: bool, file: str) -> None:
    """Over at once, or only when a file is there."""
    while slow and not Path(file).exists():
        await asyncio.sleep(0.005)


@task
async def fail(text: str) -> None:
    raise ValueError(text)


@task
def seen_def(ctx: SyncContext) -> int:
    return ctx.attempt


def _die(how: str) -> None:
    match how:
        case "exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)


def mark_begun(mark: str, pid: int | None = None) -> None:
    """A line in a file: this process, or another, is at work."""
    if mark:
        with open(mark, "a") as file:
            file.write(f"{pid or os.getpid()}\n")


def _note(log: str, begun: float) -> None:
    line = f"{begun} {time.monotonic()}\n".encode()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
