"""`dolgo prune`: forget tasks that ended long ago."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.options import load, setting_options
from dolgo.errors import BadSetting, StoreUnusable

FILE = "sqlite:///"
AT_ONCE = 500  # tasks a commit; others that have the store open get their turns in between


@click.command("prune")
@setting_options("prune")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def prune_command(*, as_json: bool, **flags: str | None) -> int:
    """Forget tasks that ended longer ago than --keep, or than they say themselves. Works on the store itself.

    A server does the same all the time with the time it was started with; both may work at once.
    """
    settings = load(flags)
    if settings.store.startswith("memory:"):
        raise BadSetting("A store in memory cannot be reached from outside its process: name another with --store.")
    if settings.store.startswith(FILE) and not Path(settings.store.removeprefix(FILE)).exists():
        raise StoreUnusable(f"There is no file for {settings.store}: --store names another.")  # opening it would make one
    count = asyncio.run(_prune(settings.store, settings.keep))
    if as_json:
        output.json({"pruned": count})
    else:
        output.data(f"{count} {'task' if count == 1 else 'tasks'} pruned")
    return Exit.OK


async def _prune(url: str, keep: float) -> int:
    # The composition root names the stores, and brings in everything: `dolgo --help` need not wait for it.
    from dolgo.main import open_store

    store = open_store(url)
    await store.open()
    try:
        count = step = await store.prune(keep, AT_ONCE)
        while step:
            step = await store.prune(keep, AT_ONCE)
            count += step
    finally:
        await store.close()
    return count
