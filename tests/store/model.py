"""What a store should do, said as plainly as it can be: one record a task, every question answered by looking at all of them.

It shares no code with any store. Where the contract leaves a choice, the model follows the store it is shown and checks the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from dolgo.store.base import Claim, Claimed, Renewed, Submitted
from dolgo.task.types import (
    FINAL,
    Change,
    Details,
    Error,
    ErrorCode,
    EventKind,
    HeldUp,
    Lease,
    NewTask,
    Note,
    Outcome,
    Put,
    Refusal,
    Settlement,
    Status,
    Task,
)
from tests.store.gating import CLOSE, Gating, Reason
from tests.store.kin import Kin
from tests.store.known import CANCELLED, DONE, FAILED, HELD, QUEUED, UNSTARTED, WAITING, Known, check, same, why


class Model(Kin):
    """All tasks, and the log as it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()
        self.told: list[tuple[str, EventKind, bytes | None]] = []  # events of notes
        self.gating = Gating()

    def tick(self, now: float) -> None:
        """The clock was moved."""
        self.now = now
        self.gating.tick(now)
        for known in self.tasks.values():
            known.passed = known.passed or (known.status != WAITING and known.run_at <= now)

    def held(self, worker: str | None = None) -> list[Known]:
        return [one for one in self.tasks.values() if one.status == HELD and worker in (None, one.worker)]

    # -- submit, records

    def submitted(self, news: Sequence[NewTask], puts: Sequence[Put], notes: Sequence[Note], answer: Submitted) -> bool:
        """Whether it was to be written, and is now."""
        existing = self.blocked(puts)
        unknown, unique = self.unknown(news), self.unique(news)
        lost = any(not self.holds(note) for note in notes)
        told = (answer.existing and answer.existing.key, set(answer.unknown), answer.unique, answer.lost)
        if existing is not None:
            same("the record in the way", told, (existing, set(), {}, False))
        elif unknown or unique or lost:
            for said, true in zip(told, (None, unknown, unique, lost), strict=True):  # one of them is enough
                assert not said or said == true, f"what stands in the way is {(unknown, unique, lost)}, not {told}"
            assert any(told), "something that stands in the way was not seen"
        else:
            same("what stands in the way", told, (None, set(), {}, False))
            self.put(puts)
            same("the statuses of a submit", answer.statuses, [self.submit_one(new) for new in news])
            same("notes of a submit", [self.note(note) for note in notes], [True] * len(notes))
            return True
        return False

    def unknown(self, news: Sequence[NewTask]) -> set[str]:
        known, unknown = set(self.tasks), set[str]()
        for new in news:
            unknown |= {one.id for one in new.depends_on if one.id not in known and new.id not in self.tasks}
            known.add(new.id)
        return unknown

    def unique(self, news: Sequence[NewTask]) -> dict[str, str]:
        holders = {new.id: self.holder_of_key(new) for new in news if new.id not in self.tasks}
        return {id: holder.new.id for id, holder in holders.items() if holder is not None}

    def submit_one(self, new: NewTask) -> Status:
        if new.id not in self.tasks:
            run_at = self.now + new.delay if new.run_at is None else new.run_at
            known = self.tasks[new.id] = Known(new, self.now, run_at)
            status = self.standing(known)
            if status == CANCELLED:
                known.error, known.finished_at = Error(ErrorCode.DEPENDENCY_FAILED, ""), self.now
            known.joined = status == QUEUED and run_at <= self.now
            self.come(known, status)
        return self.tasks[new.id].status

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
            reasons = self.reasons(one, claim)
            if left and left[0].id == one.new.id and (one.joined or one.passed):
                assert not one.expired(self.now), f"{one.new.id} was not to be claimed: it has expired"
                held = [reason for reason in reasons if reason.sure]
                assert not held, f"{one.new.id} was not to be claimed: {held[0].code} of {held[0].scope}"
                self.take(one, claim, left.pop(0))
            else:
                assert not one.joined or reasons or one.expired(self.now), f"{one.new.id} was passed over"
                one.passed = one.passed and bool(reasons)
        assert not left, f"{left[0].id} was not to be claimed, or not yet"
        self.check_next(claim, answer)

    def reasons(self, one: Known, claim: Claim | None = None) -> list[Reason]:
        reasons = self.gating.reasons(one.new, [other.new for other in self.held()])
        if claim is not None and claim.ahead and (self.gating.counts(one.new) or self.gating.of(one.new)):
            reasons.append(Reason("ahead", "", sure=self.gating.counts(one.new)))
        return reasons

    def take(self, one: Known, claim: Claim, lease: Lease) -> None:
        assert lease.token not in self.tokens, "a token was used again"
        self.tokens.add(lease.token)
        one.attempt += 1
        one.worker, one.token, one.until, one.started_at = claim.worker, lease.token, self.now + claim.lease, self.now
        one.joined = True
        self.gating.started(one.new)
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
            deferrals=one.deferrals,
            generation=one.generation,
            timeout=new.timeout,
            limit_key=new.limit_key,
            extras=new.extras,
            run_at=one.run_at,
        )

    def check_next(self, claim: Claim, answer: Claimed) -> None:
        """A worker that sleeps until `next_at` misses nothing and is not woken for ever."""
        if len(answer.leases) == claim.limit:
            return
        queued = [one for one in self.tasks.values() if one.status == QUEUED]
        times = {(one.run_at, one.run_at) for one in queued if not one.joined} | {(self.now, self.now)}
        mine = [one.run_at for one in queued if not one.joined and not one.passed and one.fits(claim)]
        for one in queued:
            reasons = self.reasons(one)
            times |= {(reason.earliest, reason.until) for reason in reasons if reason.earliest and reason.until}
            if one.joined and one.fits(claim) and not claim.ahead and not one.expired(self.now):
                ends = [reason.until for reason in reasons]
                mine += [max(end for end in ends if end is not None)] if ends and None not in ends else []
        assert answer.next_at is not None or not mine, "next_at forgets a task"
        if answer.next_at is not None:
            something = any(low - CLOSE <= answer.next_at <= high + CLOSE for low, high in times)
            assert something, "next_at names a time at which nothing happens"
            assert all(answer.next_at <= time + CLOSE for time in mine), "next_at is too late"

    def check_held_up(self, id: str, answer: HeldUp | None) -> None:
        one = self.tasks.get(id)
        if one is None or one.status != QUEUED or not (one.joined or one.passed or one.run_at <= self.now):
            same(f"what holds {id} up", answer, None)
            return
        if answer is None:
            assert not one.joined, f"nothing is said to hold {id} up"
            return
        reasons = self.reasons(one)
        if answer.code == "behind":
            assert not any(reason.sure for reason in reasons), f"{id} is said to be held up by nothing"
        else:
            found = {(reason.code, reason.scope) for reason in reasons}
            assert (answer.code, answer.scope) in found, f"{id} is held up by {found}, not by {answer}"

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
            one.failures, one.losses, one.deferrals = settled.failures, settled.losses, settled.deferrals
            one.result, one.error = settled.result, settled.error
            self.finish(one, settled.status, settled.outcome)
        return True

    def give_up(self, one: Known, settled: Settlement) -> None:
        """Held → queued by its holder."""
        one.failures, one.losses, one.suspect = settled.failures, settled.losses, settled.suspect
        one.deferrals = settled.deferrals
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

    # -- notes

    def holds(self, note: Note) -> bool:
        one = self.tasks.get(note.id)
        return one is not None and one.status == HELD and one.token == note.token

    def note(self, note: Note) -> bool:
        if self.holds(note):
            self.tasks[note.id].notes[note.key] = note.value
            if note.event is not None:
                self.told.append((note.id, note.event, note.value if note.event == EventKind.PROGRESS else None))
        return self.holds(note)

    # -- by hand

    def met(self, id: str, answer: Change) -> Known | None:
        """The task, brought to where the call found it: what others did to it may have come first."""
        one = self.tasks.get(id)
        if one is None:
            same(f"what is known of {id}", answer, Change(None))
        elif answer.before is not None and answer.before != one.status:
            self.follow(id, answer.before)
        return one

    def cancelled(self, id: str, answer: Change) -> None:
        if (one := self.met(id, answer)) is None:
            return
        before, asked = one.status, one.status == HELD and not one.cancel_asked
        if before in (HELD, CANCELLED):
            one.cancel_asked = True
        elif before in UNSTARTED:
            one.error = Error(ErrorCode.CANCELLED, "")
            self.finish(one, CANCELLED, None)
        same("a cancel", answer, Change(before, one.status, Refusal.STATUS if before in (DONE, FAILED) else None, asked))

    def retried(self, id: str, answer: Change) -> None:
        if (one := self.met(id, answer)) is None:
            return
        before, refusals = one.status, set[Refusal | None]()
        if before not in (FAILED, CANCELLED):
            refusals.add(Refusal.STATUS)
        else:
            refusals |= {Refusal.UNIQUE} if self.holder_of_key(one.new) else set()
            refusals |= {Refusal.PARENTS} if self.standing(one) == CANCELLED else set()
        if not refusals:
            self.begin_anew(one, run_at=self.now)
        assert answer.refusal in (refusals or {None}), f"a retry was answered {answer}, which {refusals} should refuse"
        same("a retry", answer, Change(before, one.status, answer.refusal))

    def deleted(self, id: str, answer: Change) -> None:
        if (one := self.met(id, answer)) is None:
            return
        if one.status not in FINAL:
            same("a delete", answer, Change(one.status, one.status, Refusal.STATUS))
        elif any(child.status not in FINAL for child in self.children(id)):
            same("a delete", answer, Change(one.status, one.status, Refusal.DEPENDENTS))
        else:
            same("a delete", answer, Change(one.status))
            self.forget(id)

    def forget(self, id: str) -> None:
        for child in self.children(id):
            child.owed = False  # what may be revived is not looked at again because of this
        del self.tasks[id]

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

    def pruned(self, keep: float, limit: int, count: int, gone: Collection[str]) -> None:
        """Checks that only what was to go went, as much as could, the oldest first, and forgets it."""
        old = [one for one in self.tasks.values() if self.may_go(one, keep)]
        same("pruned", (len(gone), count), (min(limit, len(old)),) * 2)
        assert {*gone} <= {one.new.id for one in old}, "what was to be kept was pruned"
        usual = sorted((one for one in old if one.new.keep is None), key=lambda one: (one.finished_at, one.new.id))
        places = [one.new.id in gone for one in usual]
        assert places == sorted(places, reverse=True), "pruned were not the oldest"
        for id in gone:
            self.forget(id)

    def may_go(self, one: Known, keep: float) -> bool:
        kept = keep if one.new.keep is None else one.new.keep
        over = one.finished_at is not None and one.finished_at < self.now - kept
        needed = one.created_at + one.new.needed > self.now and one.new.needed > 0
        return over and not needed and all(child.status in FINAL for child in self.children(one.new.id))

    # -- what it all looks like

    def check_task(self, found: Task) -> None:
        one = self.tasks[found.id]
        check(found, one.new, "type", "hash", "queue", "payload", "priority", "max_attempts", "tags")
        check(found, one.new, "timeout", "keep", "expires_at", "on_parent_failure", "unique_key", "limit_key", "extras")
        check(found, one, "status", "created_at", "attempt", "failures", "losses", "finished_at", "result")
        check(found, one, "deferrals", "generation")
        if one.status not in FINAL:
            check(found, one, "run_at", "suspect", "cancel_asked", "worker", "started_at", "error")
        elif one.status != CANCELLED:
            check(found, one, "worker", "started_at", "error")
        else:
            assert why(found.error) in (why(one.error), (one.or_error, 0)), f"why {found.id} is cancelled: {found.error}"
            one.error, one.or_error = found.error, None
        for entry in found.history:
            assert entry.outcome in one.outcomes[entry.number], f"attempt {entry.number} did not end {entry.outcome}"

    def details(self) -> dict[str, Details]:
        children = dict[str, list[str]]()
        for one in self.tasks.values():
            for parent in one.new.depends_on:
                children.setdefault(parent.id, []).append(one.new.id)
        return {id: self.details_of(one, children.get(id, ())) for id, one in self.tasks.items()}

    def details_of(self, one: Known, children: Iterable[str]) -> Details:
        ids = [value.decode().strip('"') for key, value in sorted(one.notes.items()) if key.startswith("submitted/")]
        parents = [self.tasks[parent.id] for parent in one.new.depends_on if parent.id in self.tasks]
        awaited = tuple(parent.new.id for parent in parents if parent.status not in FINAL)
        return Details(one.new.depends_on, tuple(children), tuple(ids), one.notes.get("progress"), awaited)

    def counts(self) -> Counter[tuple[str, str, str, Status]]:
        return Counter((one.new.queue, one.new.type, one.new.hash, one.status) for one in self.tasks.values())

    def check_oldest(self, answer: Mapping[str, float]) -> None:
        """For each queue a claimable task that is next to go, or has waited longer than that one."""
        for queue in {one.new.queue for one in self.tasks.values()} | set(answer):
            queued = [one for one in self.tasks.values() if one.new.queue == queue and one.status == QUEUED]
            due = [one for one in queued if one.joined or one.run_at <= self.now]
            may = [one for one in queued if one in due or one.passed]
            must = [one for one in due if not self.reasons(one)]  # one that is held back may be left out
            right: set[float | None] = {one.run_at for one in may} | {None}
            if must:
                first = min(must, key=lambda one: one.rank)
                right = {one.run_at for one in may if one.run_at <= first.run_at or one.rank < first.rank}
            assert answer.get(queue) in right, f"the oldest of {queue} is {answer.get(queue)}, not one of {right}"
