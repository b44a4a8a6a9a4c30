"""`dolgo types`: what can be submitted."""

from __future__ import annotations

from typing import Any

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, path_of


@click.command("types")
@click.argument("name", required=False)
@client_command
async def types_command(server: Server, *, name: str | None, as_json: bool) -> int:
    """List the task types that workers have announced, or show one with its schemas."""
    raw = await server.get(path_of("types", name) if name else "types")
    if as_json:
        output.line(raw)
    elif name:
        output.document(raw)
    else:
        _show(decode(raw, dict[str, list[dict[str, Any]]]))
    return Exit.OK


def _show(answer: dict[str, list[dict[str, Any]]]) -> None:
    rows = ((info.get("name"), info.get("workers"), _first_line(info.get("description"))) for info in answer.get("types", []))
    output.table(("type", "workers", "description"), rows)
    for broken in answer.get("broken", []):
        error = output.plain(str(broken.get("error", "")).strip().rpartition("\n")[2])
        output.talk(f"broken: {output.plain(broken.get('file'))}: {error}")


def _first_line(text: Any) -> str:
    return str(text or "").strip().partition("\n")[0]
