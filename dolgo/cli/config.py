"""`dolgo config`: the settings in force and where each comes from."""

from __future__ import annotations

import os

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.options import load
from dolgo.settings import TABLE, unknown_variables


@click.command("config")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config_command(*, as_json: bool) -> int:
    """Show every setting in force here, and where it comes from."""
    loaded = load({})
    values = [(setting, getattr(loaded, setting.name)) for setting in TABLE]
    if as_json:
        shown = {
            setting.name: {
                "value": setting.show(value) if isinstance(value, str) else value,  # text may hold credentials
                "from": loaded.origin[setting.name],
            }
            for setting, value in values
        }
        output.json(shown)
    else:
        rows = ((setting.name, setting.show(value), loaded.origin[setting.name]) for setting, value in values)
        output.table(("setting", "value", "from"), rows)
    for stray in unknown_variables(os.environ):
        output.talk(f"dolgo: the environment has {stray}, which is no setting of dolgo")
    return Exit.OK
