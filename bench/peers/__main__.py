"""`python -m bench.peers`: floors, dolgo and its peers on one Redis after the other, a table at the end, and a file of JSON."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from bench.errors import Invalid
from bench.peers import report, session, venvs
from bench.peers.broker import LANES
from bench.peers.catalogue import PEERS
from bench.peers.cores import leave_the_first
from bench.peers.scale import FULL, QUICK

LATEST = Path(__file__).parents[1] / "peers.json"
NAMES = ("floor", "dolgo", *PEERS)


def main() -> int:
    """Measure, print, write; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    options = _options().parse_args()
    leave_the_first()
    talk = Console(stderr=True, highlight=False)
    scale = session.chosen(QUICK if options.quick else FULL, options.repeats, options.tasks)
    plan = session.Plan(tuple(options.only or NAMES), tuple(options.lane or LANES), scale, crash=not options.no_kill)
    try:
        for adapter in sorted({PEERS[name].adapter for name in plan.names if name in PEERS}):
            venvs.ensure(adapter, talk.print)
        measured = session.measure(plan, lambda step: talk.print(f"[dim]{step} …"))
    except Invalid as error:
        talk.print(f"[red]The run is invalid:[/] {error}.")
        return 1
    report.show(measured, Console(width=None if sys.stdout.isatty() else 170))
    report.write(options.out, measured)
    talk.print(f"[dim]written to {options.out}")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure dolgo on Redis beside other task queues.")
    parser.add_argument("--only", type=lambda names: names.split(","), help=f"some of {','.join(NAMES)}")
    parser.add_argument("--lane", action="append", choices=LANES, help="how Redis persists; repeatable; default: all, one by one")
    parser.add_argument("--repeats", type=int, help=f"after one to warm up; default: {FULL.repeats}")
    parser.add_argument("--tasks", type=int, help=f"in a drain; default: as many as take {FULL.seconds:g} s")
    parser.add_argument("--no-kill", action="store_true", help="leave out what a killed worker loses")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: whether it works, not how fast")
    parser.add_argument("--out", type=Path, default=LATEST, help="default: bench/peers.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
