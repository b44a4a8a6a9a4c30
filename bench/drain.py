"""Tasks that wait when a worker comes: how fast they are done.

They are submitted in batches to a server without slots. A server with slots is then started on the same file, and the store's own
times count: from the start of the first task to the end of the last. So starting processes is left out.
"""

from __future__ import annotations

from bench import store_floor
from bench.figures import Figure, Target
from bench.place import Place, folder
from bench.scale import SLOTS, Scale
from bench.service import serving

TARGETS = [Target(least=30_000), Target(least=0.5, ratio=True)]


def measure(scale: Scale, place: Place, *, floor: bool) -> list[Figure]:
    """Tasks a second of one worker process, beside the raw loop on a file of its own."""
    figure = Figure(f"drain of {scale.drained:,}", "tasks/s", [], floor_is="raw claim + settle", targets=TARGETS)
    for _ in range(scale.repeats):
        figure.dolgo.append(once(scale, place))
        if floor:
            with folder() as own:
                figure.floor.append(store_floor.drain(own / "floor.db", scale.drained))
    return [figure]


def once(scale: Scale, place: Place) -> float:
    """Tasks a second of one drain, beside whatever else the folder's database holds."""
    with serving(place, slots=0) as service:
        done = service.done()
        service.fill(scale.drained, batch=scale.batch)
    with serving(place, slots=SLOTS) as service:
        service.until_done(done + scale.drained)
        began, ended = service.check(scale.drained)
    return scale.drained / (ended - began)
