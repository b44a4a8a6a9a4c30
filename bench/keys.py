"""Tasks that wait when a worker comes, beside a great many of one limit key of which no more may run.

The limit looks at every claim, so it is measured alone as well.
"""

from __future__ import annotations

from bench import drain
from bench.errors import Invalid
from bench.figures import Figure, Target
from bench.place import Place
from bench.scale import SLOTS, Scale
from bench.service import Service, serving

KEY = "saturated"
BESIDE = [Target(least=0.9, ratio=True)]


def measure(scale: Scale, place: Place) -> list[Figure]:
    """Tasks a second under a limit, and beside the tasks that it keeps back; in turn with an empty store."""
    limit = Figure(f"drain of {scale.drained:,} under a limit by key", "tasks/s", [], floor_is="no limit")
    work = f"drain of {scale.drained:,} beside {scale.keyed:,} of a saturated key"
    beside = Figure(work, "tasks/s", [], floor_is="the limit alone", targets=BESIDE)
    with serving(place, slots=0) as service:
        service.limit(max_running_per_key=1)
        service.fill(scale.keyed, batch=scale.batch, limit_key=KEY)
    for _ in range(scale.repeats):
        with place.another() as empty:
            limit.floor.append(drain.once(scale, empty))
        with place.another() as limited:
            with serving(limited, slots=0) as service:
                service.limit(max_running_per_key=1)
            limit.dolgo.append(drain.once(scale, limited))
        beside.dolgo.append(_drain(scale, place))
    beside.floor = limit.dolgo
    return [limit, beside]


def _drain(scale: Scale, place: Place) -> float:
    """As `drain.once`, while a task that does not end has the only place of the key."""
    with serving(place, slots=0) as service:
        done = service.done()
        (holder,) = service.submit([{"type": "hold", "limit_key": KEY}], batch=1)
        service.fill(scale.drained, batch=scale.batch)
    with serving(place, slots=SLOTS) as service:
        service.until_done(done + scale.drained)
        began, ended = service.check(scale.drained)
        _let_go(service, holder, scale)
    return scale.drained / (ended - began)


def _let_go(service: Service, holder: str, scale: Scale) -> None:
    """End the task that holds the key, and have none take its place. Raises Invalid if one had run."""
    service.pause()
    counts = service.counts()
    if (counts["in_progress"], counts["queued"]) != (1, scale.keyed):
        raise Invalid(f"more ran of a key than may: {counts}")
    service.cancel(holder)
    service.resume()
