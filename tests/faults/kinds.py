"""Task types of the fault runs: each writes into a ledger when it starts and when it ends, whatever becomes of that later.

A process of dolgo loads this file by `--tasks`, and has the ledger's path from the environment.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dolgo import Context, SyncContext, task

LEDGER = "FAULTS_LEDGER"
CHILDREN = 2  # tasks that one of `spawns` submits
LOOK_EVERY = 0.02  # seconds
TRIES = 3  # attempts that `fails` has


@task
async def waits(ctx: Context, seconds: float = 0.0, again: str | None = None) -> list[int]:
    """With `again`, a later attempt ends as soon as there is a file of that name instead; at once if it is empty."""
    with ledger(ctx) as said:
        if again is None or ctx.attempt == 1:
            await asyncio.sleep(seconds)
        while not there(ctx, again):
            await asyncio.sleep(LOOK_EVERY)
    return said


@task
def waits_alone(ctx: SyncContext, seconds: float = 0.0, again: str | None = None) -> list[int]:
    return wait(ctx, seconds, again)


@task(isolation="thread")
def waits_in_a_thread(ctx: SyncContext, seconds: float = 0.0, again: str | None = None) -> list[int]:
    return wait(ctx, seconds, again)


def wait(ctx: SyncContext, seconds: float, again: str | None) -> list[int]:
    with ledger(ctx) as said:
        if again is None or ctx.attempt == 1:
            time.sleep(seconds)
        while not there(ctx, again):
            time.sleep(LOOK_EVERY)
    return said


def there(ctx: Context | SyncContext, again: str | None) -> bool:
    return ctx.attempt == 1 or not again or os.path.exists(again)


@task
async def one_of_a_key(ctx: Context, seconds: float = 0.0) -> list[int]:
    """To be submitted with a `unique_key`."""
    with ledger(ctx) as said:
        await asyncio.sleep(seconds)
    return said


@task(retries=20, backoff=[0.05])
async def fails_at_first(ctx: Context) -> list[int]:
    with ledger(ctx) as said:
        if ctx.attempt < TRIES:
            raise ValueError(f"attempt {ctx.attempt} fails")
    return said


@task(retries=TRIES - 1, backoff=[0.05])
async def fails(ctx: Context) -> None:
    with ledger(ctx):
        raise ValueError("it always fails")


@task
async def spawns(ctx: Context) -> list[int]:
    with ledger(ctx) as said:
        for number in range(CHILDREN):
            await ctx.submit("waits", tags=[f"child/{ctx.id}/{number}"])
    return said


@task
def spawns_alone(ctx: SyncContext) -> list[int]:
    with ledger(ctx) as said:
        for number in range(CHILDREN):
            ctx.submit("waits", tags=[f"child/{ctx.id}/{number}"])
    return said


@contextmanager
def ledger(ctx: Context | SyncContext) -> Iterator[list[int]]:
    """A line at the start and one at the end: "end", or "stop" if it was told to stop. What to return: who it was."""
    write("start", ctx)
    word = "stop"
    try:
        yield [ctx.attempt, os.getpid()]
        word = "end"
    except Exception:
        word = "end"
        raise
    finally:
        write(word, ctx)


def write(word: str, ctx: Context | SyncContext) -> None:
    """One `write` appends one line: SIGKILL comes before it or after it."""
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{word} {ctx.id} {ctx.attempt} {os.getpid()} {os.getppid()} {time.time():.6f}\n".encode())
    finally:
        os.close(file)
