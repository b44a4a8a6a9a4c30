"""Tasks that each depend on the one before, so that one runs at a time: what lies between two of them is all dolgo's.

What it is compared with is a client on the same machine that posts a task, waits for its end and posts the next.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from bench import load
from bench.figures import Figure
from bench.place import Place
from bench.scale import SLOTS, Scale
from bench.service import serving


def measure(scale: Scale, place: Place) -> list[Figure]:
    """Milliseconds a link, from start to end; and from the end of one to the start of the next."""
    link = Figure(f"chain of {scale.chain:,}, a link", "ms", [], floor_is="a client waits for each")
    middle = Figure(f"chain of {scale.chain:,}, end → start, p50", "ms", [])
    late = Figure(f"chain of {scale.chain:,}, end → start, p99", "ms", [])
    for _ in range(scale.repeats):
        gaps, whole, by_hand = _chain(scale, place)
        link.dolgo.append(whole / scale.chain * 1e3)
        link.floor.append(by_hand * 1e3)
        middle.dolgo.append(median(gaps) * 1e3)
        late.dolgo.append(sorted(gaps)[int(len(gaps) * 0.99)] * 1e3)
    return [link, middle, late]


def _chain(scale: Scale, place: Place) -> tuple[list[float], float, float]:
    """Seconds from each end to the next start, from first start to last end, and of a task by hand."""
    links = [
        {"type": "nothing", "payload": {"n": n}, "ref": str(n), "depends_on": [f"ref:{n - 1}"] * (n > 0)}
        for n in range(scale.chain)
    ]
    with serving(place, slots=0) as service:
        done = service.done()
        service.submit(links, batch=scale.chain)
    with serving(place, slots=SLOTS) as service:
        service.until_done(done + scale.chain)
        times = service.times(scale.chain)
        by_hand = load.submit_and_wait(service.url, connections=1, seconds=scale.seconds)
    gaps = [started - ended for (_, ended), (started, _) in pairwise(times)]
    return gaps, times[-1][1] - times[0][0], 1 / by_hand.rate
