"""A server with a thousand slots and nothing to do."""

from __future__ import annotations

import time

from bench import quiet, usage
from bench.figures import Figure, Target
from bench.place import Place
from bench.scale import IDLE_SLOTS, Scale
from bench.service import bare, serving


def measure(scale: Scale, place: Place) -> list[Figure]:
    """Its CPU, what it asks of its store and what it writes, each a second."""
    with serving(place, slots=IDLE_SLOTS) as service:
        time.sleep(scale.settle_seconds)
        watch, server = quiet.watch(place), service.server
        used, written, began = usage.cpu(server), usage.written(server), time.monotonic()
        asked = watch.wait(scale.idle_seconds)
        took = time.monotonic() - began
        cpu, bytes_written = (usage.cpu(server) - used) / took, (usage.written(server) - written) / took
    with bare() as process:
        used = usage.cpu(process)
        time.sleep(scale.idle_seconds)
        floor = (usage.cpu(process) - used) / scale.idle_seconds
    work = f"idle, {IDLE_SLOTS:,} slots"
    asked_of, _, a_while = watch.unit.partition(" ")
    return [
        Figure(f"{work}: CPU of one core", "%", [cpu * 100], [floor * 100], "bare Starlette", targets=[Target(most=1.0)]),
        Figure(f"{work}: {asked_of}", a_while, [asked / took * watch.per]),
        Figure(f"{work}: written", "bytes/s", [bytes_written]),
    ]
