"""The table, and the file."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from bench.figures import Figure, number

Lanes = dict[str, list[Figure]]


def show(lanes: Lanes, facts: dict[str, object], console: Console) -> None:
    """Print a table: dolgo, floor, their ratio, and what was to be reached."""
    table = Table(
        "",
        "dolgo",
        "CPU a task",
        "floor",
        "ratio",
        "to reach",
        "",
        title="dolgo beside its floors: medians",
        title_justify="left",
    )
    for column in table.columns[1:5]:
        column.justify = "right"
    for lane, figures in lanes.items():
        table.add_section()
        table.add_row(f"[bold]{lane}")
        for figure in figures:
            table.add_row(*_cells(figure))
    console.print(table)
    console.print(*(f"{name}: {value}" for name, value in facts.items()), sep="\n", style="dim", highlight=False)


def write(path: Path, lanes: Lanes, facts: dict[str, object]) -> None:
    """Everything as JSON: every repeat, each target and whether it was met."""
    shown = {lane: [_plain(figure) for figure in figures] for lane, figures in lanes.items()}
    text = msgspec.json.format(msgspec.json.encode({"facts": facts, "figures": shown}), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + b"\n")


def _cells(figure: Figure) -> list[str]:
    ratio = figure.ratio
    floor = f"{number(median(figure.floor))}  {figure.floor_is}" if figure.floor else ""
    return [
        f"  {figure.work}",
        f"{number(figure.value)} {figure.unit}",
        f"{number(median(figure.cpu) * 1e6)} µs" if figure.cpu else "",
        floor,
        f"{ratio:.0%}" if ratio is not None else "",
        ", ".join(target.text() for target in figure.targets),
        {True: "[green]✓", False: "[red]✗", None: ""}[figure.met],
    ]


def _plain(figure: Figure) -> dict[str, object]:
    told = {
        "value": figure.value,
        "ratio": figure.ratio,
        "met": figure.met,
        "to_reach": [target.text() for target in figure.targets],
    }
    return {**msgspec.to_builtins(figure), **told}
