"""`dolgo submit`: a new task."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode
from dolgo.cli.options import Duration
from dolgo.cli.task import Short
from dolgo.cli.wait import wait_for


@click.command("submit")
@click.argument("type")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--payload", metavar="JSON", help="The payload, or @FILE, or - for stdin; KEY=VALUE adds members to it.")
@click.option("--queue", help="Queue to stand in.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9, higher first.")
@click.option("--delay", type=Duration(), help="Not before this long from now, such as 30s or 5m.")
@click.option("--run-at", metavar="TIME", help="Not before, as 2026-01-31T12:00:00Z.")
@click.option("--tag", "tags", multiple=True, help="A tag to find it by. Repeatable.")
@click.option("--key", help="Idempotency key: the same submit again answers with the same task.  [default: a new one]")
@click.option("--wait", is_flag=True, help="Wait until it has ended; print how. Exit code 3 when that is not `done`.")
@click.option("--timeout", type=Duration(), help="With --wait: give up after this long (exit code 124).")
@client_command
async def submit_command(
    server: Server,
    *,
    type: str,
    pairs: tuple[str, ...],
    payload: str | None,
    key: str | None,
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Submit a task and print its id.

    A VALUE that is JSON is taken as JSON (width=320, deep=true), any other as text; @FILE stands for the text of a file.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait.")
    body = {"type": type, "payload": _payload(payload, pairs)}
    body |= {name: value for name, value in options.items() if value not in (None, ())}
    # With a key of its own a submit can be repeated when the answer is lost, and there is still one task.
    sent = {"Idempotency-Key": key or str(uuid.uuid4())}
    raw = await server.post("tasks", body=msgspec.json.encode(body), headers=sent, repeatable=True)
    task = decode(raw, Short)
    if wait:
        output.talk(output.plain(task.id))
        return await wait_for(server, [task.id], timeout=timeout, as_json=as_json)
    if as_json:
        output.line(raw)
    else:
        output.data(output.plain(task.id))
    return Exit.OK


def _payload(text: str | None, pairs: tuple[str, ...]) -> msgspec.Raw | dict[str, msgspec.Raw]:
    """The payload as it was written, or an object of the members given."""
    raw = None if text is None else _json(_contents(text) if text[:1] == "@" or text == "-" else text)
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
        return msgspec.Raw(msgspec.json.encode(_contents(text)))
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


def _contents(source: str) -> str:
    """The text of `@FILE`, or of stdin for `-`."""
    try:
        return sys.stdin.read() if source == "-" else Path(source[1:]).read_text("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError(f"{source.lstrip('@')} is not UTF-8 text.") from None
    except OSError as error:
        raise click.UsageError(f"{source[1:]} cannot be read: {error.strerror}.") from None
