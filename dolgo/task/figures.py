"""What `/metrics` shows besides what was counted: how this process stands, and in `serve` how the whole service does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.metrics import catalog
from dolgo.metrics.page import Page
from dolgo.metrics.tally import OTHER, Labels, Tally
from dolgo.queue.base import Queue
from dolgo.task.fleet import RUNNING, STATES, Fleet
from dolgo.task.manager import Manager
from dolgo.task.types import Gate
from dolgo.task.worker import Worker

log = logging.getLogger("dolgo.metrics")

ANSWER = 2.0  # seconds the store has for a scrape: without it the rest of the page is still worth having
MOST_QUEUES = 200  # of their own on the page; the others are shown together
LOOK = 1.0  # seconds between two looks how late the loop is

Readings = dict[str, list[tuple[Labels, float]]]


class Figures:
    """The page of one process. `whole`: with what the store says of the service, which is the same for all processes of it."""

    def __init__(
        self,
        manager: Manager,
        fleet: Fleet,
        worker: Worker | None,
        tally: Tally,
        *,
        version: str,
        slots: int,
        whole: bool,
        queue: Queue | None = None,
    ) -> None:
        self._manager = manager
        self._fleet = fleet
        self._worker = worker
        self._tally = tally
        self._version = version
        self._slots = slots
        self._whole = whole
        self._queue = queue
        self._page = Page(tally)
        self.started = False  # the store is open
        self.connections: Callable[[], int] = lambda: 0

    async def page(self, accept: str) -> tuple[bytes, str]:
        """What Prometheus reads, and its media type."""
        readings = self._own()
        if self._whole and self.started:
            try:
                async with asyncio.timeout(ANSWER):
                    readings |= await self._of_the_store()
            except (Refused, TimeoutError) as error:
                log.warning("The metrics go without what the store knows: %s", error or "it does not answer", extra=SELDOM)
        readings[catalog.UP.name] = [((), self._tally.store_up)]
        return self._page.render(readings, accept)

    async def watch_loop(self) -> None:
        """Measure, for ever, how late the event loop comes to its timers."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK)
            self._tally.spread(catalog.LAG).add(max(0.0, time.monotonic() - before - LOOK))

    def _own(self) -> Readings:
        readings: Readings = {
            catalog.BUILD.name: [((self._version,), 1)],
            catalog.CONNECTIONS.name: [((), self.connections())],
        }
        if self._whole:  # a worker's port has no streams
            readings[catalog.STREAMS.name] = [((kind,), number) for kind, number in self._tally.lasting.items()]
        if self._queue is not None:
            readings[catalog.BROKER_UP.name] = [((), self._queue.trouble is None)]
        if (worker := self._worker) is not None:
            readings |= {
                catalog.SLOTS.name: [((), self._slots)],
                catalog.USED.name: [((), worker.running)],
            }
            if not worker.draining:  # its claim loop has ended for good, which is no fault
                readings[catalog.TURNED.name] = [((), worker.turned_ago)]
        return readings

    async def _of_the_store(self) -> Readings:
        counts, oldest, gates, seen = await asyncio.gather(
            self._manager.counts(), self._manager.oldest(), self._manager.gates(), self._fleet.all()
        )
        tasks: Counter[Labels] = Counter()
        for line in counts:
            for status, number in line.counts.items():
                tasks[line.queue, line.type, status.value] += number
        queues = {line.queue for line in counts}
        limits = {queue: gate.max_running for queue in queues if (gate := gates.get(f"queue/{queue}")) and gate.max_running}
        states = Counter(worker.info.state for worker in seen)
        return {
            catalog.TASKS.name: _bounded(tasks.items(), sum),
            catalog.OLDEST.name: _bounded((((queue,), oldest.get(queue, 0.0)) for queue in queues), max),
            catalog.PAUSED.name: _bounded((((queue,), float(_paused(gates, queue))) for queue in queues), max),
            catalog.LIMIT.name: _bounded((((queue,), float(limit)) for queue, limit in limits.items()), sum),
            catalog.WORKERS.name: [((state,), states[state]) for state in STATES],
            catalog.FLEET_SLOTS.name: [((), sum(worker.info.slots for worker in seen if worker.info.state == RUNNING))],
        }


def _paused(gates: Mapping[str, Gate], queue: str) -> bool:
    return (gate := gates.get(f"queue/{queue}")) is not None and gate.paused


def _bounded(readings: Iterable[tuple[Labels, float]], together: Callable[[list[float]], float]) -> list[tuple[Labels, float]]:
    """The readings of the first queues by name; those of all others as one queue, and one type."""
    found = sorted(readings)
    kept = set(sorted({labels[0] for labels, _ in found})[:MOST_QUEUES])
    rest: dict[Labels, list[float]] = {}
    for labels, value in found:
        if labels[0] not in kept:
            name = (OTHER,) if len(labels) == 1 else (OTHER, OTHER, *labels[2:])
            rest.setdefault(name, []).append(value)
    return [
        *((labels, value) for labels, value in found if labels[0] in kept),
        *((name, together(values)) for name, values in rest.items()),
    ]
