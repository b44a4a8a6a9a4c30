"""What is printed, and how: data on stdout, talk on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

# What a terminal would obey instead of show; names and errors come from whoever submitted them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

WIDEST = 10_000  # characters of a table's line
READABLE = 30  # characters of the last cell, if it is folded


def plain(value: object) -> str:
    """The value as text that a terminal only shows."""
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def data(line: str) -> None:
    """Print a line of what was asked for."""
    click.echo(line)


def talk(line: str) -> None:
    """Print a line about how it goes."""
    click.echo(line, err=True)


def json(value: object) -> None:
    """Print a value as JSON, on one line."""
    line(msgspec.json.encode(value))


def line(raw: bytes) -> None:
    """Print JSON on one line, otherwise as it was sent."""
    data(msgspec.json.format(raw, indent=-1).decode())


def document(raw: bytes) -> None:
    """Print JSON on one line; on a terminal with white space for a reader."""
    if sys.stdout.isatty():
        data(plain(msgspec.json.format(raw, indent=2).decode()))
    else:
        line(raw)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, without columns that are empty; where nobody looks, lines with tabs between all the cells and no heads."""
    cells = [[plain(cell).replace("\n", " ").replace("\t", " ") for cell in line] for line in rows]
    if not sys.stdout.isatty():
        for line in cells:
            data("\t".join(line))
        return
    filled = [place for place in range(len(heads)) if not cells or any(line[place] for line in cells)]  # a terminal is narrow
    drawn = Table(*(heads[place].upper() for place in filled), box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in drawn.columns[:-1]:
        column.no_wrap = True  # an id in pieces is of no use
    drawn.columns[-1].overflow = "fold"
    drawn.columns[-1].min_width = min(READABLE, max((len(line[filled[-1]]) for line in cells), default=0))
    for line in cells:
        drawn.add_row(*(line[place] for place in filled))
    console = Console(markup=False, highlight=False)
    least = console.measure(drawn, options=console.options.update(width=WIDEST)).minimum
    console.width = max(console.width, least)  # if that is too wide, it is for the terminal to wrap
    console.print(drawn)


def members(values: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one a line, without those that have none."""
    for name, value in values:
        if value not in (None, [], {}, ""):
            data(f"{name}: {plain(value)}")


def age(seconds: Any) -> str:
    """A number of seconds in the unit that suits it."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"


def moment(time: Any) -> str:
    """A time as the server sends it, in this machine's zone and to the second; what is no time stays as it is."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError):
        return plain(time)
