"""`dolgo logs`: what a task's handler wrote."""

from __future__ import annotations

import contextlib

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode


class Line(msgspec.Struct):
    """One line, as `GET /tasks/{id}/logs` shows it."""

    attempt: int
    time: str
    level: str
    text: str


@click.command("logs")
@click.argument("id")
@click.option("--attempt", type=click.IntRange(1), help="Only what this attempt wrote.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@client_command
async def logs_command(server: Server, *, id: str, attempt: int | None, follow: bool, as_json: bool) -> int:
    """Show what a task's handler wrote while it ran. With --json one line a line."""
    shown = attempt
    async with contextlib.aclosing(server.lines(id, attempt, follow=follow)) as lines:
        async for raw in lines:
            if as_json:
                output.line(bytes(raw))
                continue
            line = decode(bytes(raw), Line)
            if line.attempt != shown:
                output.talk(f"attempt {line.attempt}:")
                shown = line.attempt
            output.data(f"{output.moment(line.time)}  {output.plain(line.level):<8}  {output.plain(line.text)}")
    return Exit.OK
