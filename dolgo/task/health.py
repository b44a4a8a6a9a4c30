"""What a probe is told: does this process turn, and may it be sent requests."""

from __future__ import annotations

import asyncio
import logging

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.queue.base import Queue
from dolgo.store.base import Store
from dolgo.task.worker import Worker

log = logging.getLogger("dolgo.health")

STUCK_AFTER = 3.0  # leases without a turn of the claim loop, after which the process is taken for dead
LONGEST_TURN = 15.0  # seconds a turn may take while the store is away: each of its calls waits for some, and there is a pause
UNUSABLE = "the store cannot be used now; the log says why"
WITHOUT = "ok: the broker cannot be used now, and workers look into the store; the log says why"
STOPPING = "the service is stopping"
ANSWER = 6.0  # seconds a store may take to answer a probe: longer than it waits for itself


class Health:
    """Answers `/livez` and `/readyz`. A check that passes says "ok", or "ok: " and more; any other text says why not.

    `web`: the process serves requests as well, so it is of use without its worker."""

    def __init__(self, store: Store, worker: Worker | None, *, lease: float, web: bool, queue: Queue | None = None) -> None:
        self._store = store
        self._worker = worker
        self._lease = lease
        self._web = web
        self._queue = queue
        self.started = False
        self.draining = False

    def live(self) -> dict[str, str]:
        """Whether the loops turn. An outage of the store does not count: a restart would not mend it."""
        checks = {"loop": "ok"}
        if self._worker is not None and self.started and not (self.draining or self._worker.draining):
            ago = self._worker.turned_ago
            stuck = ago > max(STUCK_AFTER * self._lease, LONGEST_TURN)
            checks["claims"] = f"the claim loop has not come round for {ago:.0f} s" if stuck else "ok"
        return checks

    async def ready(self) -> dict[str, str]:
        """Whether a task submitted now would be stored and claimed."""
        if not self.started:  # the store is not open yet, or not any more
            return {"draining": STOPPING} if self.draining else {"start": "the service is starting"}
        checks = {"store": await self._store_answers()}
        if self._worker is not None:
            checks["claims"] = self._claims(self._worker)
        if self._queue is not None:  # nothing depends on it, so it fails nothing
            checks["broker"] = WITHOUT if self._queue.trouble else "ok"
        if self.draining:
            checks["draining"] = STOPPING
        return checks

    def _claims(self, worker: Worker) -> str:
        if worker.draining:
            said = "the worker drains, and claims no more"
            return f"ok: {said}" if self._web else said
        return "ok" if worker.claims else "the last claim did not reach the store"

    async def _store_answers(self) -> str:
        try:
            async with asyncio.timeout(ANSWER):
                await self._store.ready()
        except Refused as error:
            log.warning("The store does not answer a probe: %s", error, extra=SELDOM)
            return UNUSABLE  # anybody may ask: where the store is, and under which name it is used, is not for everybody
        except TimeoutError:
            return f"the store has not answered for {ANSWER:g} s"
        return "ok"
