"""Tasks that wait when a worker comes, beside a great many that are due tomorrow."""

from __future__ import annotations

from bench import drain
from bench.figures import Figure, Target
from bench.place import Place
from bench.scale import Scale
from bench.service import serving
from bench.waiting import TOMORROW

TARGETS = [Target(least=0.9, ratio=True)]


def measure(scale: Scale, place: Place) -> list[Figure]:
    """Tasks a second, in turn with an empty store."""
    work = f"drain of {scale.drained:,} beside {scale.later:,} due tomorrow"
    figure = Figure(work, "tasks/s", [], floor_is="nothing waits", targets=TARGETS)
    with serving(place, slots=0) as service:
        service.fill(scale.later, batch=scale.batch, delay=TOMORROW)
    for _ in range(scale.repeats):
        with place.another() as empty:
            figure.floor.append(drain.once(scale, empty))
        figure.dolgo.append(drain.once(scale, place))
    return [figure]
