"""Task types for the children in these tests: good ones, bad ones and ugly ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dolgo import Context, SyncContext, task

running = 0
most = 0
seen: list[int] = []


@task
async def echo(value: Any) -> Any:
    return value


@task
def echo_blocking(value: Any) -> Any:
    print("echoes", value)  # noqa: T201 - where that goes is tested
    return value


@task
async def twice(number: int) -> int:
    return 2 * number


@task
async def pid() -> int:
    return os.getpid()


@task
def pid_blocking() -> int:
    return os.getpid()


@task
async def about(ctx: Context, **extra: Any) -> list[Any]:
    return [ctx.id, ctx.type, ctx.queue, ctx.payload, ctx.attempt, list(ctx.tags), ctx.cancelled]


@task
def about_blocking(ctx: SyncContext, **extra: Any) -> list[Any]:
    return [ctx.id, ctx.type, ctx.queue, ctx.payload, ctx.attempt, list(ctx.tags), ctx.cancelled]


@task
async def nap(seconds: float, mark: str = "") -> str:
    _mark(mark)
    await asyncio.sleep(seconds)
    return "rested"


@task
async def block(seconds: float, mark: str = "") -> str:
    _mark(mark)
    time.sleep(seconds)
    return "rested"


@task
def sleep(seconds: float, mark: str = "") -> str:
    _mark(mark)
    time.sleep(seconds)
    return "rested"


@task
async def crowd(seconds: float) -> int:
    """How many of its kind were running at most so far."""
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(seconds)
    running -= 1
    return most


@task
async def in_turn(number: int) -> list[int]:
    seen.append(number)
    return list(seen)


@task
async def act_async(how: str, mark: str = "") -> Any:
    return act(how, mark)


@task
def act_blocking(how: str, mark: str = "") -> Any:
    return act(how, mark)


@task(isolation="thread")
def act_thread(how: str, mark: str = "") -> Any:
    return act(how, mark)


class Odd(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


def act(how: str, mark: str) -> Any:
    """Ends a handler, or the process, in the way that is asked for."""
    match how:
        case "raise":
            raise ValueError("a bad day")
        case "raise nothing":
            raise KeyError
        case "raise odd":
            raise Odd
        case "raise much":
            raise ValueError("x" * 100_000)
        case "raise surrogate":
            raise ValueError("half a pair: \ud800")
        case "SystemExit":
            sys.exit(3)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt
        case "GeneratorExit":
            raise GeneratorExit
        case "BaseExceptionGroup":
            raise BaseExceptionGroup("several", [SystemExit(1), ValueError("and this")])
        case "CancelledError":
            raise asyncio.CancelledError
        case "recursion":
            return act(how, mark)
        case "os._exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        case "object":
            return object()
        case "cycle":
            cycle: list[Any] = []
            cycle.append(cycle)
            return cycle
        case "NaN":
            return {"deep": [float("nan")]}
        case "surrogate":
            return "half a pair: \ud800"
        case "large":
            return "x" * 2_000_000
        case "garbage":
            os.write(_link(), b"\x00\x00\x00\x03abc")
            time.sleep(60)
        case "endless frame":
            os.write(_link(), b"\xff" * 4 + bytes(1000))
            time.sleep(60)
        case "hello again":
            os.write(_link(), b"\x00\x00\x00\x0a\x94\xa5hello\x90\x90\x90")
            time.sleep(60)
        case "close link":
            os.close(_link())
            os.close(os.dup(0))
            time.sleep(60)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            return "unmoved"
        case "start a sleeper":
            return subprocess.Popen(["sleep", "300"]).pid
        case "start a holder":  # of the link, in a session of its own, where no signal to the group reaches it
            return subprocess.Popen(["sleep", "300"], pass_fds=[_link()], start_new_session=True).pid
        case "terminate what it started":
            sleeper = subprocess.Popen(["sleep", "300"])
            sleeper.terminate()
            return sleeper.wait(10)
        case "terminate a fork":
            fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,))
            fork.start()
            fork.terminate()
            fork.join(10)
            return fork.exitcode
        case "fork and return twice":
            os.fork()
            return "I am one"
        case "leave a thread":
            threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
            return "left"
    raise AssertionError(how)


def _link() -> int:
    return int(sys.argv[2])


@task
async def ask_inner(how: str) -> Any:
    """Has a task of its own raise what would end an event loop."""
    return await asyncio.gather(_inner(how), asyncio.sleep(0.01))


async def _inner(how: str) -> Any:
    return act(how, "")


@task
async def stop_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    return "goes on"


@task
async def leave_task() -> str:
    asyncio.get_running_loop().create_task(asyncio.sleep(300), name="left behind")
    return "left"


@task
async def defy(mark: str) -> str:
    """Is told to stop, notes it, and ends well all the same."""
    _mark(mark)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    return "done anyway"


@task
async def tidy(ctx: Context, mark: str, tidied: str, seconds: float) -> None:
    """Cleans up for a while when it is told to stop."""
    _mark(mark)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(seconds)
        _mark(tidied)
        assert ctx.cancelled


@task
async def spill(mark: str) -> None:
    """Fails while it cleans up."""
    _mark(mark)
    try:
        await asyncio.sleep(60)
    finally:
        raise OSError("cannot clean up")


@task
def hold_gil(mark: str) -> None:
    """Lets no other thread of its process run for a minute or more."""
    _mark(mark)
    ctypes.PyDLL(None).sleep(60)


@task
async def hold_gil_async(mark: str) -> None:
    _mark(mark)
    ctypes.PyDLL(None).sleep(60)


def _mark(mark: str) -> None:
    if mark:
        Path(mark).touch()
