"""`dolgo openapi`: the description of the HTTP interface."""

from __future__ import annotations

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit


@click.command("openapi")
@click.option("--json", "as_json", is_flag=True, help="Print it on one line.")
def openapi_command(*, as_json: bool) -> int:
    """Print the OpenAPI document of the HTTP interface. Needs no server."""
    # The web side brings in its framework: `dolgo --help` need not wait for it.
    from dolgo.api.openapi import document

    raw = msgspec.json.encode(document())
    output.data(msgspec.json.format(raw, indent=-1 if as_json else 2).decode())
    return Exit.OK
