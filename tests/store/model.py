"""What a store should do, said as plainly as it can be: one record a task, every question answered by looking at all of them.

It shares no code with any store. Where the contract leaves a choice, the model follows the store it is shown and checks the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dolgo.store.base import Claim, Claimed, Renewed
from dolgo.task.types import FINAL, Error, ErrorCode, Lease, NewTask, Outcome, Put, Settlement, Status, Task

QUEUED, HELD, DONE, FAILED, CANCELLED = Status.QUEUED, Status.IN_PROGRESS, Status.DONE, Status.FAILED, Status.CANCELLED


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
    outcomes: dict[int, set[Outcome]] = field(default_factory=dict)  # attempts that have ended, and what may be said of each
    joined: bool = False  # it became claimable, and stays so whatever is done to the clock
    passed: bool = False  # the clock has shown its time; if nobody claimed meanwhile, a store need not have noticed

    @property
    def rank(self) -> tuple[float, str]:
        return (self.run_at - self.new.lead, self.new.id)

    def fits(self, claim: Claim) -> bool:
        new = self.new
        return (
            new.type in claim.types
            and (claim.queues is None or new.queue in claim.queues)
            and (new.type, new.hash) not in claim.avoid
        )


class Model:
    """All tasks, and the log as it must be."""

    def __init__(self) -> None:
        self.tasks: dict[str, Known] = {}
        self.log: dict[str, list[tuple[Status, int]]] = {}  # (status, attempt) of each event, by task
        self.records: dict[str, tuple[bytes, int, float | None]] = {}  # value, version, end
        self.tokens: set[str] = set()
        self.now = 0.0

    def tick(self, now: float) -> None:
        """The clock was moved."""
        self.now = now
        for known in self.tasks.values():
            known.passed = known.passed or known.run_at <= now

    def come(self, known: Known, status: Status) -> None:
        known.status = status
        self.log.setdefault(known.new.id, []).append((status, known.attempt))

    def held(self, worker: str | None = None) -> list[Known]:
        return [one for one in self.tasks.values() if one.status == HELD and worker in (None, one.worker)]

    # -- submit, records

    def submit(self, news: Sequence[NewTask], puts: Sequence[Put] = ()) -> list[Status] | str:
        """The statuses, or the key of the record in the way."""
        if (key := self.put(puts)) is not None:
            return key
        return [self.submit_one(new) for new in news]

    def submit_one(self, new: NewTask) -> Status:
        if new.id not in self.tasks:
            run_at = self.now + new.delay if new.run_at is None else new.run_at
            known = self.tasks[new.id] = Known(new, self.now, run_at, joined=run_at <= self.now)
            self.come(known, QUEUED)
        return self.tasks[new.id].status

    def put(self, puts: Sequence[Put]) -> str | None:
        written = dict(self.records)  # what has expired is still there until a trim, for a clock that is set back
        for put in puts:
            if put.key in written and put.key not in self.unexpired():
                del written[put.key]
            version = written[put.key][1] if put.key in written else 0
            if put.version not in (None, version):
                return put.key
            written[put.key] = (put.value, version + 1, None if put.keep is None else self.now + put.keep)
        self.records = written
        return None

    def unexpired(self) -> dict[str, tuple[bytes, int, float | None]]:
        return {key: one for key, one in self.records.items() if one[2] is None or one[2] > self.now}

    def trim(self) -> None:
        self.records = self.unexpired()

    # -- claim, renew

    def claimed(self, claim: Claim, answer: Claimed) -> None:
        """Checks that these and no others were to be taken, in this order, and takes them."""
        queued = [one for one in self.tasks.values() if one.status == QUEUED]
        for one in queued:
            one.joined = one.joined or one.run_at <= self.now
        left = list(answer.leases)
        for one in sorted((one for one in queued if one.fits(claim)), key=lambda one: one.rank):
            if len(answer.leases) - len(left) == claim.limit:
                break
            if left and left[0].id == one.new.id and (one.joined or one.passed):
                self.take(one, claim, left.pop(0))
            else:
                assert not one.joined, f"{one.new.id} was passed over"
                one.passed = False
        assert not left, f"{left[0].id} was not to be claimed, or not yet"
        self.check_next(claim, answer)

    def take(self, one: Known, claim: Claim, lease: Lease) -> None:
        assert lease.token not in self.tokens, "a token was used again"
        self.tokens.add(lease.token)
        one.attempt += 1
        one.worker, one.token, one.until, one.started_at = claim.worker, lease.token, self.now + claim.lease, self.now
        one.joined = True
        self.come(one, HELD)
        same("a lease", lease, self.lease(one))

    def lease(self, one: Known) -> Lease:
        new = one.new
        return Lease(
            id=new.id,
            token=one.token or "",
            type=new.type,
            hash=new.hash,
            queue=new.queue,
            payload=new.payload,
            attempt=one.attempt,
            failures=one.failures,
            losses=one.losses,
            max_attempts=new.max_attempts,
            suspect=one.suspect,
            tags=new.tags,
        )

    def check_next(self, claim: Claim, answer: Claimed) -> None:
        """A worker that sleeps until `next_at` misses nothing and is not woken for ever."""
        if len(answer.leases) == claim.limit:
            return
        later = [one for one in self.tasks.values() if one.status == QUEUED and not one.joined]
        mine = [one.run_at for one in later if one.fits(claim)]
        assert answer.next_at is not None or not mine, "next_at forgets a task"
        if answer.next_at is not None:
            assert answer.next_at in {one.run_at for one in later}, "next_at names a time at which nothing happens"
            assert all(answer.next_at <= run_at for run_at in mine), "next_at is too late"

    def renewed(self, worker: str, tokens: Mapping[str, str], lease: float, answer: Renewed) -> None:
        named = {
            id: one for id, token in tokens.items() if (one := self.tasks.get(id)) and one.status == HELD and one.token == token
        }
        for one in named.values():
            one.until = self.now + lease
        same("lost leases", sorted(answer.lost), sorted(set(tokens) - set(named)))
        same("tasks to stop", sorted(answer.cancel_asked), sorted(id for id, one in named.items() if one.cancel_asked))
        unnamed = [self.lease(one) for one in self.held(worker) if one.new.id not in named]
        same("unnamed leases", *(sorted(leases, key=lambda lease: lease.id) for leases in (answer.unnamed, unnamed)))

    # -- settle

    def settle(self, settled: Settlement) -> bool | None:
        """Whether it takes; None where the contract leaves it open."""
        one = self.tasks.get(settled.lease.id)
        if one is None or one.token is None or one.token != settled.lease.token:
            return False
        said = (settled.status, settled.outcome)
        if one.status in FINAL:
            same_end = settled.status == one.status or {settled.status, one.status} == {QUEUED, CANCELLED}
            return True if said == one.said else None if same_end else False
        one.said = said
        if settled.status == QUEUED:
            self.give_up(one, settled)
        else:
            one.failures, one.losses, one.result, one.error = settled.failures, settled.losses, settled.result, settled.error
            self.finish(one, settled.status, settled.outcome)
        return True

    def give_up(self, one: Known, settled: Settlement) -> None:
        """Held → queued by its holder."""
        one.failures, one.losses, one.suspect = settled.failures, settled.losses, settled.suspect
        if settled.delay and not one.cancel_asked:
            one.run_at = self.now + settled.delay
            one.joined, one.passed = one.run_at <= self.now, False
        self.requeue(one, settled.outcome if settled.started else None)

    def requeue(self, one: Known, outcome: Outcome | None) -> None:
        """Held → queued, or cancelled where that was asked. Without an outcome the attempt never was."""
        if outcome is None:
            one.attempt -= 1
        if one.cancel_asked:
            one.error = Error(ErrorCode.CANCELLED, "", attempt=0 if outcome is None else one.attempt)
            self.finish(one, CANCELLED, outcome)
            return
        if outcome is not None:
            one.outcomes[one.attempt] = {outcome}
        one.worker = one.token = one.started_at = None
        self.come(one, QUEUED)

    def finish(self, one: Known, end: Status, outcome: Outcome | None) -> None:
        if outcome is not None:
            one.outcomes[one.attempt] = {outcome} | ({Outcome.CANCELLED} if end == CANCELLED else set())
        one.finished_at = self.now
        self.come(one, end)

    # -- by hand

    def cancel(self, id: str) -> Status | None:
        if (one := self.tasks.get(id)) is None:
            return None
        before = one.status
        if before == HELD:
            one.cancel_asked = True
        elif before == QUEUED:
            one.error = Error(ErrorCode.CANCELLED, "")
            self.finish(one, CANCELLED, None)
        return before

    def retry(self, id: str) -> Status | None:
        if (one := self.tasks.get(id)) is None:
            return None
        before = one.status
        if before in (FAILED, CANCELLED):
            one.failures = one.losses = 0
            one.suspect = one.cancel_asked = False
            one.worker = one.token = one.said = one.started_at = one.finished_at = one.result = one.error = None
            one.run_at, one.joined = self.now, True
            self.come(one, QUEUED)
        return before

    def delete(self, id: str) -> Status | None:
        if (one := self.tasks.get(id)) is None:
            return None
        if one.status in FINAL:
            del self.tasks[id]
        return one.status

    # -- upkeep

    def reclaimed(self, dead: Collection[str], limit: int, count: int, taken: Iterable[str]) -> None:
        """Checks that only what was to be taken was, as many as could be."""
        over = {one.new.id for one in self.held() if one.worker in dead or one.until <= self.now}
        taken = set(taken)
        assert taken <= over, "a live lease was taken away"
        same("reclaimed", (len(taken), count), (min(limit, len(over)),) * 2)
        for id in taken:
            one = self.tasks[id]
            one.token, one.suspect = None, True
            self.requeue(one, Outcome.LOST)

    def clamp(self, lease: float) -> int:
        long = [one for one in self.held() if one.until > self.now + lease]
        for one in long:
            one.until = self.now + lease
        return len(long)

    def prune(self, keep: float, limit: int) -> int:
        old = [one for one in self.tasks.values() if one.finished_at is not None and one.finished_at < self.now - keep]
        old.sort(key=lambda one: (one.finished_at, one.new.id))
        for one in old[:limit]:
            del self.tasks[one.new.id]
        return len(old[:limit])

    # -- what it all looks like

    def check_task(self, found: Task) -> None:
        one = self.tasks[found.id]
        check(found, one.new, "type", "hash", "queue", "payload", "priority", "max_attempts", "tags")
        check(found, one, "status", "created_at", "attempt", "failures", "losses", "finished_at", "result")
        if one.status not in FINAL:
            check(found, one, "run_at", "suspect", "cancel_asked", "worker", "started_at", "error")
        elif one.status != CANCELLED:
            check(found, one, "worker", "started_at", "error")
        else:
            same("why it is cancelled", why(found.error), why(one.error))
        for entry in found.history:
            assert entry.outcome in one.outcomes[entry.number], f"attempt {entry.number} did not end {entry.outcome}"

    def counts(self) -> Counter[tuple[str, str, str, Status]]:
        return Counter((one.new.queue, one.new.type, one.new.hash, one.status) for one in self.tasks.values())

    def check_oldest(self, answer: Mapping[str, float]) -> None:
        """For each queue a claimable task that is next to go, or has waited longer than that one."""
        for queue in {one.new.queue for one in self.tasks.values()} | set(answer):
            queued = [one for one in self.tasks.values() if one.new.queue == queue and one.status == QUEUED]
            must = [one for one in queued if one.joined or one.run_at <= self.now]
            may = [one for one in queued if one in must or one.passed]
            right: set[float | None] = {one.run_at for one in may} | {None}
            if must:
                first = min(must, key=lambda one: one.rank)
                right = {one.run_at for one in may if one.run_at <= first.run_at or one.rank < first.rank}
            assert answer.get(queue) in right, f"the oldest of {queue} is {answer.get(queue)}, not one of {right}"


def check(found: Task, wanted: object, *names: str) -> None:
    same(f"task {found.id}", {name: getattr(found, name) for name in names}, {name: getattr(wanted, name) for name in names})


def why(error: Error | None) -> tuple[ErrorCode, int] | None:
    return error and (error.code, error.attempt)
