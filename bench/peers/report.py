"""The table, and the file."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import number
from bench.peers.outcome import Crash
from bench.peers.places import PLACES, Where
from bench.peers.session import Line, Measured


def show(measured: Measured, console: Console) -> None:
    """Print a table: a row each, medians with their range."""
    where = PLACES[measured.on]
    heads = ("", "enqueue/s", "bulk/s", "drain/s", "CPU a task", f"idle {where.asked}/s", "after kill -9", "")
    table = Table(*heads, title="one worker process on one core: medians (least - most)", title_justify="left")
    for column in table.columns[1:6]:
        column.justify = "right"
    for lane, lines in measured.lanes.items():
        table.add_section()
        table.add_row(f"[bold]{where.lane_is} {lane}")
        for line in lines:
            for row in rows(line, where):
                table.add_row(*row)
    console.print(table)
    console.print(*(f"{name}: {value}" for name, value in measured.facts.items()), sep="\n", style="dim", highlight=False)


def write(path: Path, measured: Measured) -> None:
    """Everything as JSON: every repeat, every setting, every version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=2) + b"\n")


def rows(line: Line, where: Where) -> list[tuple[str, ...]]:
    """The cells of a name's rows, as the heads say."""
    wrong = f"[red]{len(line.invalid)} invalid" if line.invalid else ""
    if line.floors:
        submit, drain, plain = ([getattr(floor, name) for floor in line.floors] for name in ("submit", "drain", "set"))
        loop, write = where.floor_is
        one, many = (spread(plain), "") if where.floor_is_one_by_one else ("", spread(plain))
        return [(f"  {loop}", "", spread(submit), spread(drain), "", "", "", wrong), (f"  {write}", one, many, *[""] * 5)]
    if not line.runs:
        return [(f"  {line.name}", *[""] * 5, killed(line.crash), wrong)]
    runs = line.runs
    found = [
        (
            f"  {line.name}",
            spread([run.enqueue for run in runs]),
            spread([run.bulk for run in runs if run.bulk is not None]),
            spread([run.drain for run in runs]),
            f"{number(median(run.cpu for run in runs) * 1e6)} µs",
            spread([run.idle for run in runs]),
            killed(line.crash),
            wrong,
        )
    ]
    if line.web:
        done = f"{number(median(web.done_p50 for web in line.web) * 1e3)} ms"
        late = f"{number(median(web.done_p99 for web in line.web) * 1e3)} ms"
        found += [
            ("    over HTTP, 32 connections: submit", spread([web.submit for web in line.web]), *[""] * 6),
            ("    the same: submit → done", spread([web.done for web in line.web]), *[""] * 6),
            (f"    1 connection: submit → done p50 {done}, p99 {late}", *[""] * 7),
        ]
    return found


def spread(values: list[float]) -> str:
    """The median, with the least and the most of several."""
    if not values:
        return "-"
    middle = number(median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} - {number(max(values))})"


def killed(crash: Crash | None, *, plain: bool = False) -> str:
    """What a killed worker lost, and what was begun again; in colour unless `plain`."""
    if crash is None:
        return ""
    seen = crash.delivery
    lost = f"{seen.without_result} missing"
    shown = f"[red]{lost}[/]" if seen.without_result and not plain else lost
    return f"{shown}, {seen.twice} twice, {crash.seconds:.0f} s"
