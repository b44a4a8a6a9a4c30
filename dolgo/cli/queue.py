"""`dolgo queue`: the queues, what stands in them, and what holds it back."""

from __future__ import annotations

import math
from typing import Any

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, path_of
from dolgo.cli.options import given
from dolgo.task.types import Status

HEADS = ("queue", *Status, "oldest", "workers", "paused", "limits")
NONE = "none"


class Limit(click.ParamType[float | str]):
    """A number, or `none` to lift the limit."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == NONE:
            return NONE
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):  # JSON has no other; what it cannot say would go out as null, which lifts the limit
            self.fail(f"{value!r} is no number, and not `{NONE}`.", param, ctx)
        return int(number) if number.is_integer() else number


@click.group("queue")
def queue_command() -> None:
    """List queues, pause and resume them, and limit what runs."""


@queue_command.command("list")
@client_command
async def list_queues(server: Server, *, as_json: bool) -> int:
    """List the queues: how many tasks stand at each status, the age of the oldest, the workers, and what holds tasks back."""
    raw = await server.get("queues")
    if as_json:
        output.line(raw)
    else:
        found = decode(raw, dict[str, list[dict[str, Any]]]).get("queues", [])
        output.table(HEADS, (_cells(queue) for queue in found))
    return Exit.OK


@queue_command.command("pause")
@click.argument("name")
@click.option("--reason", help="Shown to whoever wonders.")
@click.option("--until", metavar="TIME", help="As 2026-01-31T12:00:00Z.  [default: until it is resumed]")
@client_command
async def pause_queue(server: Server, *, name: str, as_json: bool, **members: str | None) -> int:
    """Start nothing of a queue any more. What runs goes on."""
    body = msgspec.json.encode(given(members))
    return _show(await server.send("PUT", path_of("queues", name, "pause"), body=body, repeatable=True), as_json=as_json)


@queue_command.command("resume")
@click.argument("name")
@client_command
async def resume_queue(server: Server, *, name: str, as_json: bool) -> int:
    """Start the tasks of a queue again."""
    return _show(await server.send("DELETE", path_of("queues", name, "pause"), repeatable=True), as_json=as_json)


@queue_command.command("limit")
@click.argument("name")
@click.option("--max-running", type=Limit(), help="Tasks at most at once, over all workers.")
@click.option("--max-running-per-key", type=Limit(), help="The same for the tasks of one limit key.")
@click.option("--rate", type=Limit(), help="Starts a second at most.")
@client_command
async def limit_queue(server: Server, *, name: str, as_json: bool, **limits: float | str | None) -> int:
    """Limit how many tasks of a queue run at once, or start in a second. `none` lifts a limit."""
    changes = {limit: None if value == NONE else value for limit, value in given(limits).items()}
    if not changes:
        raise click.UsageError("Give --max-running, --max-running-per-key or --rate.")
    body = msgspec.json.encode(changes)
    return _show(await server.send("PATCH", path_of("queues", name), body=body, repeatable=True), as_json=as_json)


def _show(raw: bytes, *, as_json: bool) -> int:
    if as_json:
        output.line(raw)
    else:
        output.members(zip(HEADS, _cells(decode(raw, dict[str, Any])), strict=True))
    return Exit.OK


def _cells(queue: dict[str, Any]) -> list[object]:
    counts = queue.get("counts") or {}
    return [
        queue.get("name"),
        *(counts.get(status, 0) for status in Status),
        output.age(queue.get("oldest_age")),
        queue.get("workers"),
        _paused(queue.get("paused")),
        _limits(queue),
    ]


def _paused(pause: dict[str, Any] | None) -> str:
    """Until when and why, in a few words."""
    if pause is None:
        return ""
    until = f"until {output.moment(pause['until'])}" if pause.get("until") else ""
    return ": ".join(filter(None, (until, pause.get("reason")))) or "until it is resumed"


def _limits(queue: dict[str, Any]) -> str:
    words = (("max_running", "{:,} at once"), ("max_running_per_key", "{:,} a key"), ("rate", "{:,.10g}/s"))
    return ", ".join(text.format(queue[name]) for name, text in words if queue.get(name) is not None)
