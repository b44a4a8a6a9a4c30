"""The command line: data on stdout, talk on stderr, and an exit code that scripts can go by (`exits.py`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from dolgo.cli.exits import CallFailed, Exit
from dolgo.errors import Refused, StartError
from dolgo.version import __version__

# Command → module, whose attribute of the same name it is. A module is imported when its command is asked for:
# `dolgo serve` need not wait for an HTTP client, nor `dolgo get` for a server.
COMMANDS = {
    "serve": "serve",
    "worker": "serve",
    "submit": "submit",
    "get": "task",
    "wait": "wait",
    "watch": "watch",
    "result": "task",
    "logs": "logs",
    "list": "task",
    "cancel": "change",
    "retry": "change",
    "types": "type",
    "queue": "queue",
    "schedule": "schedule",
    "workers": "worker",
    "token": "token",
    "secret": "secret",
    "prune": "prune",
    "doctor": "doctor",
    "new": "new",
    "config": "config",
    "openapi": "openapi",
}


class Commands(click.Group):
    """The commands of `COMMANDS`, in that order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"dolgo.cli.{COMMANDS[cmd_name]}"), f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command


def commands() -> click.Group:
    """The whole command line."""

    @click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, prog_name="dolgo", message="%(prog)s %(version)s")
    def dolgo() -> None:
        """Run work that takes too long for a web request.

        `dolgo serve` answers over HTTP and runs tasks; the other commands speak to it.
        """

    return dolgo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code."""
    try:
        return commands().main(arguments, prog_name="dolgo", standalone_mode=False) or 0
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UnicodeEncodeError:  # bytes of the command line that are no text came in as surrogates, and cannot go out
        click.echo("dolgo: an argument is not UTF-8 text.", err=True)
        return Exit.USAGE
    except (CallFailed, StartError) as error:
        click.echo(f"dolgo: {error}", err=True)
        return error.code if isinstance(error, CallFailed) else error.exit_code
    except Refused as error:  # by a store that a command works on itself
        click.echo(f"dolgo: {error}", err=True)
        return Exit.ERROR
