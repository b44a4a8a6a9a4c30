"""A task as the model has it, and the way it is compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from dolgo.store.base import Claim
from dolgo.task.types import Error, ErrorCode, NewTask, Outcome, Status, Task

WAITING, QUEUED, HELD, DONE, FAILED, CANCELLED = Status
UNSTARTED = (WAITING, QUEUED)


def same(what: str, found: object, wanted: object) -> None:
    """Fails with a sentence unless the two are equal."""
    assert found == wanted, f"{what}: found {found!r}, wanted {wanted!r}"


@dataclass
class Known:
    """One task."""

    new: NewTask
    created_at: float
    run_at: float
    status: Status = QUEUED
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    deferrals: int = 0
    generation: int = 0
    suspect: bool = False
    cancel_asked: bool = False
    worker: str | None = None
    token: str | None = None  # of the lease, or of the settlement that made it final
    until: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    said: tuple[Status, Outcome] | None = None  # the settlement that made it final
    result: bytes | None = None
    error: Error | None = None
    or_error: ErrorCode | None = None  # what else may be said to have cancelled it
    notes: dict[str, bytes] = field(default_factory=dict)
    owed: bool = False  # a parent has begun anew since it was certain that nothing is left to do
    outcomes: dict[int, set[Outcome]] = field(default_factory=dict)  # attempts that have ended, and what may be said of each
    joined: bool = False  # it became claimable, and stays so whatever is done to the clock
    passed: bool = False  # the clock has shown its time; if nobody claimed meanwhile, a store need not have noticed

    @property
    def rank(self) -> tuple[float, str]:
        return (self.run_at - self.new.lead, self.new.id)

    def expired(self, now: float) -> bool:
        return self.new.expires_at is not None and self.new.expires_at <= now and not self.attempt and self.status in UNSTARTED

    def fits(self, claim: Claim) -> bool:
        new = self.new
        return (
            new.type in claim.types
            and (claim.queues is None or new.queue in claim.queues)
            and (new.type, new.hash) not in claim.avoid
        )


def check(found: Task, wanted: object, *names: str) -> None:
    same(f"task {found.id}", {name: getattr(found, name) for name in names}, {name: getattr(wanted, name) for name in names})


def why(error: Error | None) -> tuple[ErrorCode, int] | None:
    return error and (error.code, error.attempt)
