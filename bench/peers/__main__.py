"""`python -m bench.peers`: floors, dolgo and its peers on one server; a table at the end, and a file of JSON."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from bench.errors import Invalid
from bench.peers import report, session, venvs
from bench.peers.catalogue import PEERS
from bench.peers.cores import leave_the_first
from bench.peers.places import PLACES, Where
from bench.peers.scale import FULL, QUICK

FOLDER = Path(__file__).parents[1]


def main() -> int:
    """Measure, print, write; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    options = _options().parse_args()
    leave_the_first()
    talk = Console(stderr=True, highlight=False)
    scale = session.chosen(QUICK if options.quick else FULL, options.repeats, options.tasks)
    where = PLACES[options.on]
    out = options.out or FOLDER / latest(where)
    try:
        names = chosen(options.only, names_on(where), "--only")
        lanes = chosen(options.lane, where.lanes, "--lane")
        plan = session.Plan(names, lanes, scale, crash=not options.no_kill, on=where.name)
        for adapter in sorted({PEERS[name].adapter for name in plan.names if name in PEERS}):
            venvs.ensure(adapter, talk.print)
        measured = session.measure(plan, lambda step: talk.print(f"[dim]{step} …"))
    except Invalid as error:
        talk.print(f"[red]The run is invalid:[/] {error}.")
        return 1
    report.show(measured, Console(width=None if sys.stdout.isatty() else 170))
    report.write(out, measured)
    talk.print(f"[dim]written to {out}")
    return 0


def names_on(where: Where) -> tuple[str, ...]:
    """Whom there is to measure."""
    return ("floor", *where.own, *(peer.name for peer in PEERS.values() if peer.on == where.name))


def latest(where: Where) -> str:
    """The file that a run is written to."""
    return "peers.json" if where.name == "redis" else f"peers-{where.name}.json"


def chosen(asked: list[str] | None, there: tuple[str, ...], option: str) -> tuple[str, ...]:
    """What was asked for, or all there is. Raises Invalid if something of it is not there."""
    for name in asked or ():
        if name not in there:
            raise Invalid(f"{option} takes some of {', '.join(there)}, and not {name}")
    return tuple(asked or there)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure dolgo beside other task queues.")
    parser.add_argument("--on", choices=PLACES, default="redis", help="what all keep their tasks on; default: redis")
    parser.add_argument(
        "--only", type=lambda names: names.split(","), help="some of floor, dolgo and the peers, with commas between"
    )
    parser.add_argument(
        "--lane", action="append", help="how the server keeps what it is told; repeatable; default: all, one by one"
    )
    parser.add_argument("--repeats", type=int, help=f"after one to warm up; default: {FULL.repeats}")
    parser.add_argument("--tasks", type=int, help=f"in a drain; default: as many as take {FULL.seconds:g} s")
    parser.add_argument("--no-kill", action="store_true", help="leave out what a killed worker loses")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: whether it works, not how fast")
    parser.add_argument("--out", type=Path, help="default: bench/peers.json, bench/peers-postgres.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
