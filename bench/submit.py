"""Tasks posted one a request, each on disk before it is answered."""

from __future__ import annotations

from bench import load, usage
from bench.errors import Invalid
from bench.figures import Figure, Target
from bench.place import Place
from bench.scale import CONNECTIONS, SLOTS, Scale
from bench.service import Service, http_floor, serving

TARGETS = [Target(least=10_000), Target(least=0.7, ratio=True)]


def measure(scale: Scale, place: Place, *, floor: bool) -> list[Figure]:
    """The rate of the web alone beside bare Starlette, and that of a server which runs the tasks meanwhile."""
    alone = Figure(f"submit, {CONNECTIONS} connections", "tasks/s", [], floor_is="bare Starlette", targets=TARGETS)
    running = Figure("submit while they are run", "tasks/s", [])
    with serving(place, slots=0) as service:
        stored, done = service.stored(), service.done()
        for _ in range(scale.repeats):
            _one(service, alone, scale)
            if floor:
                with http_floor() as url:
                    alone.floor.append(load.submit(url, connections=CONNECTIONS, seconds=scale.seconds).rate)
        stored = service.stored() - stored
    with serving(place, slots=SLOTS) as service:
        _ended(service, done, stored)
        for _ in range(scale.repeats):
            stored, done = service.stored(), service.done()
            _one(service, running, scale)
            _ended(service, done, service.stored() - stored)
    return [alone, running]


def _ended(service: Service, done: int, tasks: int) -> None:
    """So many tasks, beside those that were done, are done and right."""
    service.until_done(done + tasks)
    service.check(tasks)


def _one(service: Service, figure: Figure, scale: Scale) -> None:
    stored, used = service.stored(), usage.cpu(service.server)
    seen = load.submit(service.url, connections=CONNECTIONS, seconds=scale.seconds)
    figure.dolgo.append(seen.rate)
    figure.cpu.append((usage.cpu(service.server) - used) / seen.answers)
    unanswered = service.stored() - stored - seen.answers
    if not 0 <= unanswered <= CONNECTIONS:  # requests that were under way when the clients left
        raise Invalid(f"{seen.answers} tasks were acknowledged, {seen.answers + unanswered} are stored")
