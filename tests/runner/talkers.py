"""Task types for the children in these tests that say something while they run, or are to be stopped."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dolgo import Context, Fail, Retry, SyncContext, task

elsewhere = logging.getLogger("some.library")
colour = ContextVar("colour", default="none")


class OddInt(int): ...


class OddFloat(float): ...


# What is said


def say(ctx: Context | SyncContext, how: str) -> Any:
    """Says something in the way that is asked for."""
    match how:
        case "log":
            ctx.log.info("half of %s", "it")
            ctx.log.debug("not this")
        case "library":
            elsewhere.warning("look out")
        case "traceback":
            try:
                raise ValueError("a bad day")
            except ValueError:
                ctx.log.exception("it went wrong")
        case "print":
            print("one\ntwo", end="")  # noqa: T201
            print(" and a half")  # noqa: T201
            print("odd", file=sys.stderr)  # noqa: T201
            print("no end", end="")  # noqa: T201
        case "warning":
            warnings.warn("soon gone", stacklevel=1)
        case "bad format":
            ctx.log.info("%d", "no number")
        case "surrogate":
            ctx.log.info("half a pair: \ud800, a NUL: \0")
        case "long":
            ctx.log.info("a" * 10_000 + "z")
        case "thread":
            threads = [
                threading.Thread(target=elsewhere.warning, args=("not heard",)),
                threading.Thread(target=ctx.log.info, args=("heard",)),
            ]
            for thread in threads:
                thread.start()
                thread.join()
        case "progress":
            ctx.progress(1, 3)
            ctx.progress(2.5, note="n" * 2000)
        case "bad progress":
            ctx.progress(float("nan"))
        case "large progress":
            ctx.progress(10**400)
        case "odd progress":
            ctx.progress(OddInt(2**70), OddFloat(0.5))
        case "no text":
            sys.stdout.write(7)  # type: ignore[arg-type]
        case "another stream":
            sys.stderr = io.StringIO()
            print("not heard", file=sys.stderr)  # noqa: T201
            elsewhere.warning("still heard")
        case _:
            raise AssertionError(how)
    return None


@task
async def say_async(ctx: Context, how: str) -> Any:
    return say(ctx, how)


@task
def say_blocking(ctx: SyncContext, how: str) -> Any:
    return say(ctx, how)


@task(isolation="thread")
def say_thread(ctx: SyncContext, how: str) -> Any:
    return say(ctx, how)


@task
async def flood(ctx: Context, lines: int, size: int = 100) -> int:
    """How many MiB its process has taken at most."""
    for number in range(lines):
        ctx.log.info("%d %s", number, "x" * size)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@task
async def say_and_block(ctx: Context) -> None:
    ctx.log.info("before it blocks")
    ctx.progress(1)
    time.sleep(60)


@task
async def count_up(ctx: Context, upto: int, every: float) -> None:
    for number in range(upto):
        ctx.progress(number + 1, upto)
        await asyncio.sleep(every)


@task
async def two_at_once(name: str) -> None:
    for number in range(3):
        print(name, number)  # noqa: T201
        await asyncio.sleep(0.01)


@task
async def leave_a_talker(ctx: Context) -> None:
    """Ends, but leaves a task that goes on talking and asking."""

    async def talk() -> None:
        while True:
            ctx.log.info("still here")
            ctx.progress(1)
            with contextlib.suppress(RuntimeError):
                await ctx.submit("echo")
            await asyncio.sleep(0.001)

    asyncio.get_running_loop().create_task(talk(), name="a talker")


# What is asked


@task
async def steps_async(ctx: Context, mark: str) -> list[Any]:
    async def later(word: str) -> tuple[str, int]:
        with Path(mark).open("a") as file:
            file.write(word)
        await asyncio.sleep(0)
        return word, 1

    first = await ctx.step("first", later, "a")
    both = await asyncio.gather(ctx.step("second", later, "b"), ctx.step("third", lambda: "plain"))
    again = await ctx.step("first", later, "c")
    return [first, *both, again]


def steps(ctx: SyncContext, mark: str) -> list[Any]:
    def now(word: str) -> tuple[str, int]:
        with Path(mark).open("a") as file:
            file.write(word)
        return word, 1

    return [
        ctx.step("first", now, "a"),
        ctx.step("second", now, "b"),
        ctx.step("third", lambda: "plain"),
        ctx.step("first", now, "c"),
    ]


@task
def steps_blocking(ctx: SyncContext, mark: str) -> list[Any]:
    return steps(ctx, mark)


@task(isolation="thread")
def steps_thread(ctx: SyncContext, mark: str) -> list[Any]:
    return steps(ctx, mark)


@task
async def bad_steps(ctx: Context, how: str) -> Any:
    match how:
        case "name":
            return await ctx.step("a\nb", int)
        case "twice":
            return await asyncio.gather(*(ctx.step("same", asyncio.sleep, 0.05) for _ in range(2)))
        case "large":
            return await ctx.step("s", lambda: "x" * 2**20)
        case "not JSON":
            return await ctx.step("s", object)
        case "raise":
            return await ctx.step("s", int, "x")
    raise AssertionError(how)


@task
async def submit_async(ctx: Context) -> list[str]:
    async def inside() -> str:
        return await ctx.submit("echo", {"value": 3}, delay=5)

    ids = [await ctx.submit("echo", {"value": 1}, queue="q", tags=["a"]), await ctx.step("s", inside), await ctx.submit("twice")]
    return [*ids, *await asyncio.gather(ctx.step("x", inside), ctx.step("y", inside))]


def submit(ctx: SyncContext) -> list[str]:
    def inside() -> str:
        return ctx.submit("echo", {"value": 3}, delay=5)

    return [
        ctx.submit("echo", {"value": 1}, queue="q", tags=["a"]),
        ctx.step("s", inside),
        ctx.submit("twice"),
        *(ctx.step(n, inside) for n in "xy"),
    ]


@task
def submit_blocking(ctx: SyncContext) -> list[str]:
    return submit(ctx)


@task(isolation="thread")
def submit_thread(ctx: SyncContext) -> list[str]:
    return submit(ctx)


@task
async def submit_badly(ctx: Context) -> str:
    return await ctx.submit("echo", {"value": float("nan")})


@task
async def submit_many(ctx: Context, count: int) -> int:
    return len(set(await asyncio.gather(*(ctx.submit("echo", {"value": n}) for n in range(count)))))


@task
async def parents_async(ctx: Context) -> list[Any]:
    return [[p.id, p.ref, p.type, p.status, p.result, p.error] async for p in ctx.parents]


@task
def parents_blocking(ctx: SyncContext) -> list[Any]:
    return [[p.id, p.ref, p.type, p.status, p.result, p.error] for p in ctx.parents]


@task(isolation="thread")
def parents_thread(ctx: SyncContext) -> list[Any]:
    return [[p.id, p.ref, p.type, p.status, p.result, p.error] for p in ctx.parents]


# How it ends


class OwnRetry(Retry):
    """Does not call the `__init__` of the class it is made from."""

    def __init__(self, when: str, **more: Any) -> None:
        self.when = when
        vars(self).update(more)


def end(how: str) -> Any:
    match how:
        case "Retry":
            try:
                raise OSError("no answer")
            except OSError as error:
                raise Retry(delay=2, reason="not there yet") from error
        case "Retry plain":
            raise Retry
        case "Retry badly":
            raise Retry(delay=-1)
        case "Retry of its own":
            raise OwnRetry("soon")
        case "Retry of its own, badly":
            raise OwnRetry("soon", delay="some time")
        case "Fail":
            raise Fail("no such page")
        case "memory":
            resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.getrlimit(resource.RLIMIT_AS)[1]))
            return len(bytearray(2**40))
    raise AssertionError(how)


@task
async def end_async(how: str) -> Any:
    return end(how)


@task
def end_blocking(how: str) -> Any:
    return end(how)


@task(isolation="thread")
def end_thread(how: str) -> Any:
    return end(how)


# What is to be stopped


@task
def tidy_blocking(ctx: SyncContext, mark: str, tidied: str, seconds: float = 0.0) -> None:
    """Starts a sleeper, and cleans up when it is told to stop."""
    sleeper = subprocess.Popen(["sleep", "300"])
    try:
        Path(mark).write_text(str(sleeper.pid))
        time.sleep(60)
    finally:
        ctx.log.info("tidying")
        time.sleep(seconds)
        Path(tidied).write_text(f"{sleeper.wait(10)} {ctx.cancelled}")


@task
def spill_blocking(mark: str) -> None:
    """Fails while it cleans up."""
    try:
        Path(mark).touch()
        time.sleep(60)
    finally:
        raise OSError("cannot clean up")


@task
def compute(mark: str) -> None:
    """Never ends, and never waits."""
    Path(mark).touch()
    while True:
        pass


@task(isolation="thread")
def compute_thread(mark: str) -> None:
    Path(mark).touch()
    while True:
        pass


@task
async def compute_async(mark: str) -> None:
    Path(mark).touch()
    while True:
        pass


@task
def defy_blocking(mark: str) -> None:
    """Does not let itself be stopped."""
    while True:
        with contextlib.suppress(BaseException):
            Path(mark).touch()
            time.sleep(60)


@task
def ask_much(ctx: SyncContext, mark: str) -> None:
    Path(mark).touch()
    while True:
        ctx.submit("echo", {"value": "x" * 50_000})


@task
def ask_for_ever(ctx: SyncContext, mark: str) -> str:
    Path(mark).touch()
    return ctx.submit("echo")


@task(isolation="thread")
def ask_for_ever_thread(ctx: SyncContext, mark: str) -> str:
    Path(mark).touch()
    return ctx.submit("echo")


@task(isolation="thread")
def watch_thread(ctx: SyncContext, mark: str) -> str:
    """Runs until it sees that it is to stop."""
    Path(mark).touch()
    while not ctx.cancelled:
        time.sleep(0.005)
    return "saw it"


@task(isolation="thread")
def sleep_thread(ctx: SyncContext, seconds: float, mark: str = "", after: str = "") -> str:
    """Sleeps whatever is asked, talks about it, and says so when it has."""
    if mark:
        Path(mark).touch()
    time.sleep(seconds)
    ctx.log.info("rested")
    ctx.progress(1)
    if after:
        Path(after).touch()
    return "rested"


@task(isolation="thread")
def crowd_thread(seconds: float) -> int:
    """How many threads of its kind run now."""
    time.sleep(seconds)
    return sum(thread.name.startswith("dolgo-id") for thread in threading.enumerate())


@task(isolation="thread")
def signal_in_thread() -> str:
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(0.05)
    return "unmoved"


@task(isolation="thread")
def paint_thread(name: str) -> str:
    return paint(name)


@task
def paint_blocking(name: str) -> str:
    return paint(name)


@task
async def paint_async(name: str) -> str:
    return paint(name)


def paint(name: str) -> str:
    """What the handler before has left in the context, if it is the same."""
    before = colour.get()
    colour.set(name)
    return before


@task(isolation="process")
async def pid_alone() -> int:
    return os.getpid()
