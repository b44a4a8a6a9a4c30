"""`dolgo secret`: what callbacks are signed with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.opened import opened
from dolgo.cli.options import load, setting_options
from dolgo.task.callbacks.secret import Vault

T = TypeVar("T")


@click.group("secret")
def secret_command() -> None:
    """Show or rotate what callbacks are signed with. Works on the store itself."""


@secret_command.command("show")
@setting_options("secret")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, as_json: bool, **flags: str | None) -> int:
    """Print the secrets that callbacks are signed with now, the newest first."""
    return _print(_on_store(flags, lambda vault: vault.valid()), as_json)


@secret_command.command("rotate")
@setting_options("secret")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rotate(*, as_json: bool, **flags: str | None) -> int:
    """Make a new secret and print it. The one before signs as well for a day, so that receivers have time to change."""
    return _print([_on_store(flags, lambda vault: vault.rotate())], as_json)


def _print(secrets: list[str], as_json: bool) -> int:
    if as_json:
        output.json({"secrets": secrets})
    else:
        output.data("\n".join(secrets))
    return Exit.OK


def _on_store(flags: dict[str, str | None], use: Callable[[Vault], Awaitable[T]]) -> T:
    return asyncio.run(_opened(load(flags).store, use))


async def _opened(url: str, use: Callable[[Vault], Awaitable[T]]) -> T:
    async with opened(url) as store:
        return await use(Vault(store))
