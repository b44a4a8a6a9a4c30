"""`dolgo logs`: what a task's handler wrote."""

from __future__ import annotations

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, task_path
from dolgo.cli.task import Short
from dolgo.task.types import FINAL

LOOK = 1.0  # seconds between two looks at a log that is followed; a handler's lines are stored about as often


class Line(msgspec.Struct):
    """One line, as `GET /tasks/{id}/logs` shows it."""

    attempt: int
    time: str
    level: str
    text: str


class Lines(msgspec.Struct):
    """One answer, its lines as they were sent."""

    lines: list[msgspec.Raw]
    next: str | None


@click.command("logs")
@click.argument("id")
@click.option("--attempt", type=click.IntRange(1), help="Only what this attempt wrote.")
@click.option("--follow", is_flag=True, help="Go on until the task has ended.")
@client_command
async def logs_command(server: Server, *, id: str, attempt: int | None, follow: bool, as_json: bool) -> int:
    """Show what a task's handler wrote while it ran. With --json one line a line."""
    log = _Log(server, id, attempt, as_json=as_json)
    while follow and not await _has_ended(server, id):
        await log.show()
    await log.show()
    return Exit.OK


async def _has_ended(server: Server, id: str) -> bool:
    """Whether it has, after a while; at once when it has."""
    return decode(await server.get(task_path(id), wait=LOOK), Short).status in FINAL


class _Log:
    """Shows a log, each line once."""

    def __init__(self, server: Server, id: str, attempt: int | None, *, as_json: bool) -> None:
        self._server = server
        self._path = task_path(id, "logs")
        self._params = {} if attempt is None else {"attempt": str(attempt)}
        self._as_json = as_json
        self._attempt = attempt

    async def show(self) -> None:
        """Print what has come since the last call."""
        while True:
            page = decode(await self._server.get(self._path, params=self._params), Lines)
            for raw in page.lines:
                self._print(bytes(raw))
            if page.next is not None:
                self._params["after"] = page.next
            if not page.lines:
                return

    def _print(self, raw: bytes) -> None:
        if self._as_json:
            output.line(raw)
            return
        line = decode(raw, Line)
        if line.attempt != self._attempt:
            output.talk(f"attempt {line.attempt}:")
            self._attempt = line.attempt
        output.data(f"{output.moment(line.time)}  {output.plain(line.level):<8}  {output.plain(line.text)}")
