"""`dolgo queue`: the queues and what stands in them."""

from __future__ import annotations

from typing import Any

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode
from dolgo.task.types import Status


@click.command("queue")
@client_command
async def queue_command(server: Server, *, as_json: bool) -> int:
    """List the queues: how many tasks stand at each status, the age of the oldest, the workers."""
    raw = await server.get("queues")
    if as_json:
        output.line(raw)
        return Exit.OK
    queues = decode(raw, dict[str, list[dict[str, Any]]]).get("queues", [])
    output.table(("queue", *Status, "oldest", "workers"), (_cells(queue) for queue in queues))
    return Exit.OK


def _cells(queue: dict[str, Any]) -> list[object]:
    counts = queue.get("counts") or {}
    return [
        queue.get("name"),
        *(counts.get(status, 0) for status in Status),
        output.age(queue.get("oldest_age")),
        queue.get("workers"),
    ]
