"""Turns between writers: one process that takes turn after turn, and how many of them another has to let go by.

Each is a process of its own: `python -m tests.faults.turns FILE MUTANT hog`, and the number of wishes instead of `hog`.
"""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dolgo.store.sqlite.turnstile import Turnstile
from tests.faults.mutants import break_it

ROOT = Path(__file__).parents[2]
A_TURN = 0.002  # seconds, as a commit takes
BETWEEN = 0.01  # seconds between two wishes of the one that asks
LET_BY = 3  # turns that another may have before the one that waits
NOBODY = "none"  # no mutant


def most_let_by(folder: Path, *, wishes: int, mutant: str = NOBODY) -> int:
    """How many turns a hog has had, at most, while another waited for one."""
    path = str(folder / "turns")
    argv = [sys.executable, "-m", "tests.faults.turns", path, mutant]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([*argv, "hog"], env=environ, stdout=subprocess.PIPE, text=True) as hog:
        try:
            assert hog.stdout is not None
            assert hog.stdout.readline() == "ready\n"
            asked = subprocess.run([*argv, str(wishes)], env=environ, capture_output=True, text=True, check=True, timeout=60)
        finally:
            hog.kill()
    return int(asked.stdout)


@contextmanager
def counter(path: str) -> Iterator[mmap.mmap]:
    """Eight bytes that processes share."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(file, 8)
    with mmap.mmap(file, 8) as shared:
        yield shared


def hog(path: str) -> None:
    turnstile, turns = Turnstile(path), 0
    with counter(path) as shared:
        while True:
            with turnstile:
                turns += 1
                shared[:] = struct.pack("q", turns)
                over = time.monotonic() + A_TURN
                while time.monotonic() < over:
                    pass
            if turns == 1:
                print("ready", flush=True)  # noqa: T201


def ask(path: str, wishes: int) -> int:
    """The most, or the first number that is too large."""
    turnstile, most = Turnstile(path), 0
    with counter(path) as shared:
        for _ in range(wishes):
            if most > LET_BY:
                break
            (before,) = struct.unpack("q", shared[:])
            with turnstile:
                (after,) = struct.unpack("q", shared[:])
            most = max(most, after - before)
            time.sleep(BETWEEN)
    return most


if __name__ == "__main__":
    file, name, role = sys.argv[1:]
    if name != NOBODY:
        break_it(name)
    if role == "hog":
        hog(file)
    print(ask(file, int(role)))  # noqa: T201
