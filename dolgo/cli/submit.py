"""`dolgo submit`: a new task."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode
from dolgo.cli.options import Duration, given
from dolgo.cli.payload import read_payload, task_options
from dolgo.cli.task import EXISTING, Short
from dolgo.cli.wait import wait_for
from dolgo.task.types import OnParentFailure

ON_PARENT_FAILURE = [choice.value for choice in OnParentFailure]


@click.command("submit")
@click.argument("type")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@task_options
@click.option("--delay", type=Duration(), help="Not before this long from now, such as 30s or 5m.")
@click.option("--run-at", metavar="TIME", help="Not before, as 2026-01-31T12:00:00Z.")
@click.option("--expires-at", metavar="TIME", help="Cancelled if it has not started by then.")
@click.option("--depends-on", multiple=True, metavar="ID", help="A task that must end first. Repeatable.")
@click.option("--on-parent-failure", type=click.Choice(ON_PARENT_FAILURE), help="If one of these fails.  [default: cancel]")
@click.option("--key", help="Idempotency key: the same submit again answers with the same task.  [default: a new one]")
@click.option("--wait", is_flag=True, help="Wait until it has ended; print how. Exit code 3 when that is not `done`.")
@click.option("--wait-timeout", type=Duration(), help="With --wait: give up after this long (exit code 124).")
@client_command
async def submit_command(
    server: Server,
    *,
    type: str,
    pairs: tuple[str, ...],
    payload: str | None,
    key: str | None,
    wait: bool,
    wait_timeout: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Submit a task and print its id.

    A VALUE that is JSON is taken as JSON (width=320, deep=true), any other as text; @FILE stands for the text of a file.
    """
    if wait_timeout is not None and not wait:
        raise click.UsageError("--wait-timeout goes with --wait.")
    body = {"type": type, "payload": read_payload(payload, pairs)} | given(options)
    raw, existing = await server.submit("tasks", body=msgspec.json.encode(body), key=key)
    task = decode(raw, Short)
    if existing:
        output.talk(EXISTING)
    if wait:
        output.talk(output.plain(task.id))
        return await wait_for(server, [task.id], timeout=wait_timeout, as_json=as_json)
    if as_json:
        output.line(raw)
    else:
        output.data(output.plain(task.id))
    return Exit.OK
