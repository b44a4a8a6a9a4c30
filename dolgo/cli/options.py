"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from dolgo import settings
from dolgo.setting_kinds import Flag, Names, Paths, Seconds

FILTERS = (
    click.option("--status", help="Only tasks of this status."),
    click.option("--type", help="Only tasks of this type."),
    click.option("--queue", help="Only tasks in this queue."),
    click.option("--tag", help="Only tasks with this tag."),
    click.option("--created-after", metavar="TIME", help="As 2026-01-31T12:00:00Z."),
    click.option("--created-before", metavar="TIME", help="As 2026-01-31T12:00:00Z."),
)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that say which tasks are meant."""
    for option in reversed(FILTERS):
        function = option(function)
    return function


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def setting_options(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command a flag for each setting it uses. The values stay text: `settings.load` reads them as it does all others."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(settings.TABLE):
            if command in setting.row.commands and not setting.secret:
                function = _flag(setting)(function)
        return function

    return decorate


def _flag(setting: settings.Setting) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = setting.row.kind
    if isinstance(kind, Flag):
        return click.option(f"{setting.flag}/--no-{setting.flag[2:]}", setting.name, default=None, help=setting.row.help)
    shown = setting.show(setting.default)
    help = setting.row.help + (f" [default: {shown}]" if shown else "")
    if isinstance(kind, Paths) and not isinstance(kind, Names):
        return click.option(setting.flag, setting.name, multiple=True, metavar=kind.metavar, help=help + " Repeatable.")
    return click.option(setting.flag, setting.name, default=None, metavar=kind.metavar, help=help)


def load(flags: dict[str, Any]) -> settings.Settings:
    """The settings in force for this command line, environment and working directory."""
    given = {name: value if value != () else None for name, value in flags.items()}
    return settings.load(given, environ=os.environ, folder=Path.cwd())


def contents(source: str) -> str:
    """The text of `@FILE`, or of stdin for `-`."""
    try:
        return sys.stdin.read() if source == "-" else Path(source[1:]).read_text("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError(f"{source.lstrip('@')} is not UTF-8 text.") from None
    except OSError as error:
        raise click.UsageError(f"{source[1:]} cannot be read: {error.strerror}.") from None


class Duration(click.ParamType[float]):
    """Seconds, written as settings write them: `30`, `500ms`, `5m`, `12h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return Seconds(0).parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
