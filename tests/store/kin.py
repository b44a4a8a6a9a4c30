"""What parents and dependents do to each other, and who has a unique key: part of the model."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from dolgo.task.types import FINAL, Error, ErrorCode, Lease, NewTask, OnParentFailure, Outcome, Status
from tests.store.known import CANCELLED, FAILED, QUEUED, UNSTARTED, WAITING, Known, same
from tests.store.recording import Recording


class Kin(Recording):
    """All tasks, the log of their statuses, and the changes that nobody asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, Known] = {}
        self.log: dict[str, list[tuple[Status, int]]] = {}  # (status, attempt) of each event, by task
        self.back: set[str] = set()  # tasks that have begun anew since somebody took them from here

    def come(self, known: Known, status: Status) -> None:
        known.status = status
        self.log.setdefault(known.new.id, []).append((status, known.attempt))

    def finish(self, one: Known, end: Status, outcome: Outcome | None) -> None:
        if outcome is not None:
            one.outcomes[one.attempt] = {outcome} | ({Outcome.CANCELLED} if end == CANCELLED else set())
        one.finished_at = self.now
        self.come(one, end)

    def holder_of_key(self, new: NewTask) -> Known | None:
        """The unfinished task that has its unique key."""
        alike = [one for one in self.tasks.values() if (one.new.type, one.new.unique_key) == (new.type, new.unique_key)]
        unfinished = [one for one in alike if one.status not in FINAL and new.unique_key is not None]
        assert len(unfinished) < 2, "two unfinished tasks have one unique key"
        return unfinished[0] if unfinished else None

    def parents(self, one: Known) -> list[Known]:
        return [self.tasks[parent.id] for parent in one.new.depends_on if parent.id in self.tasks]

    def children(self, id: str) -> list[Known]:
        return [one for one in self.tasks.values() if any(parent.id == id for parent in one.new.depends_on)]

    def standing(self, one: Known) -> Status:
        """Where its parents as they are now put it."""
        parents = [parent.status for parent in self.parents(one)]
        if one.new.on_parent_failure == OnParentFailure.CANCEL and {FAILED, CANCELLED} & set(parents):
            return CANCELLED
        return QUEUED if all(status in FINAL for status in parents) else WAITING

    def follow(self, id: str, status: Status) -> None:
        """A change that nobody asked for: the end, the retry or the time of another has to be behind it."""
        one = self.tasks[id]
        if one.status == WAITING and status == QUEUED:
            same(f"{id} was released; its parents want it", self.standing(one), QUEUED)
            one.run_at = max(one.run_at, self.now)
            one.joined = one.run_at <= self.now
            self.come(one, QUEUED)
        elif one.status in UNSTARTED and status == CANCELLED:
            why = [ErrorCode.DEPENDENCY_FAILED] if one.status == WAITING and self.standing(one) == CANCELLED else []
            why += [ErrorCode.EXPIRED] if one.expired(self.now) else []
            assert why, f"{id} was cancelled by nobody"
            one.error, one.or_error = Error(why[0], ""), why[-1]
            self.finish(one, CANCELLED, None)
        else:
            assert one.status == CANCELLED, f"{id} went from {one.status} to {status} by itself"
            assert self.revivable(one), f"{id} went from {one.status} to {status} by itself"
            assert one.owed, f"{id} was revived for no reason"
            self.begin_anew(one, run_at=max(one.run_at, self.now))
            same(f"{id} was revived", status, one.status)

    def revivable(self, one: Known) -> bool:
        failed = one.error is not None and ErrorCode.DEPENDENCY_FAILED in (one.error.code, one.or_error)
        return failed and not one.cancel_asked and self.standing(one) != CANCELLED and self.holder_of_key(one.new) is None

    def begin_anew(self, one: Known, *, run_at: float) -> None:
        one.failures = one.losses = one.deferrals = 0
        one.suspect = one.cancel_asked = one.passed = False
        one.worker = one.token = one.said = one.started_at = one.finished_at = one.result = one.error = one.or_error = None
        one.generation += 1
        one.run_at = run_at
        if one.new.expires_at is not None and one.new.expires_at <= self.now:
            one.new = replace(one.new, expires_at=None)
        status = self.standing(one)
        one.joined = status == QUEUED and run_at <= self.now
        self.back.add(one.new.id)
        self.come(one, status)
        for child in self.children(one.new.id):
            child.owed = True

    def nothing_is_left(self) -> None:
        """What ends and retries do to dependents is done, as it always is when `cascade` has nothing to do."""
        for one in self.tasks.values():
            if one.status == WAITING:
                same(f"{one.new.id} is waiting; its parents want it", self.standing(one), WAITING)
            if one.status == CANCELLED and one.owed and not self.shares_its_key(one):
                assert not self.revivable(one), f"{one.new.id} was not revived"
            one.owed = False

    def unrelated(self, leases: Mapping[str, Lease]) -> list[Lease]:
        """Those of the leases whose tasks neither wait for one another nor share a key."""
        plan: list[Lease] = []
        for id, lease in leases.items():
            kin = self.ancestors(id) | {other.id for other in plan if id in self.ancestors(other.id)}
            alone = id not in self.tasks or self.tasks[id].new.unique_key is None
            if alone and not kin & {other.id for other in plan}:
                plan.append(lease)
        return plan

    def ancestors(self, id: str) -> set[str]:
        parents = [parent.new.id for parent in self.parents(self.tasks[id])] if id in self.tasks else []
        return set(parents).union(*(self.ancestors(parent) for parent in parents))

    def shares_its_key(self, one: Known) -> bool:
        """Whether it may have been another's turn to have its unique key."""
        alike = [other for other in self.tasks.values() if other.new.unique_key == one.new.unique_key]
        return one.new.unique_key is not None and len(alike) > 1
