"""`python -m bench`: floor and dolgo side by side, a table at the end, and bench/latest.json."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import chain, drain, fan, idle, keys, later, load, machine, report, submit, wait, waiting
from bench.errors import Invalid
from bench.figures import Figure, beside
from bench.place import place
from bench.scale import FULL, IDLE_SLOTS, QUICK, SLOTS, Scale
from bench.service import OPTIONS

LATEST = Path(__file__).with_name("latest.json")
LOADS = {"submit": submit.measure, "wait": wait.measure, "drain": drain.measure}
LIFE = {"later": later.measure, "keys": keys.measure, "chain": chain.measure, "fan": fan.measure}
PARTS = (*LOADS, "idle", "waiting", *LIFE)

Say = Callable[[str], None]


def main() -> int:
    """Measure, print, write; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    options = _options().parse_args()
    parts = options.only or PARTS
    scale = QUICK if options.quick else FULL
    talk = Console(stderr=True, highlight=False)
    try:
        lanes = measure(scale, parts, options.store, lambda step: talk.print(f"[dim]{step} …"))
    except Invalid as error:
        talk.print(f"[red]The run is invalid:[/] {error}.")
        return 1
    facts = {**machine.facts(), **settings(scale, options.store)}
    report.show(lanes, facts, Console(width=None if sys.stdout.isatty() else 150))
    report.write(options.out, lanes, facts)
    talk.print(f"[dim]written to {options.out}")
    return 0


def measure(scale: Scale, parts: tuple[str, ...], store: str | None, say: Say) -> report.Lanes:
    """Every part that is wanted: on an empty store, beside many tasks that wait, and what only some tasks have to do with."""
    empty: list[Figure] = []
    for name in [name for name in LOADS if name in parts]:
        say(name)
        with place(store) as here:
            empty += LOADS[name](scale, here, floor=True)
    if "idle" in parts:
        say("idle")
        with place(store) as here:
            empty += idle.measure(scale, here)
    lanes = {"nothing waits": empty}
    if "waiting" in parts:
        lanes[f"{scale.waiting:,} tasks wait"] = _waiting(scale, parts, store, empty, say)
    lives: list[Figure] = []
    for name in [name for name in LIFE if name in parts]:
        say(name)
        with place(store) as here:
            lives += LIFE[name](scale, here)
    return {**lanes, "schedules, limits, dependencies": lives} if lives else lanes


def _waiting(scale: Scale, parts: tuple[str, ...], store: str | None, empty: list[Figure], say: Say) -> list[Figure]:
    with place(store) as here:
        say(f"submitting {scale.waiting:,} tasks")
        filled = waiting.fill(scale, here)
        full: list[Figure] = []
        for name in [name for name in LOADS if name in parts]:
            say(f"{name} beside them")
            full += LOADS[name](scale, here, floor=False)
    return filled + beside(full, empty)


def settings(scale: Scale, store: str | None) -> dict[str, object]:
    """What was run, and how."""
    return {
        "load": load.generator(),
        "server": shlex.join(["dolgo", "serve", "--slots", f"0|{SLOTS}|{IDLE_SLOTS}", *OPTIONS[2:], "--tasks", "bench/types"]),
        "store": "redis" if store else "sqlite, synchronous=FULL, temporary folder",
        "scale": {name: getattr(scale, name) for name in scale.__struct_fields__},
    }


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure dolgo beside the floors it stands on.")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: whether it works, not how fast")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; repeatable")
    parser.add_argument("--store", metavar="redis://…", help="a Redis that runs, instead of a file; what is measured stays in it")
    parser.add_argument("--out", type=Path, default=LATEST, help="default: bench/latest.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
