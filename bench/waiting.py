"""A great many waiting tasks: half are due tomorrow in the queue that is measured, half are due in a queue that nobody serves."""

from __future__ import annotations

import time

import redis

from bench.figures import Figure, Target
from bench.place import Place
from bench.scale import Scale
from bench.service import serving

TOMORROW = 86_400.0  # seconds
OVERHEAD = 500.0  # bytes of disk a task may take beyond its payload
MEMORY = 1_000.0  # bytes of a Redis' memory, events included


def fill(scale: Scale, place: Place) -> list[Figure]:
    """Have them submitted. How fast that went, and what they take on disk."""
    with serving(place, slots=0) as service:
        before = size(place)
        began = time.perf_counter()
        service.fill(scale.waiting // 2, batch=scale.batch, delay=TOMORROW)
        service.fill(scale.waiting // 2, batch=scale.batch, queue="unserved")
        seconds = time.perf_counter() - began
    payload = sum(len(f'{{"n":{n}}}') for n in range(scale.waiting // 2)) * 2
    overhead = (size(place) - (before if place.kind else 0) - payload) / scale.waiting
    return [
        Figure(f"submit in batches of {scale.batch:,}", "tasks/s", [scale.waiting / seconds]),
        Figure(
            f"{'memory' if place.kind else 'disk'} a waiting task takes beside its payload", "bytes", [overhead],
            targets=[Target(most=MEMORY if place.kind else OVERHEAD)],
        ),
    ]  # fmt: skip


def size(place: Place) -> int:
    """Bytes of disk the database takes, or of memory all that the Redis holds takes."""
    if place.kind is None:
        return sum(path.stat().st_size for path in place.folder.glob("dolgo.db*"))
    return int(redis.Redis.from_url(place.kind).info("memory")["used_memory"])
