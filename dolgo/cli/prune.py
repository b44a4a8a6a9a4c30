"""`dolgo prune`: forget tasks that ended long ago."""

from __future__ import annotations

import asyncio

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.opened import opened
from dolgo.cli.options import load, setting_options
from dolgo.task.callbacks.cursor import Book

AT_ONCE = 500  # tasks a commit; others that have the store open get their turns in between


@click.command("prune")
@setting_options("prune")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def prune_command(*, as_json: bool, **flags: str | None) -> int:
    """Forget tasks that ended longer ago than --keep, or than they say themselves. Works on the store itself.

    A server does the same all the time with the time it was started with; both may work at once. Where there are callbacks,
    what ended within the last minute stays, and all of it while nobody has seen to them: run a server or a worker for that.
    """
    settings = load(flags)
    count = asyncio.run(_prune(settings.store, settings.keep))
    if as_json:
        output.json({"pruned": count})
    else:
        output.data(f"{count} {'task' if count == 1 else 'tasks'} pruned")
    return Exit.OK


async def _prune(url: str, keep: float) -> int:
    async with opened(url) as store:
        book = Book(store)
        count = step = await book.prune(keep, AT_ONCE)
        while step:
            step = await book.prune(keep, AT_ONCE)
            count += step
    return count
