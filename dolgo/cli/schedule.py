"""`dolgo schedule`: tasks that are submitted by the clock."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from dolgo.cli import output
from dolgo.cli.exits import Exit
from dolgo.cli.http import Server, client_command, decode, path_of
from dolgo.cli.options import Duration, given
from dolgo.cli.payload import read_payload, task_options
from dolgo.cli.task import EXISTING, Short
from dolgo.setting_kinds import Seconds

HEADS = ("schedule", "when", "type", "next", "last", "state")


@click.group("schedule")
def schedule_command() -> None:
    """List schedules, set and delete them, run, pause and resume them."""


@schedule_command.command("list")
@client_command
async def list_schedules(server: Server, *, as_json: bool) -> int:
    """List the schedules: when they run next and ran last."""
    raw = await server.get("schedules")
    if as_json:
        output.line(raw)
    else:
        found = decode(raw, dict[str, list[dict[str, Any]]]).get("schedules", [])
        output.table(HEADS, (_cells(schedule) for schedule in found))
    return Exit.OK


@schedule_command.command("get")
@click.argument("name")
@client_command
async def get_schedule(server: Server, *, name: str, as_json: bool) -> int:
    """Show a schedule."""
    return _show(await server.get(path_of("schedules", name)), as_json=as_json)


@schedule_command.command("set")
@click.argument("name")
@click.argument("type")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--cron", metavar="EXPRESSION", help="Minute, hour, day of month, month, day of week, as '30 2 * * *'.")
@click.option("--every", type=Duration(), help="Instead of --cron: this often, such as 30s or 12h.")
@click.option("--timezone", metavar="ZONE", help="The clock that --cron goes by, such as Europe/Berlin.  [default: UTC]")
@click.option("--missed", type=click.Choice(["skip", "once"]), help="Runs that no server was there for.  [default: skip]")
@click.option("--overlap", type=click.Choice(["allow", "skip"]), help="If the last task has not ended.  [default: allow]")
@click.option("--paused", is_flag=True, help="Let it rest until it is resumed.")
@task_options
@client_command
async def set_schedule(
    server: Server,
    *,
    name: str,
    type: str,
    pairs: tuple[str, ...],
    payload: str | None,
    as_json: bool,
    **members: Any,
) -> int:
    """Submit a task by the clock. A schedule of this name is replaced.

    KEY=VALUE and --payload are as in `dolgo submit`.
    """
    when = {name: members.pop(name) for name in ("cron", "every", "timezone", "missed", "overlap", "paused")}
    if (when["cron"] is None) == (when["every"] is None):
        raise click.UsageError("Give either --cron or --every.")
    body = {"type": type, "payload": read_payload(payload, pairs), **given(when)}
    body |= {"options": given(members)} if given(members) else {}
    raw = await server.send("PUT", path_of("schedules", name), body=msgspec.json.encode(body), repeatable=True)
    return _show(raw, as_json=as_json)


@schedule_command.command("delete")
@click.argument("name")
@client_command
async def delete_schedule(server: Server, *, name: str, as_json: bool) -> int:
    """Forget a schedule. Tasks that it has submitted stay."""
    # Repeated after it took, it would find nothing to delete.
    await server.send("DELETE", path_of("schedules", name), repeatable=False)
    if as_json:
        output.json({"deleted": name})
    else:
        output.talk(f"{output.plain(name)} is deleted.")
    return Exit.OK


@schedule_command.command("run")
@click.argument("name")
@client_command
async def run_schedule(server: Server, *, name: str, as_json: bool) -> int:
    """Submit the task of a schedule now, and print its id."""
    raw, existing = await server.submit(path_of("schedules", name, "run"))
    if existing:
        output.talk(EXISTING)
    if as_json:
        output.line(raw)
    else:
        output.data(output.plain(decode(raw, Short).id))
    return Exit.OK


@schedule_command.command("pause")
@click.argument("name")
@client_command
async def pause_schedule(server: Server, *, name: str, as_json: bool) -> int:
    """Let a schedule rest. It can still be run."""
    return _show(await server.send("PUT", path_of("schedules", name, "pause"), repeatable=True), as_json=as_json)


@schedule_command.command("resume")
@click.argument("name")
@client_command
async def resume_schedule(server: Server, *, name: str, as_json: bool) -> int:
    """Let a schedule go on."""
    return _show(await server.send("DELETE", path_of("schedules", name, "pause"), repeatable=True), as_json=as_json)


def _show(raw: bytes, *, as_json: bool) -> int:
    if as_json:
        output.line(raw)
    else:
        schedule = decode(raw, dict[str, Any])
        options = {name: value for name, value in (schedule.get("options") or {}).items() if value is not None}
        output.members((schedule | {"options": options}).items())
    return Exit.OK


def _cells(schedule: dict[str, Any]) -> list[object]:
    every, zone = schedule.get("every"), schedule.get("timezone")
    when = f"{schedule.get('cron')} {zone}" if every is None else f"every {Seconds(0).show(float(every))}"
    upcoming, last = schedule.get("next") or [None], schedule.get("last_run") or {}
    state = "paused" if schedule.get("paused") else schedule.get("last_error")
    return [
        schedule.get("name"),
        when,
        schedule.get("type"),
        output.moment(upcoming[0]),
        output.moment(last.get("time")),
        state,
    ]
