"""python -m tests.faults.http --requests 200000 --seed 1: a long run of the fuzzer against a server of its own."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.blackbox.client import until
from tests.blackbox.server import Server
from tests.faults.http import fuzz
from tests.faults.http.mutate import attempt
from tests.faults.http.watcher import WITHIN, Watcher
from tests.faults.http.wire import Broken

WARM = 2_000  # requests before memory is looked at: what is made once is made by then
SHOWN = 20  # failures


def main() -> int:
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), "--drain-timeout", "0").ready() as server:
        port = int(server.argv[3])
        if asked.only is not None:
            return _replay(port, asked.seed, asked.only)
        return _run(server, port, asked.seed, asked.requests)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.http", description="Send mutated requests to a server.")
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", type=int, metavar="K", help="play the attempt of this number alone, and show it")
    return parser.parse_args()


def _run(server: Server, port: int, seed: int, requests: int) -> int:
    _say(f"seed {seed}, {requests} requests")
    fuzz.run(port, seed + 1, WARM)
    memory, files, begun = fuzz.rss(server.pid), fuzz.files(server.pid), time.monotonic()
    with Watcher(port, WITHIN) as watcher:
        figures = fuzz.run(port, seed, requests)
    took = time.monotonic() - begun
    until(lambda: fuzz.files(server.pid) <= files, 10.0, "the files are closed")
    _say(f"{took:.0f} s, {requests / took:.0f} a second; slowest of {watcher.asked} good ones: {watcher.slowest * 1000:.0f} ms")
    _say(f"memory {memory / 1e6:.1f} MB before, {fuzz.rss(server.pid) / 1e6:.1f} MB after; open files as before")
    _say(f"answers: {dict(sorted(figures.statuses.items()))}; attempts: {dict(figures.kinds)}")
    for number, wrong in figures.failures[:SHOWN]:
        _say(f"--seed {seed} --only {number}: {wrong}")
    failed = "Traceback" in server.said()
    if failed:
        server.show()
    _say(f"{len(figures.failures)} failures{', and the log has a traceback' if failed else ''}")
    return 1 if figures.failures or failed else 0


def _replay(port: int, seed: int, number: int) -> int:
    made = attempt(seed, number)
    for piece in made.pieces:
        _say(f"sent {piece!r}")
    try:
        for response in fuzz.play(port, made):
            _say(f"came {response}")
    except Broken as error:
        _say(str(error))
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
