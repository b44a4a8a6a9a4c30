"""What a worker hears from a broker: that there may be work, while it has slots free."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from dolgo.logs import SELDOM
from dolgo.metrics.catalog import HEARD
from dolgo.metrics.tally import Tally
from dolgo.queue.base import Audience, Outcome, Queue, Subscription
from dolgo.task.types import TypeInfo

log = logging.getLogger("dolgo.queue")


def deaf(types: Mapping[str, TypeInfo], free: int) -> None:
    """Hears nothing: `listen` where there is no broker."""


class Ear:
    """Of one worker. `ring` is called for each notice of a task that it may run."""

    def __init__(self, queue: Queue, *, queues: frozenset[str] | None, ring: Callable[[], None], tally: Tally) -> None:
        self._queue = queue
        self._queues = queues
        self._ring = ring
        self._tally = tally
        self._types: Mapping[str, TypeInfo] = {}
        self._subscription: Subscription | None = None

    def listen(self, types: Mapping[str, TypeInfo], free: int) -> None:
        """The worker has these types, and so many slots free. Called once a turn, so it costs next to nothing."""
        if types is not self._types:
            self._types = types
            self._subscribe()
        if self._subscription is not None:
            self._subscription.room(free)

    def _subscribe(self) -> None:
        audience = Audience({name: info.hash for name, info in self._types.items()}, self._queues)
        if self._subscription is None or self._subscription.audience != audience:
            self._subscription = Subscription(audience, ring=self._ring, count=self._count)
            self._queue.subscribe(self._subscription)

    def _count(self, outcome: Outcome) -> None:
        self._tally.count(HEARD, (outcome.value,))
        if outcome is Outcome.MALFORMED:
            log.warning("The broker has a message that is no notice of dolgo's; it was removed.", extra=SELDOM)
