"""The tables of docs/explanation/performance.md, made from a file that `bench.peers` wrote: `python -m bench.peers.page FILE`

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
from bench.peers.report import killed, spread
from bench.peers.session import Line, Measured

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
HEADS = ("", "enqueue/s", "bulk/s", "drain/s", "CPU a task", "idle commands/s", "worker killed")


def load(path: Path) -> Measured:
    """What was measured."""
    return msgspec.json.decode(path.read_bytes(), type=Measured)


def filled(page: str, measured: Measured) -> str:
    """The page with its tables made anew."""
    for make in (rates, web, settings, machine):
        name, table = make.__name__, make(measured)
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(page):
            raise SystemExit(f"the page has no place for {name}")
        page = mark.sub(lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", page, count=1)
    return page


def rates(measured: Measured) -> str:
    """A table for each lane."""
    return "\n\n".join(
        f"AOF `{lane}`:\n\n{_table(HEADS, [_row(line) for line in lines])}" for lane, lines in measured.lanes.items()
    )


def _row(line: Line) -> tuple[str, ...]:
    if line.floors:
        submit, drain = spread([floor.submit for floor in line.floors]), spread([floor.drain for floor in line.floors])
        return ("*Lua alone*", "", submit, drain, "", "", "")
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
    for lane, lines in measured.lanes.items():
        for seen in [line.web for line in lines if line.web]:
            late = " and ".join(f"{number(median(values) * 1e3)} ms" for values in _times(seen))
            rows.append((f"`{lane}`", spread([one.submit for one in seen]), spread([one.done for one in seen]), late))
    return _table(("AOF", "submit/s, 32 connections", "submit → done/s, 32 connections", "1 connection, p50 and p99"), rows)


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


def machine(measured: Measured) -> str:
    """What it was measured on."""
    facts = measured.facts
    of = f"{facts['cores']} cores ({facts['cpu']}), {facts['system']}, Python {facts['python']}, Redis {facts['redis']}"
    return f"Measured {facts['began']} UTC on {of}, load average {facts['load_average_at_start']:.2f} at the start."


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8"), load(Path(sys.argv[1]) if sys.argv[1:] else RESULTS)), "utf-8")
