"""`dolgo wait`: until tasks are final."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.http import Server, client_command, task_path
from dolgo.cli.options import Duration
from dolgo.cli.task import show
from dolgo.task.types import FINAL, Status

AT_ONCE = 16  # tasks waited for side by side: finished ones further down the list are counted soon, at few connections


@click.command("wait")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", type=Duration(), help="Give up after this long, such as 30s or 5m (exit code 124).")
@client_command
async def wait_command(server: Server, *, ids: tuple[str, ...], timeout: float | None, as_json: bool) -> int:
    """Wait until tasks have ended; show how. Exit code 3 when one did not end `done`."""
    return await wait_for(server, ids, timeout=timeout, as_json=as_json)


async def wait_for(server: Server, ids: Sequence[str], *, timeout: float | None, as_json: bool) -> int:
    """Wait for tasks and print each in the order given; answers the exit code."""
    waiting = Waiting(server, timeout)
    with waiting.bar(len(ids)) as bar:
        answers = await asyncio.gather(*(waiting.one(id, bar) for id in ids))
    code = Exit.OK
    for answer in answers:
        code = max(code, _report(answer, as_json=as_json))
    return code


def _report(answer: bytes | CallFailed, *, as_json: bool) -> Exit:
    if isinstance(answer, CallFailed):
        output.talk(f"dolgo: {answer}")
        return answer.code
    task = show(answer, as_json=as_json)
    if task.status not in FINAL:
        return Exit.TIMED_OUT
    return Exit.OK if task.status == Status.DONE else Exit.TASK_FAILED


class Waiting:
    """A wait for several tasks with one end in time."""

    def __init__(self, server: Server, timeout: float | None) -> None:
        self._server = server
        self._until = None if timeout is None else time.monotonic() + timeout
        self._places = asyncio.Semaphore(AT_ONCE)

    def bar(self, total: int) -> AbstractContextManager[Progress | None]:
        """A progress bar where several are waited for and somebody looks; answers None elsewhere."""
        if total < 2 or not sys.stderr.isatty():
            return nullcontext()
        columns = (TextColumn("waiting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.add_task("", total=total)
        return bar

    async def one(self, id: str, bar: Progress | None) -> bytes | CallFailed:
        """The last answer about a task: final, unless time ran out; or why there is none."""
        try:
            async with self._places:
                answer = await self._server.ended(task_path(id), until=self._until)
        except CallFailed as error:
            if error.code != Exit.NOT_FOUND:
                raise
            return CallFailed(f"{output.plain(id)}: {error}", error.code)
        if bar is not None:
            bar.advance(bar.task_ids[0])
        return answer
