"""One task that many depend on, and one that depends on all of these."""

from __future__ import annotations

from typing import Any

from bench import drain
from bench.figures import Figure
from bench.place import Place
from bench.scale import SLOTS, Scale
from bench.service import serving


def measure(scale: Scale, place: Place) -> list[Figure]:
    """Tasks a second from the start of the first to the end of the last, beside as many that depend on nothing."""
    work = f"1 → {scale.fan:,} → 1"
    rate = Figure(work, "tasks/s", [], floor_is=f"drain of {scale.drained:,}")
    first = Figure(f"{work}: end of the first → start of one of the many", "ms", [])
    last = Figure(f"{work}: end of the many → start of the last", "ms", [])
    for _ in range(scale.repeats):
        with place.another() as empty:
            rate.floor.append(drain.once(scale, empty))
        times = _fan(scale, place)
        rate.dolgo.append(len(times) / (times[-1][1] - times[0][0]))
        first.dolgo.append((min(started for started, _ in times[1:]) - times[0][1]) * 1e3)
        last.dolgo.append((times[-1][0] - times[-2][1]) * 1e3)
    return [rate, first, last]


def _fan(scale: Scale, place: Place) -> list[tuple[float, float]]:
    """When each was begun and ended, in that order."""
    with serving(place, slots=0) as service:
        done = service.done()
        (first,) = service.submit([_task(0)], batch=1)
        many = service.submit([_task(n, depends_on=[first]) for n in range(1, scale.fan + 1)], batch=scale.batch)
        service.submit([_task(scale.fan + 1, depends_on=many)], batch=1)
    with serving(place, slots=SLOTS) as service:
        service.until_done(done + scale.fan + 2)
        return service.times(scale.fan + 2)


def _task(n: int, **options: Any) -> dict[str, Any]:
    return {"type": "nothing", "payload": {"n": n}, **options}
