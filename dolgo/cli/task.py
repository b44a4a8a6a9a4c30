"""`dolgo get`, `result` and `list`: tasks that exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.http import Server, client_command, decode, task_path
from dolgo.cli.options import filters, given
from dolgo.task.types import FINAL, Status

PAGE = 1000  # tasks the server gives at most in one answer
EXISTING = "Nothing new: a task with this unique key has not ended, and this is it."


class Short(msgspec.Struct):
    """A task as `GET /tasks/{id}` shows it."""

    id: str
    status: str
    result: msgspec.Raw = msgspec.Raw()
    error: str | None = None


class Page(msgspec.Struct):
    """One answer of `GET /tasks`, its tasks as they were sent."""

    tasks: list[msgspec.Raw]
    next: str | None


async def each(ids: tuple[str, ...], call: Callable[[str], Awaitable[None]]) -> int:
    """Call for each id; one that is missing or refuses does not keep the others from it. Answers the exit code."""
    code = Exit.OK
    for id in ids:
        try:
            await call(id)
        except CallFailed as error:
            if error.code not in (Exit.NOT_FOUND, Exit.CONFLICT):
                raise
            output.talk(f"dolgo: {output.plain(id)}: {error}")
            code = code or error.code
    return code


def show(raw: bytes, *, as_json: bool) -> Short:
    """Print a task's short form, and answer it."""
    task = decode(raw, Short)
    if as_json:
        output.line(raw)
        return task
    output.data(f"{output.plain(task.id)}  {task.status}")
    if task.status == Status.DONE:
        output.document(bytes(task.result))
    elif task.error is not None:
        output.data(f"  {output.plain(task.error)}")
    return task


@click.command("get")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--full", is_flag=True, help="Everything that is known of it.")
@client_command
async def get_command(server: Server, *, ids: tuple[str, ...], full: bool, as_json: bool) -> int:
    """Show how tasks stand: their status, and the result or the error."""

    async def one(id: str) -> None:
        if not full:
            show(await server.get(task_path(id)), as_json=as_json)
            return
        raw = await server.get(task_path(id), params={"view": "full"})
        if as_json:
            output.line(raw)
        else:
            output.members(decode(raw, dict[str, Any]).items())

    return await each(ids, one)


@click.command("result")
@click.argument("id")
@client_command
async def result_command(server: Server, *, id: str, as_json: bool) -> int:
    """Print a task's result, as JSON."""
    task = decode(await server.get(task_path(id)), Short)
    if task.status == Status.DONE:
        (output.line if as_json else output.document)(bytes(task.result))
        return Exit.OK
    if task.status in FINAL:
        raise CallFailed(f"The task ended {task.status}: {output.plain(task.error)}", Exit.TASK_FAILED)
    raise CallFailed(f"The task has no result yet, it is {task.status}; `dolgo wait {output.plain(id)}` waits for it.")


@click.command("list")
@filters
@click.option("--order", help="-created_at (newest first), created_at, -finished_at or finished_at.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Tasks at most.")
@click.option("--full", is_flag=True, help="With --json: everything that is known of each.")
@client_command
async def list_command(server: Server, *, limit: int, full: bool, as_json: bool, **wanted: str | None) -> int:
    """List tasks. With --json one task a line."""
    asked = given(wanted)
    if full or not as_json:
        asked["view"] = "full"
    tasks, more = await _pages(server, limit, asked)
    if as_json:
        for raw in tasks:
            output.line(bytes(raw))
    else:
        heads = ("id", "status", "type", "queue", "attempt", "created_at")
        output.table(heads, (_cells(decode(bytes(raw), dict[str, Any]), heads) for raw in tasks))
    if more:
        output.talk(f"There are more; --limit {limit * 10} shows some of them.")
    return Exit.OK


async def _pages(server: Server, limit: int, asked: dict[str, str]) -> tuple[list[msgspec.Raw], bool]:
    """The first tasks of the list, from as many pages as they take, and whether the list goes on."""
    tasks: list[msgspec.Raw] = []
    cursor: dict[str, str] = {}
    while True:
        size = {"limit": str(min(limit - len(tasks), PAGE))}
        page = decode(await server.get("tasks", params=asked | size | cursor), Page)
        tasks += page.tasks
        if page.next is None or len(tasks) >= limit:
            return tasks, page.next is not None
        cursor = {"cursor": page.next}


def _cells(task: dict[str, Any], heads: tuple[str, ...]) -> list[object]:
    return [output.moment(task.get(head)) if head.endswith("_at") else task.get(head) for head in heads]
