"""`dolgo cancel` and `dolgo retry`: tasks by their ids, or all that filters let through."""

from __future__ import annotations

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, task_path
from dolgo.cli.options import filters, given
from dolgo.cli.task import Short, each
from dolgo.task.types import Status


class Changed(msgspec.Struct):
    """What became of many tasks."""

    matched: int
    changed: int
    more: bool


@click.command("cancel")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--dry-run", is_flag=True, help="With filters: say how many there are, and change nothing.")
@client_command
async def cancel_command(server: Server, *, ids: tuple[str, ...], dry_run: bool, as_json: bool, **wanted: str | None) -> int:
    """Cancel tasks: at once where they wait, as soon as their worker hears of it where they run.

    Give ids, or filters for all tasks that they let through.
    """
    return await _change(server, "cancel", ids, wanted, dry_run=dry_run, repeatable=True, as_json=as_json)


@click.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@filters
@click.option("--dry-run", is_flag=True, help="With filters: say how many there are, and change nothing.")
@client_command
async def retry_command(server: Server, *, ids: tuple[str, ...], dry_run: bool, as_json: bool, **wanted: str | None) -> int:
    """Run failed or cancelled tasks again.

    Give ids, or filters for all tasks that they let through.
    """
    # Repeated after it took, a retry would find the task queued and report a conflict.
    return await _change(server, "retry", ids, wanted, dry_run=dry_run, repeatable=False, as_json=as_json)


async def _change(
    server: Server,
    verb: str,
    ids: tuple[str, ...],
    wanted: dict[str, str | None],
    *,
    dry_run: bool,
    repeatable: bool,
    as_json: bool,
) -> int:
    filters = given(wanted)
    if bool(ids) == bool(filters):
        raise click.UsageError("Give ids, or at least one filter such as --type; not both.")
    if dry_run and ids:
        raise click.UsageError("--dry-run goes with filters.")

    async def one(id: str) -> None:
        _show(await server.send("POST", task_path(id, verb), repeatable=repeatable), as_json=as_json)

    if ids:
        return await each(ids, one)
    if dry_run:
        filters["dry_run"] = "true"
    found = await _all(server, verb, filters, repeatable=repeatable)
    if as_json:
        output.json(found)
    else:
        more = "more than " if found.more else ""
        output.data(f"{more}{found.matched} found" + ("" if dry_run else f", {found.changed} changed"))
    return Exit.OK


async def _all(server: Server, verb: str, filters: dict[str, str], *, repeatable: bool) -> Changed:
    """The sums of as many requests as it takes. A dry run, and what nothing comes of, is asked for once."""
    found = Changed(0, 0, True)
    while found.more:
        raw = await server.send("POST", f"tasks/{verb}", params=filters, repeatable=repeatable)
        answer = decode(raw, Changed)
        found = Changed(found.matched + answer.matched, found.changed + answer.changed, answer.more)
        if not answer.changed:
            break
    return found


def _show(raw: bytes, *, as_json: bool) -> None:
    if as_json:
        output.line(raw)
        return
    task = decode(raw, Short)
    note = "  (asked to stop)" if task.status == Status.IN_PROGRESS else ""
    output.data(f"{output.plain(task.id)}  {task.status}{note}")
