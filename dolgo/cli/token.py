"""`dolgo token`: who may ask for what. Works on the store itself, so whoever may read and write that may make tokens."""

from __future__ import annotations

import asyncio
import getpass
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import click

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.opened import opened
from dolgo.cli.options import Duration, load, setting_options
from dolgo.errors import Conflict, NotFound, Refused
from dolgo.task.allowed import NAME_RULE, is_name
from dolgo.task.audit import Audit, Entry
from dolgo.task.tokens import Scope, Token, Tokens

T = TypeVar("T")

HEADS = ("id", "name", "state", "scopes", "queues", "types", "rate", "created", "expires")
CODES: dict[type[Refused], Exit] = {Conflict: Exit.CONFLICT, NotFound: Exit.NOT_FOUND}

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Name(click.ParamType[str]):
    """A name of ours."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_name(str(value)):
            self.fail(f"{value!r} is no name: {NAME_RULE}.", param, ctx)
        return str(value)


class Rate(click.ParamType[float]):
    """How often, a second."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            rate = float(value)
        except ValueError:
            rate = math.nan
        if not 0.001 <= rate <= 1e6:
            self.fail(f"{value!r} is no number from 0.001 to 1000000.", param, ctx)
        return rate


@click.group("token")
def token_command() -> None:
    """Make, list and revoke tokens, in the store itself. Once there is one, every client needs one."""


@token_command.command("create")
@setting_options("token")
@click.argument("name", type=Name())
@click.option(
    "--scope", "scopes", type=click.Choice([scope.value for scope in Scope]), multiple=True, required=True, help="Repeatable."
)
@click.option("--queue", "queues", type=Name(), multiple=True, help="For tasks in this queue alone. Repeatable.")
@click.option("--type", "types", type=Name(), multiple=True, help="For tasks of this type alone. Repeatable.")
@click.option("--expires", "lasts", type=Duration(), help="How long it is good for, as 30d.  [default: until it is revoked]")
@click.option("--rate", type=Rate(), help="Requests a second at most, on each server.")
@as_json_option
def create_token(*, name: str, as_json: bool, store: str | None, scopes: tuple[str, ...], **limits: Any) -> int:
    """Make a token and print it. It is shown only now: the store keeps a hash."""

    async def create(tokens: Tokens) -> tuple[Token, str]:
        return await tokens.create(name, scopes=map(Scope, scopes), **limits)

    token, secret = _done("create_token", store, create, lambda made: made[0], make=True)
    if as_json:
        output.json({"token": secret, **_shown(token)})
    else:
        output.data(secret)
    return Exit.OK


@token_command.command("list")
@setting_options("token")
@as_json_option
def list_tokens(*, as_json: bool, store: str | None) -> int:
    """List the tokens, those that were revoked or have expired among them."""

    async def look() -> tuple[list[Token], float]:
        async with opened(load({"store": store}).store) as found:
            tokens = Tokens(found)
            return await tokens.all(), await tokens.now()

    tokens, now = asyncio.run(look())
    if as_json:
        output.json({"tokens": [{**_shown(token), "state": token.state(now)} for token in tokens]})
    else:
        output.table(HEADS, (_cells(token, now) for token in tokens))
    return Exit.OK


@token_command.command("revoke")
@setting_options("token")
@click.argument("named", metavar="ID_OR_NAME", nargs=-1, required=True)
@click.option("--forget", is_flag=True, help="Drop it from the list too. Without any token a server on loopback asks for none.")
@as_json_option
def revoke_token(*, named: tuple[str, ...], forget: bool, as_json: bool, store: str | None) -> int:
    """Refuse tokens from now on: within five seconds on every server."""

    action, said = ("forget_token", "forgotten") if forget else ("revoke_token", "revoked")
    revoked = []
    for one in named:  # each is noted before the next: one that does not exist must not hide those before it
        revoked.append(_done(action, store, partial(_end, one, forget=forget), lambda token: token))
        if not as_json:
            output.data(f"{revoked[-1].id} {revoked[-1].name} {said}")
    if as_json:
        output.json({"revoked": [token.id for token in revoked]})
    return Exit.OK


async def _end(named: str, tokens: Tokens, *, forget: bool) -> Token:
    return await (tokens.forget(named) if forget else tokens.revoke(named))


def _done(
    action: str,
    url: str | None,
    work: Callable[[Tokens], Awaitable[T]],
    touched: Callable[[T], Token],
    *,
    make: bool = False,
) -> T:
    """What `work` on the tokens answers, once the audit log tells of it. Raises CallFailed with an exit code."""

    async def do() -> T:
        async with opened(load({"store": url}).store, make=make) as store:
            done = await work(Tokens(store))
            token = touched(done)
            await Audit(store).add(Entry(who="command_line", name=_user(), action=action, ids=(f"{token.id} {token.name}",)))
            return done

    try:
        return asyncio.run(do())
    except Refused as error:
        raise CallFailed(str(error), CODES.get(type(error), Exit.ERROR)) from None


def _user() -> str:
    """Who runs this, as the system has it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


def _shown(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "queues": None if token.queues is None else sorted(token.queues),
        "types": None if token.types is None else sorted(token.types),
        "rate": token.rate,
        "created_at": _moment(token.created_at),
        "expires_at": _moment(token.expires_at),
        "revoked_at": _moment(token.revoked_at),
    }


def _cells(token: Token, now: float) -> list[object]:
    shown = _shown(token)
    lists = [" ".join(sorted(names or ())) for names in (token.scopes, token.queues, token.types)]
    times = [output.moment(shown[name]) for name in ("created_at", "expires_at")]
    return [token.id, token.name, token.state(now), *lists, token.rate, *times]


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:-6] + "Z"
