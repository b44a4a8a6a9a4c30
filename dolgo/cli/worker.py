"""`dolgo workers`: who runs tasks."""

from __future__ import annotations

from typing import Any

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode

HEADS = ("worker", "host", "pid", "version", "state", "running", "slots", "queues", "types", "seen")


@click.command("workers")
@client_command
async def workers_command(server: Server, *, as_json: bool) -> int:
    """List the workers: where they are, what they run, when they were last heard of."""
    raw = await server.get("workers")
    if as_json:
        output.line(raw)
        return Exit.OK
    workers = decode(raw, dict[str, list[dict[str, Any]]]).get("workers", [])
    output.table(HEADS, (_cells(worker) for worker in workers))
    return Exit.OK


def _cells(worker: dict[str, Any]) -> list[object]:
    running, types, queues = (worker.get(name) or [] for name in ("running", "types", "queues"))
    facts = [worker.get(name) for name in ("id", "host", "pid", "version", "state")]
    return [
        *facts,
        len(running),
        worker.get("slots"),
        ",".join(queues) or "all",
        len(types),
        output.age(worker.get("heartbeat_age")),
    ]
