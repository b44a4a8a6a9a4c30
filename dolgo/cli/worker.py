"""`dolgo workers`: who runs tasks, and who is to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import click
from click.core import ParameterSource

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.http import Server, client_command, decode, path_of
from dolgo.cli.options import Duration

HEADS = ("worker", "host", "pid", "version", "state", "running", "slots", "queues", "types", "seen")
LOOK_EVERY = 0.5  # seconds between two looks whether workers have drained
DRAINED = "drained"  # the state of a worker that has nothing left to run and takes nothing more


@click.group("workers", invoke_without_command=True)
@client_command
async def workers_command(server: Server, *, as_json: bool) -> int | None:
    """List the workers: where they are, what they run, when they were last heard of. Or have some of them stop."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        raw = await server.get("workers")
        _show(raw, _workers(raw), as_json=as_json)
        return Exit.OK
    for name in ("server", "as_json"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"Give the options behind `{context.invoked_subcommand}`.")
    return None


@workers_command.command("drain")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--wait", is_flag=True, help="Return when they have drained.")
@click.option("--wait-timeout", type=Duration(), help="Give up waiting after this long (exit code 124).")
@client_command
async def drain_workers(server: Server, *, ids: tuple[str, ...], wait: bool, wait_timeout: float | None, as_json: bool) -> int:
    """Have workers end what they run and take no more tasks. A process of `dolgo worker` then exits."""
    code = Exit.OK
    for id in ids:
        try:
            raw = await server.send("POST", path_of("workers", id, "drain"), repeatable=True)
        except CallFailed as error:
            if error.code != Exit.NOT_FOUND:
                raise
            output.talk(f"dolgo: {output.plain(id)}: {error}")
            code = error.code
        else:
            _show(raw, [decode(raw, dict[str, Any])], as_json=as_json)
    if wait or wait_timeout is not None:
        code = max(code, await _wait(server, ids, wait_timeout))
    return code


async def _wait(server: Server, ids: Collection[str], timeout: float | None) -> Exit:
    """Return when none of these workers runs anything, and none will."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while await _at_work(server, ids):
        if deadline is not None and time.monotonic() >= deadline:
            return Exit.TIMED_OUT
        await asyncio.sleep(LOOK_EVERY)
    return Exit.OK


async def _at_work(server: Server, ids: Collection[str]) -> bool:
    there = _workers(await server.get("workers"))
    return any(worker.get("id") in ids and worker.get("state") != DRAINED for worker in there)


def _workers(raw: bytes) -> list[dict[str, Any]]:
    return decode(raw, dict[str, list[dict[str, Any]]]).get("workers", [])


def _show(raw: bytes, workers: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.line(raw)
    else:
        output.table(HEADS, (_cells(worker) for worker in workers))


def _cells(worker: dict[str, Any]) -> list[object]:
    running, types, queues = (worker.get(name) or [] for name in ("running", "types", "queues"))
    facts = [worker.get(name) for name in ("id", "host", "pid", "version", "state")]
    return [
        *facts,
        len(running),
        worker.get("slots"),
        ",".join(queues) or "all",
        len(types),
        output.age(worker.get("heartbeat_age")),
    ]
