"""The tables of docs/explanation/performance.md, made from files that `bench.peers` wrote: `python -m bench.peers.page [FILE …]`

What stands between two marks in the page is replaced, so that no figure is copied by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median

import msgspec

from bench.figures import number
from bench.peers.outcome import Run
from bench.peers.own_run import Web
from bench.peers.places import PLACES, Where
from bench.peers.report import killed, spread
from bench.peers.session import Line, Measured
from bench.soak import HEADS, Soaked
from bench.soak import lines as soaked_lines

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
RESULTS = Path(__file__).parents[1] / "results"  # what is shown
KEPT = ("peers.json", "peers-postgres.json", "soak.json")  # one that is not there yet is not shown


def load(path: Path) -> Measured | Soaked:
    """What was measured."""
    return msgspec.json.decode(path.read_bytes(), type=Soaked if path.name.startswith("soak") else Measured)


def filled(page: str, measured: Measured | Soaked) -> str:
    """The page with its tables made anew."""
    for name, table in _tables(measured).items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(page):
            raise SystemExit(f"the page has no place for {name}")
        page = mark.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", page, count=1)
    return page


def _tables(measured: Measured | Soaked) -> dict[str, str]:
    """What stands between two marks, by the name of the first."""
    if isinstance(measured, Soaked):
        return {"soak": f"{_table(HEADS, soaked_lines(measured.samples))}\n\n{machine(measured.facts)}"}
    on = f" on {measured.on}" if measured.on != "redis" else ""
    tables = {make.__name__: make(measured) for make in (rates, web, settings)}
    return {f"{name}{on}": table for name, table in {**tables, "machine": machine(measured.facts)}.items()}


def rates(measured: Measured) -> str:
    """A table for each lane."""
    where = PLACES[measured.on]
    heads = ("", "enqueue/s", "bulk/s", "drain/s", "CPU a task", f"idle {where.asked}/s", "worker killed")
    return "\n\n".join(
        f"{where.lane_is} `{lane}`:\n\n{_table(heads, [row for line in lines for row in _rows(line, where)])}"
        for lane, lines in measured.lanes.items()
    )


def _rows(line: Line, where: Where) -> list[tuple[str, ...]]:
    return _floor(line, where) if line.floors else [_row(line)]


def _floor(line: Line, where: Where) -> list[tuple[str, ...]]:
    submit, drain, plain = (spread([getattr(floor, name) for floor in line.floors]) for name in ("submit", "drain", "set"))
    loop, write = where.floor_is
    one = [(f"*{write}*", plain, *[""] * 5)] if where.floor_is_one_by_one else []
    return [(f"*{loop}*", "", submit, drain, "", "", ""), *one]


def _row(line: Line) -> tuple[str, ...]:
    fate = killed(line.crash, plain=True)
    if not line.runs:
        return (line.name, "", "", "invalid", "", "", fate)
    return (line.name, *_figures(line.runs, invalid=len(line.invalid)), fate)


def _figures(runs: list[Run], *, invalid: int) -> tuple[str, ...]:
    drain = spread([run.drain for run in runs]) + (f", {invalid} invalid" if invalid else "")
    return (
        spread([run.enqueue for run in runs]),
        spread([run.bulk for run in runs if run.bulk is not None]),
        drain,
        f"{number(median(run.cpu for run in runs) * 1e6)} µs",
        spread([run.idle for run in runs]),
    )


def web(measured: Measured) -> str:
    """What dolgo's clients saw over HTTP, lane by lane."""
    rows = []
    many = len(PLACES[measured.on].own) > 1
    for lane, lines in measured.lanes.items():
        for name, seen in [(line.name, line.web) for line in lines if line.web]:
            late = " and ".join(f"{number(median(values) * 1e3)} ms" for values in _times(seen))
            rows.append(
                (name if many else f"`{lane}`", spread([one.submit for one in seen]), spread([one.done for one in seen]), late)
            )
    return _table(
        ("" if many else "AOF", "submit/s, 32 connections", "submit → done/s, 32 connections", "1 connection, p50 and p99"), rows
    )


def _times(seen: list[Web]) -> tuple[list[float], list[float]]:
    return [one.done_p50 for one in seen], [one.done_p99 for one in seen]


def settings(measured: Measured) -> str:
    """What each was set to, and why."""
    rows = []
    for line in next(iter(measured.lanes.values())):
        if line.facts:
            facts = msgspec.convert(line.facts, Facts)
            versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
            set_to = "<br>".join(f"`{name}`: {why}" for name, why in facts.settings.items())
            rows.append((f"**{line.name}**<br>{versions}", set_to, facts.bulk or "none documented", facts.after_a_kill))
    return _table(
        ("", "set to, and why", "bulk", "what becomes of tasks whose worker is killed, by its documentation or source"), rows
    )


class Facts(msgspec.Struct):
    """Of what a line says of its name, what the page shows."""

    versions: dict[str, str]
    settings: dict[str, str]
    bulk: str
    after_a_kill: str


def machine(facts: dict[str, object]) -> str:
    """What it was measured on."""
    of = f"{facts['cores']} cores ({facts['cpu']}), {facts['system']}, Python {facts['python']}, {_servers(facts)}"
    return f"Measured {facts['began']} UTC on {of}, load average {facts['load_average_at_start']:.2f} at the start."


def _servers(facts: dict[str, object]) -> str:
    names = {"redis": "Redis", "postgres": "PostgreSQL", "rabbitmq": "RabbitMQ"}
    return ", ".join(f"{shown} {facts[name]}" for name, shown in names.items() if name in facts)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else filter(Path.exists, (RESULTS / name for name in KEPT)):
        text = filled(text, load(path))
    PAGE.write_text(text, "utf-8")
