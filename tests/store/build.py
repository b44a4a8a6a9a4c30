"""Short ways to say what the store tests say all the time."""

from itertools import count
from typing import Any

from dolgo.store.base import Claim, Claimed, Store
from dolgo.task.types import (
    Change,
    Dependency,
    Error,
    ErrorCode,
    Lease,
    NewTask,
    Note,
    Outcome,
    Refusal,
    Settlement,
    Status,
    Task,
)

AGEING = 600.0  # seconds of age that a level of priority is worth, as the manager has it
_numbers = count(1)


def fresh_id() -> str:
    """An id that looks like a UUIDv7 and is greater than all before."""
    number = next(_numbers)
    return f"{number:08x}-0000-7000-8000-{number:012x}"


def task(**changes: Any) -> NewTask:
    """A task to submit."""
    fields: dict[str, Any] = {"id": fresh_id(), "type": "echo", "hash": "h1", "queue": "default", "payload": b"{}"}
    if "priority" in changes:
        fields["lead"] = changes["priority"] * AGEING
    return NewTask(**(fields | changes))


def wants(**changes: Any) -> Claim:
    """A claim that fits the tasks made above."""
    fields: dict[str, Any] = {"worker": "w1", "limit": 10, "lease": 30.0, "types": frozenset({"echo"})}
    return Claim(**(fields | changes))


async def submit(store: Store, *tasks: NewTask, **changes: Any) -> list[str]:
    """Submits the tasks, or one made from the changes; answers their ids."""
    news = tasks or (task(**changes),)
    await store.submit(news)
    return [new.id for new in news]


async def claim(store: Store, **changes: Any) -> Claimed:
    return await store.claim(wants(**changes))


async def hold(store: Store, **changes: Any) -> Lease:
    """Submits one task and claims it."""
    claimed = {name: changes.pop(name) for name in ("worker", "lease") if name in changes}
    new = task(**changes)
    await store.submit([new])
    (lease,) = (await claim(store, limit=1, types=frozenset({new.type}), queues=frozenset({new.queue}), **claimed)).leases
    assert lease.id == new.id
    return lease


async def read(store: Store, id: str) -> Task:
    (found,) = await store.get([id])
    assert found is not None
    return found


async def status(store: Store, id: str) -> Status:
    return (await read(store, id)).status


async def ended(store: Store, end: Status, **changes: Any) -> Lease:
    """A task that was claimed and settled like this."""
    lease = await hold(store, **changes)
    assert await store.settle([settlement(lease, end)]) == [True]
    return lease


def settlement(lease: Lease, end: Status) -> Settlement:
    return {Status.DONE: done, Status.FAILED: failed, Status.CANCELLED: stopped}[end](lease)


def done(lease: Lease, result: bytes = b'{"ok":true}') -> Settlement:
    return Settlement(lease, Status.DONE, Outcome.DONE, result=result, **_counts(lease))


def failed(lease: Lease, error: Error | None = None) -> Settlement:
    error = error or Error(ErrorCode.HANDLER_ERROR, "it broke", type="ValueError", attempt=lease.attempt)
    return Settlement(lease, Status.FAILED, Outcome.FAILED, error=error, **_counts(lease, failures=1))


def stopped(lease: Lease) -> Settlement:
    """The handler was told to stop and did."""
    error = Error(ErrorCode.CANCELLED, "cancelled while it ran", attempt=lease.attempt)
    return Settlement(lease, Status.CANCELLED, Outcome.CANCELLED, error=error, **_counts(lease))


def again(lease: Lease, delay: float = 10.0) -> Settlement:
    """It failed and is to be tried again."""
    error = Error(ErrorCode.HANDLER_ERROR, "it broke", attempt=lease.attempt)
    return Settlement(lease, Status.QUEUED, Outcome.FAILED, error=error, delay=delay, **_counts(lease, failures=1))


def deferred(lease: Lease, delay: float = 10.0) -> Settlement:
    """Its handler asked to be tried again."""
    return Settlement(lease, Status.QUEUED, Outcome.RETRY, delay=delay, **_counts(lease, deferrals=1))


def back(lease: Lease, *, started: bool) -> Settlement:
    """Given back by its worker."""
    return Settlement(lease, Status.QUEUED, Outcome.GIVEN_BACK, suspect=lease.suspect, started=started, **_counts(lease))


def _counts(lease: Lease, failures: int = 0, deferrals: int = 0) -> dict[str, int]:
    return {"failures": lease.failures + failures, "losses": lease.losses, "deferrals": lease.deferrals + deferrals}


def note(lease: Lease, key: str = "progress", value: bytes = b"1", **changes: Any) -> Note:
    return Note(lease.id, lease.token, key, value, **changes)


def after(*parents: str) -> tuple[Dependency, ...]:
    """What a task depends on."""
    return tuple(Dependency(id) for id in parents)


def refused(before: Status, why: Refusal = Refusal.STATUS) -> Change:
    """The answer for a task that was left as it was."""
    return Change(before, before, why)


NOBODY = Change(None)  # the answer for a task that does not exist


def numbers(found: Task) -> list[int]:
    """The attempts the record tells of, in order: its history and, once ended and not in there, the newest."""
    return [attempt.number for attempt in found.history] + ([found.attempt] if found.started_at is not None else [])
