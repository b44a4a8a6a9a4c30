"""What a task is to do, as options and arguments of the commands that submit one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import msgspec

from dolgo.cli.options import Duration, contents

OPTIONS = (
    click.option("--payload", metavar="JSON", help="The payload, or @FILE, or - for stdin; KEY=VALUE adds members to it."),
    click.option("--queue", help="Queue to stand in."),
    click.option("--priority", type=click.IntRange(0, 9), help="0 to 9, higher first."),
    click.option("--timeout", type=Duration(), help="Each attempt is stopped after this long, such as 30s or 5m."),
    click.option("--retries", type=click.IntRange(0), help="Attempts after the first that failed."),
    click.option("--keep", type=Duration(), help="Kept this long once it has ended."),
    click.option("--tag", "tags", multiple=True, help="A tag to find it by. Repeatable."),
    click.option("--unique-key", metavar="KEY", help="While a task of this type and key has not ended, there is no other."),
    click.option("--limit-key", metavar="KEY", help="Tasks of one key share the limit of their queue or type."),
    click.option("--callback", metavar="URL", help="Who is told how it ended, by a signed request."),
)


def task_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the payload and the options that every new task may have."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def read_payload(text: str | None, pairs: tuple[str, ...]) -> msgspec.Raw | dict[str, msgspec.Raw]:
    """The payload as it was written, or an object of the members given."""
    raw = None if text is None else _json(contents(text) if text[:1] == "@" or text == "-" else text)
    if raw is not None and not pairs:
        return raw
    try:
        payload = msgspec.json.decode(raw or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise click.UsageError("KEY=VALUE can only be added to a payload that is a JSON object.") from None
    given: set[str] = set()
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE.")
        if name in given:
            raise click.UsageError(f"{name!r} is given twice.")
        given.add(name)
        payload[name] = _value(value)
    return payload


def _value(text: str) -> msgspec.Raw:
    if text[:1] == "@":
        return msgspec.Raw(msgspec.json.encode(contents(text)))
    return msgspec.Raw(text.encode() if _why_not_json(text) is None else msgspec.json.encode(text))


def _json(text: str) -> msgspec.Raw:
    reason = _why_not_json(text)
    if reason is not None:
        raise click.UsageError(f"The payload is not JSON: {reason}.")
    return msgspec.Raw(text.encode())


def _why_not_json(text: str) -> str | None:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return str(error)
    except RecursionError:
        raise click.UsageError("The payload is nested too deeply.") from None
    return None
