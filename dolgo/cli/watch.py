"""`dolgo watch`: how tasks go until they have ended, or all that happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

import click

from dolgo.cli import output
from dolgo.cli.exits import CallFailed, Exit
from dolgo.cli.http import Server, client_command, decode, task_path
from dolgo.cli.options import Duration, given
from dolgo.cli.screen import Full, Lines, line, screen
from dolgo.client.streams import Told
from dolgo.client.verbs import OUTAGE
from dolgo.task.types import FINAL, EventKind, Status

MOST = 100  # tasks at once: each has a connection of its own


class Shown(Full):
    """What is looked at of an event."""

    id: str = ""
    time: str = ""
    type: str = ""


@click.command("watch")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--type", help="Without ids: only what happens to tasks of this type.")
@click.option("--queue", help="Without ids: only what happens to tasks in this queue.")
@click.option("--status", help="Without ids: only what happens at this status.")
@click.option("--after", metavar="PLACE", help="Without ids: from behind this event; 0 is the oldest there is.  [default: now]")
@click.option("--timeout", type=Duration(), help="Give up after this long, such as 30s or 5m (exit code 124).")
@client_command
async def watch_command(
    server: Server, *, ids: tuple[str, ...], timeout: float | None, as_json: bool, after: str | None, **filters: str | None
) -> int:
    """Show how tasks stand and how far they are, until they have ended. Exit code 3 when one did not end `done`.

    Without ids: show whatever happens, until Ctrl-C.
    """
    if ids and given({**filters, "after": after}):
        raise click.UsageError("--type, --queue, --status and --after go without ids.")
    if len(ids) > MOST:
        raise click.UsageError(f"At most {MOST} tasks are watched at once; `dolgo wait` takes more.")
    if not ids:
        return await _watch_all(server, after, given(filters), timeout, as_json=as_json)
    with screen(several=len(ids) > 1, as_json=as_json) as shown:
        watching = _Watching(server, shown, timeout, as_json=as_json)
        return max(await asyncio.gather(*(watching.one(id) for id in dict.fromkeys(ids))))


class Seen(NamedTuple):
    """How a task stood when it was last looked at."""

    status: str
    etag: str | None


class _Watching:
    """A watch over several tasks with one end in time."""

    def __init__(self, server: Server, shown: Lines, timeout: float | None, *, as_json: bool) -> None:
        self._server = server
        self._screen = shown
        self._as_json = as_json
        self._seen: dict[str, Seen] = {}
        self._until = None if timeout is None else asyncio.get_running_loop().time() + timeout

    async def one(self, id: str) -> Exit:
        """Show a task until it has ended, or time has run out; how that was."""
        try:
            return await self._follow(id)
        except CallFailed as error:
            if error.code != Exit.NOT_FOUND:
                raise
            output.talk(f"dolgo: {output.plain(id)}: {error}")
            return error.code

    async def _follow(self, id: str) -> Exit:
        await self._look(id)
        try:
            async with asyncio.timeout_at(self._until):
                while self._seen[id].status not in FINAL:  # a task may be retried just when it has ended
                    await self._listen(id)
        except TimeoutError:
            return Exit.TIMED_OUT
        if not self._as_json:
            self._screen.ended(await self._server.get(task_path(id)))
        return Exit.OK if self._seen[id].status == Status.DONE else Exit.TASK_FAILED

    async def _listen(self, id: str) -> None:
        """Look at the task whenever its stream tells of a change, until it is seen to have ended."""
        async with contextlib.aclosing(self._server.told(id)) as events:
            async for event in events:
                if event.name != EventKind.LOG:
                    await self._look(id)
                if self._seen[id].status in FINAL:
                    return

    async def _look(self, id: str) -> None:
        """Show the task, if anything is other than it was."""
        etag = self._seen[id].etag if id in self._seen else None
        body, etag = await self._server.changed(task_path(id), etag, wait=0.0, params={"view": "full"})
        self._server.patience = OUTAGE
        if body is not None:
            task = decode(body, Full)
            self._seen[id] = Seen(task.status, etag)
            self._screen.show(id, task, body)


async def _watch_all(server: Server, after: str | None, filters: dict[str, str], timeout: float | None, *, as_json: bool) -> Exit:
    try:
        async with asyncio.timeout(timeout), contextlib.aclosing(server.told(None, after, **filters)) as events:
            async for event in events:
                (_print_json if as_json else _print)(event)
    except TimeoutError:
        pass
    return Exit.TIMED_OUT


def _print_json(event: Told) -> None:
    """The event as it was sent; one that is about the stream gets its name, as the others have it."""
    if event.name in set(EventKind):
        output.line(event.data)
    else:
        output.json({"event": event.name, **decode(event.data, dict[str, object])})


def _print(event: Told) -> None:
    if event.name == "reset":
        output.talk("dolgo: Some events before this may be missing.")
    elif event.name == "lagged":
        output.talk("dolgo: Events come faster than they are read: progress and log lines are left out until that is over.")
    else:
        shown = decode(event.data, Shown)
        more = "  wrote to its log" if event.name == EventKind.LOG else ""
        output.data(f"{output.moment(shown.time)}  {output.plain(shown.id)}  {output.plain(shown.type)}  {line(shown)}{more}")
