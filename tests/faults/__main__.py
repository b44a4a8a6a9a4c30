"""`python -m tests.faults`: long storms, frozen writers, and the proof that the checker tells what is wrong.

Prints seeds, figures and what is wrong. A run in which something is wrong is kept; `--replay FOLDER` judges it again, `--seed`
makes the same choices again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.judge import Verdict, judge
from tests.faults.proof import proof, proofs_of
from tests.faults.records import read
from tests.faults.storm import Plan, shown, storm
from tests.faults.zombies import Plan as Rounds
from tests.faults.zombies import zombies

STORES = ("sqlite", "redis", "postgres")
PARTS = ("storm", "zombies", "proof")
AT_ONCE = 50  # tasks in flight when a worker is frozen
WITHIN = 3 * 3_600.0  # seconds a storm may take


def main() -> int:
    """Run it; 1 if something is wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    options = _options().parse_args()
    if options.replay:
        return _tell("replay", judge(read(options.replay)))
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    parts: Sequence[str] = options.only or PARTS
    codes = []
    for store in options.store or STORES:
        if "storm" in parts:
            plan = Plan(store, seed, options.cycles, options.tasks, lease=options.lease, within=WITHIN)
            codes.append(_keep(f"storm of {store}, seed {seed}", lambda folder, plan=plan: storm(plan, folder, _say)))  # type: ignore[misc]
        if "zombies" in parts:
            rounds = Rounds(store, frozen=options.zombies, at_once=AT_ONCE, lease=options.lease)
            codes.append(_keep(f"frozen writers of {store}", lambda folder, plan=rounds: zombies(plan, folder, _say)))  # type: ignore[misc]
        if "proof" in parts:
            codes += [_prove(mutant) for mutant in proofs_of(store)]
    return max(codes, default=0)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES, help="all if not given; may be given twice")
    parser.add_argument("--cycles", type=int, default=500, metavar="N", help="faults of a storm")
    parser.add_argument("--tasks", type=int, default=20_000, metavar="N", help="tasks of a storm")
    parser.add_argument("--zombies", type=int, default=1_000, metavar="N", help="frozen writers")
    parser.add_argument("--lease", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, metavar="N", help="makes the same choices again")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; all if not given")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="judge the records of a run again")
    return parser


def _keep(what: str, run: Callable[[Path], Verdict]) -> int:
    """Run in a folder of its own, which is kept if something is wrong or the run failed."""
    folder = Path(tempfile.mkdtemp(prefix="dolgo-faults-"))
    begun = time.monotonic()
    _say(f"{what}, in {folder}")
    try:
        verdict = run(folder)
    except BaseException as error:
        _say(f"{what}: it failed, and its records are in {folder}: {error!r}")
        raise
    code = _tell(f"{what}, {time.monotonic() - begun:.0f} s", verdict)
    if code:
        _say(f"its records are in {folder}")
    else:
        shutil.rmtree(folder)
    return code


def _prove(mutant: str) -> int:
    folder = Path(tempfile.mkdtemp(prefix="dolgo-faults-"))
    wrong = proof(mutant, folder)
    _say(f"proof: {wrong or f'{mutant} is told apart as it should be'}")
    shutil.rmtree(folder)
    return 1 if wrong else 0


def _tell(what: str, verdict: Verdict) -> int:
    print(json.dumps({"run": what, **shown(verdict)}, indent=1, ensure_ascii=False), flush=True)  # noqa: T201
    return 1 if verdict.wrong else 0


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
