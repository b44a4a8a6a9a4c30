"""Tasks posted one a request, each answered once it is done."""

from __future__ import annotations

from bench import load, usage
from bench.errors import Invalid
from bench.figures import Figure, Target
from bench.load import Load
from bench.place import Place
from bench.scale import CONNECTIONS, SLOTS, STEADY_PART, Scale
from bench.service import Service, http_floor, serving

BARE = "bare Starlette"


def measure(scale: Scale, place: Place, *, floor: bool) -> list[Figure]:
    """Rate and latency of a closed loop at 32 connections and at one, and latency at a quarter of that rate."""
    with serving(place, slots=SLOTS) as service:
        stored, done = service.stored(), service.done()
        busy = [_closed(service, CONNECTIONS, scale) for _ in range(scale.repeats)]
        one = [_closed(service, 1, scale) for _ in range(scale.repeats)]
        rate = STEADY_PART * max(seen.rate for seen, _ in busy)
        steady = load.steady(service.url, rate=rate, seconds=scale.steady_seconds, wait=True)
        stored = service.stored() - stored
        answers = sum(seen.answers for seen, _ in busy + one) + steady.answers
        if not 0 <= stored - answers <= (CONNECTIONS + 1) * scale.repeats:  # under way when the clients left
            raise Invalid(f"{answers} tasks were answered, {stored} are stored")
        service.until_done(done + stored)
        service.check(stored)
    figures = _figures(busy, one, steady)
    if floor:
        _floors(figures, rate, scale)
    return figures


def _closed(service: Service, connections: int, scale: Scale) -> tuple[Load, float]:
    """What the clients saw, and the seconds of CPU a task took."""
    used = usage.cpu(service.server)
    seen = load.submit_and_wait(service.url, connections=connections, seconds=scale.seconds)
    return seen, (usage.cpu(service.server) - used) / seen.answers


def _figures(busy: list[tuple[Load, float]], one: list[tuple[Load, float]], steady: Load) -> list[Figure]:
    busy_loads, one_loads = [seen for seen, _ in busy], [seen for seen, _ in one]
    many, alone = f"submit → done, {CONNECTIONS} connections", "submit → done, 1 connection"
    quarter = f"submit → done at {STEADY_PART:.0%} load"
    return [
        Figure(many, "tasks/s", [seen.rate for seen in busy_loads], targets=[Target(least=6_000)], cpu=[cpu for _, cpu in busy]),
        _latency(f"{many}, p50", [seen.p50 for seen in busy_loads]),
        _latency(f"{many}, p99", [seen.p99 for seen in busy_loads]),
        Figure(alone, "tasks/s", [seen.rate for seen in one_loads], cpu=[cpu for _, cpu in one]),
        _latency(f"{alone}, p50", [seen.p50 for seen in one_loads], most=1.5),
        _latency(f"{alone}, p99", [seen.p99 for seen in one_loads], most=5),
        _latency(f"{quarter}, p50", [steady.p50]),
        _latency(f"{quarter}, p99", [steady.p99], most=15),
    ]


def _latency(work: str, seconds: list[float], most: float | None = None) -> Figure:
    return Figure(work, "ms", [second * 1e3 for second in seconds], targets=[Target(most=most)] if most else [])


def _floors(figures: list[Figure], rate: float, scale: Scale) -> None:
    """The same load on an application that answers at once, whose answers mean nothing."""
    with http_floor() as url:
        busy = [load.submit(url, connections=CONNECTIONS, seconds=scale.seconds) for _ in range(scale.repeats)]
        one = [load.submit(url, connections=1, seconds=scale.seconds) for _ in range(scale.repeats)]
        steady = load.steady(url, rate=rate, seconds=scale.steady_seconds, wait=False)
    for figure, floor in zip(figures, _figures([(seen, 0) for seen in busy], [(seen, 0) for seen in one], steady), strict=True):
        figure.floor, figure.floor_is = floor.dolgo, BARE
