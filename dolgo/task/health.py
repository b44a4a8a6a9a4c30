"""What a probe is told: does this process turn, and may it be sent requests."""

from __future__ import annotations

from dolgo.errors import Refused
from dolgo.store.base import Store
from dolgo.task.worker import Worker

STUCK_AFTER = 3.0  # leases without a turn of the claim loop, after which the process is taken for dead


class Health:
    """Answers `/livez` and `/readyz`. A check that passes says "ok", any other text says why not."""

    def __init__(self, store: Store, worker: Worker | None, *, lease: float) -> None:
        self._store = store
        self._worker = worker
        self._lease = lease
        self.draining = False

    def live(self) -> dict[str, str]:
        """Whether the loops turn. An outage of the store does not count: a restart would not mend it."""
        checks = {"loop": "ok"}
        if self._worker is not None and not self.draining:
            ago = self._worker.turned_ago
            stuck = ago > STUCK_AFTER * self._lease
            checks["claims"] = f"the claim loop has not come round for {ago:.0f} s" if stuck else "ok"
        return checks

    async def ready(self) -> dict[str, str]:
        """Whether a task submitted now would be stored and claimed."""
        checks = {"store": await self._store_answers()}
        if self._worker is not None:
            checks["claims"] = "ok" if self._worker.claims else "the last claim did not reach the store"
        if self.draining:
            checks["draining"] = "the service is stopping"
        return checks

    async def _store_answers(self) -> str:
        try:
            await self._store.counts()
        except Refused as error:
            return error.detail
        return "ok"
