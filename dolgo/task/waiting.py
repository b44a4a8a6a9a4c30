"""Why a task is not running yet: one sentence, and a code for each reason."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from dolgo.store.base import Store
from dolgo.task.fleet import Fleet
from dolgo.task.types import HeldUp, Status, Task

NAMED = 3  # parents that are named; of more there is only the number


class Reason(Struct, frozen=True):
    """Why a task has not started."""

    code: str  # scheduled, parents, queue_paused, no_worker, limit, rate, behind
    text: str


class Waiting:
    """Looks for the reason. What a claim would go by, the store tells by the same rules."""

    def __init__(self, store: Store, fleet: Fleet) -> None:
        self._store = store
        self._fleet = fleet

    async def reason(self, task: Task) -> Reason | None:
        """None for a task that has started or ended."""
        if task.status is Status.WAITING:
            return await self._for_parents(task)
        if task.status is not Status.QUEUED:
            return None
        now = await self._store.now()
        if task.run_at > now:
            return Reason("scheduled", f"It may start at {_moment(task.run_at)}.")
        held_up = await self._store.held_up(task.id)
        if held_up is None:  # claimed this moment
            return None
        return await self._gated(held_up) or await self._unserved(task) or _behind(held_up.ahead)

    async def _for_parents(self, task: Task) -> Reason:
        (details,) = await self._store.details([task.id])
        parents, awaited = (details.parents, details.awaited) if details is not None else ((), ())
        if not awaited:
            return Reason("parents", "What it waited for has ended; it goes on in a moment.")
        named = ", ".join(awaited[:NAMED]) + (f" and {len(awaited) - NAMED} more" if len(awaited) > NAMED else "")
        return Reason("parents", f"It waits for {len(awaited)} of {len(parents)} tasks it depends on: {named}.")

    async def _gated(self, held_up: HeldUp) -> Reason | None:
        kind, _, rest = held_up.scope.partition("/")
        name, _, key = rest.partition("/")
        until = "" if held_up.until is None else f" until {_moment(held_up.until)}"
        match held_up.code:
            case "queue_paused":
                why = next((gate.reason for gate in await self._store.gates() if gate.scope == held_up.scope), None)
                return Reason("queue_paused", f"The {kind} {name!r} is paused{until}{f': {why}' if why else ''}.")
            case "limit":
                of = f" with the limit_key {key!r}" if key else ""
                return Reason("limit", f"As many tasks of the {kind} {name!r}{of} are running as may run at once.")
            case "rate":
                return Reason("rate", f"The {kind} {name!r} has started as many tasks as its rate lets it{until}.")
        return None

    async def _unserved(self, task: Task) -> Reason | None:
        running = [seen.info for seen in await self._fleet.all() if seen.info.state == "running"]
        able = [worker for worker in running if worker.queues is None or task.queue in worker.queues]
        if not able:
            return Reason("no_worker", f"No live worker takes the queue {task.queue!r}.")
        if not any(task.type == name for worker in able for name, _ in worker.types):
            return Reason("no_worker", f"No live worker of the queue {task.queue!r} runs the type {task.type!r}.")
        able = [worker for worker in able if any(task.type == name for name, _ in worker.types)]
        if all((task.type, task.hash) in worker.unfit for worker in able):
            why = "it was submitted to another version of the type"
            return Reason("no_worker", f"No live worker of the queue {task.queue!r} can decode its payload: {why}.")
        return None


def _behind(ahead: int) -> Reason:
    if ahead == 0:
        return Reason("behind", "It is next in its queue: it starts as soon as a slot is free.")
    others = "1 other" if ahead == 1 else f"{ahead:,} others"
    return Reason("behind", f"It stands behind {others} in its queue.")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
