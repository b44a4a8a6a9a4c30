"""A server with a thousand slots and nothing to do."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from bench import usage
from bench.figures import Figure, Target
from bench.scale import IDLE_SLOTS, Scale
from bench.service import bare, serving
from tests.blackbox.server import Process

LOOK = 0.02  # seconds between two looks for commits: those of an idle server are seconds apart


def measure(scale: Scale, place: Path) -> list[Figure]:
    """Its CPU, its commits and what it writes."""
    with serving(place, slots=IDLE_SLOTS) as service:
        time.sleep(scale.settle_seconds)
        watched = sqlite3.connect(place / "dolgo.db", isolation_level=None)
        try:
            cpu, commits, written = _watch(service.server, scale.idle_seconds, watched)
        finally:
            watched.close()
    with bare() as process:
        floor, _, _ = _watch(process, scale.idle_seconds, None)
    work = f"idle, {IDLE_SLOTS:,} slots"
    return [
        Figure(f"{work}: CPU of one core", "%", [cpu * 100], [floor * 100], "bare Starlette", targets=[Target(most=1.0)]),
        Figure(f"{work}: commits", "a minute", [commits * 60]),
        Figure(f"{work}: written", "bytes/s", [written]),
    ]


def _watch(process: Process, seconds: float, store: sqlite3.Connection | None) -> tuple[float, float, float]:
    """CPU seconds, commits and bytes written, each a second."""
    commits, version = 0, _version(store)
    used, written, began = usage.cpu(process), usage.written(process), time.monotonic()
    while time.monotonic() < began + seconds:
        time.sleep(LOOK)
        now = _version(store)
        commits += now != version
        version = now
    took = time.monotonic() - began
    return (usage.cpu(process) - used) / took, commits / took, (usage.written(process) - written) / took


def _version(store: sqlite3.Connection | None) -> int:
    """Changes when another connection has committed."""
    return int(store.execute("PRAGMA data_version").fetchone()[0]) if store else 0
