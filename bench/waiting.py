"""A great many waiting tasks: half are due tomorrow in the queue that is measured, half are due in a queue that nobody serves."""

from __future__ import annotations

import time
from pathlib import Path

from bench.figures import Figure, Target
from bench.scale import Scale
from bench.service import serving

TOMORROW = 86_400.0  # seconds
OVERHEAD = 500.0  # bytes of disk a task may take beyond its payload


def fill(scale: Scale, place: Path) -> list[Figure]:
    """Have them submitted. How fast that went, and what they take on disk."""
    began = time.perf_counter()
    with serving(place, slots=0) as service:
        began = time.perf_counter()
        service.fill(scale.waiting // 2, batch=scale.batch, delay=TOMORROW)
        service.fill(scale.waiting // 2, batch=scale.batch, queue="unserved")
        seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in place.glob("dolgo.db*"))
    payload = sum(len(f'{{"n":{n}}}') for n in range(scale.waiting // 2)) * 2
    overhead = (size - payload) / scale.waiting
    return [
        Figure(f"submit in batches of {scale.batch:,}", "tasks/s", [scale.waiting / seconds]),
        Figure("disk a waiting task takes beside its payload", "bytes", [overhead], targets=[Target(most=OVERHEAD)]),
    ]
