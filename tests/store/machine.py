"""Drives a store and the model side by side through whatever hypothesis thinks of, and asks after every step what must hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from msgspec.structs import replace

from dolgo.store.base import Claim, Claimed
from dolgo.task.types import FINAL, Change, ErrorCode, EventKind, Lease, NewTask, Note, OnParentFailure, Put, Settlement, Status
from tests.store.build import after, fresh_id, note, task, wants
from tests.store.known import same
from tests.store.looks import Looks
from tests.store.moves import (
    FREE,
    KINDS_OF_NOTES,
    LEASE,
    SCOPES,
    WAYS,
    claims,
    gate_changes,
    new_tasks,
    pick,
    picks,
    ways,
    workers,
)


class StoreMachine(Looks):
    """The rules; a subclass names the store."""

    def __init__(self) -> None:
        super().__init__()
        self.leases: list[Lease] = []  # all that were handed out, stale ones too
        self.settled: list[Settlement] = []  # all that were sent

    def teardown(self) -> None:
        try:
            if self.sound:
                self.nobody_waits_in_vain()
        finally:
            self.close()

    # -- picking from what there is

    def some_ids(self, numbers: Sequence[int]) -> list[str]:
        return [self.ids[-1 - n % len(self.ids)] if self.ids else "nobody" for n in numbers]

    def an_end(self, number: int) -> str:
        ends = list(self.ends)
        return ends[-1 - number % len(ends)]

    def some_leases(self, numbers: Sequence[int]) -> list[Lease]:
        return [self.leases[-1 - n % len(self.leases)] for n in numbers] if self.leases else []

    def tasks(self, wanted: Sequence[dict[str, Any]]) -> list[NewTask]:
        news: list[NewTask] = []
        for each in wanted:
            wait, kin = each["wait"], each["kin"]
            fields = {name: each[name] for name in ("queue", "type", "hash", "priority", "max_attempts")} | each["says"]
            fields |= {"run_at": self.clock.now + wait} if wait < 0 else {"delay": wait}
            if expires := fields.pop("expires", None):
                fields["expires_at"] = self.clock.now + expires
            parents = [id for id in self.some_ids(kin.get("parents", ())) if id in self.model.tasks]
            parents += [news[-1].id] if "inside" in kin and news else []
            fields["depends_on"] = after(*dict.fromkeys(parents))
            fields["on_parent_failure"] = kin.get("on_parent_failure", OnParentFailure.CANCEL)
            if (each["type"], fields.get("unique_key")) in {(new.type, new.unique_key) for new in news}:
                fields["unique_key"] = None  # nobody sends two of one key in one call
            news.append(
                task(
                    id=fresh_id(),
                    tags=(each["queue"],),
                    payload=b'{"n":%d}' % len(self.ids),
                    extras=b"[%d]" % wait if wait > 0 else None,
                    **fields,
                )
            )
        return news

    # -- rules: the life of a task

    @initialize(wanted=st.lists(new_tasks, min_size=1, max_size=6), worker=workers, limit=st.sampled_from([3, 1, 0]))
    def begin(self, wanted: list[dict[str, Any]], worker: str, limit: int) -> None:
        """Most of what can go wrong needs a task, and one that is held."""
        self.submit(wanted, twice=False, known=None)
        self.claim_anything(worker, limit)

    @rule(wanted=st.lists(new_tasks, min_size=1, max_size=4), twice=st.booleans(), known=st.none() | pick)
    def submit(self, wanted: list[dict[str, Any]], twice: bool, known: int | None) -> None:
        news = self.tasks(wanted)
        if twice:
            news.append(replace(news[0], payload=b"another", queue="other"))
        if known is not None and self.ids and (id := self.some_ids([known])[0]) in self.model.tasks:
            news.insert(0, replace(news[0], id=id, payload=b"another"))
        self.submitted(news)

    def submitted(self, news: list[NewTask], puts: Sequence[Put] = (), notes: Sequence[Note] = ()) -> None:
        answer = self.do(self.store.submit(news, puts, notes))
        fresh = [new for new in news if new.id not in self.model.tasks]
        if self.model.submitted(news, puts, notes, answer):
            self.ids += dict.fromkeys(new.id for new in fresh)
        else:
            self.nothing_is_kept(fresh)

    @rule(wanted=st.lists(new_tasks, min_size=1, max_size=2), key=st.sampled_from("kl"), version=st.none() | st.integers(0, 2))
    def submit_with_records(self, wanted: list[dict[str, Any]], key: str, version: int | None) -> None:
        self.submitted(self.tasks(wanted), [Put("m", b"m", None, 100.0), Put(key, b"%d" % len(self.ids), version, 500.0)])

    @rule(wanted=new_tasks, scope=st.sampled_from(SCOPES))
    def submit_a_crowd(self, wanted: dict[str, Any], scope: str) -> None:
        """More of one limit key, in one line and due, than its gate lets run."""
        self.gate(scope, FREE | {"max_running_per_key": 1})
        crowd = wanted | {"queue": "a", "type": "x", "says": {"limit_key": "k"}, "kin": {}, "wait": 0.0}
        self.submitted(self.tasks([crowd] * 3))

    @precondition(lambda self: self.ends)
    @rule(wanted=new_tasks, chosen=pick)
    def submit_on_what_has_ended(self, wanted: dict[str, Any], chosen: int) -> None:
        (new,) = self.tasks([wanted])
        self.submitted([replace(new, depends_on=after(self.an_end(chosen)), on_parent_failure=OnParentFailure.RUN)])

    @rule(wanted=new_tasks, chosen=pick)
    def submit_with_the_key_of_another(self, wanted: dict[str, Any], chosen: int) -> None:
        """So that of those that have ended one is in the way of the other's retry."""
        keyed = [one for one in self.model.tasks.values() if one.new.unique_key and one.status in FINAL]
        if keyed:
            other = keyed[-1 - chosen % len(keyed)].new
            (new,) = self.tasks([wanted | {"kin": {}}])
            self.submitted([replace(new, type=other.type, unique_key=other.unique_key)])

    @rule(wanted=new_tasks, both=st.booleans())
    def submit_and_cancel_parents(self, wanted: dict[str, Any], both: bool) -> None:
        first, second, child = self.tasks([wanted | {"kin": {}, "says": {}}] * 3)
        self.submitted([first, second, replace(child, depends_on=after(first.id, second.id))])
        self.cancel_all([first.id, second.id] if both else [second.id])

    @rule(wanted=new_tasks, chosen=picks, stranger=st.booleans())
    def submit_from_a_handler(self, wanted: dict[str, Any], chosen: list[int], stranger: bool) -> None:
        """With a note of it under the task in hand; some are no longer in hand, and some depend on what nobody knows."""
        (new,) = self.tasks([wanted])
        notes = [note(lease, f"submitted/{new.id}", b'"%s"' % new.id.encode()) for lease in self.some_leases(chosen)]
        self.submitted([replace(new, depends_on=after("nobody")) if stranger and not notes else new], notes=notes)

    @rule(wanted=st.lists(new_tasks, min_size=2, max_size=3), place=st.integers(0, 2))
    def submit_poison(self, wanted: list[dict[str, Any]], place: int) -> None:
        """One that cannot be kept among others, while others are submitted: it fails alone, with those of its own call."""
        news, beside = self.tasks(wanted), self.tasks(wanted[:1])
        poisoned = [*news[:place], replace(news[0], id="poison", priority=2**70), *news[place:]]
        calls = [self.store.submit(poisoned), self.store.submit(beside)]
        refused, answer = self.do(together(calls))
        assert isinstance(refused, Exception), "what cannot be kept was accepted"
        if self.model.submitted(beside, (), (), answer):
            self.ids += [new.id for new in beside]
        self.nothing_is_kept(poisoned)

    def nothing_is_kept(self, news: list[NewTask]) -> None:
        same("tasks of a refused submit", self.do(self.store.get([new.id for new in news])), [None] * len(news))

    @rule(worker=workers, limit=st.sampled_from([3, 8]))
    def claim_anything(self, worker: str, limit: int) -> None:
        self.claimed(wants(worker=worker, limit=limit, lease=LEASE, types=frozenset("xy")))

    @rule(wanted=claims)
    def claim_something(self, wanted: dict[str, Any]) -> None:
        self.claimed(wants(**wanted))

    def claimed(self, asked: Claim) -> Claimed:
        answer = self.do(self.store.claim(asked))
        self.follow_log(until=Status.IN_PROGRESS)  # what expires in a claim comes before what it takes
        assert not self.called_off & {lease.id for lease in answer.leases}, "a cancelled task was claimed"
        self.model.claimed(asked, answer)
        self.leases += answer.leases
        return answer

    @rule(
        worker=workers,
        named=st.sampled_from(["all", "some", "none"]),
        strange=st.booleans(),
        lease=st.sampled_from([LEASE, 10.0]),
    )
    def renew(self, worker: str, named: str, strange: bool, lease: float) -> None:
        held = self.model.held(worker)
        tokens = {one.new.id: one.token or "" for one in held[: {"all": None, "some": 1, "none": 0}[named]]}
        if strange:
            others = {one.token for one in self.model.held() if one.worker != worker}  # nobody names these
            tokens |= {old.id: old.token for old in self.leases[:2] if old.token not in others} | {"nobody": "nothing"}
        answer = self.do(self.store.renew(worker, tokens, lease))
        self.model.renewed(worker, tokens, lease, answer)

    @precondition(lambda self: self.leases)
    @rule(chosen=picks, how=st.lists(ways, min_size=3, max_size=3))
    def settle(self, chosen: list[int], how: list[str]) -> None:
        self.settle_all([WAYS[way](lease) for way, lease in zip(how, self.some_leases(chosen), strict=False)])

    @precondition(lambda self: self.model.held())
    @rule(chosen=pick, way=ways)
    def settle_what_is_held(self, chosen: int, way: str) -> None:
        held = self.model.held()
        self.settle_all([WAYS[way](self.model.lease(held[-1 - chosen % len(held)]))])

    @precondition(lambda self: self.model.held())
    @rule(chosen=pick)
    def cancel_what_is_held(self, chosen: int) -> None:
        held = self.model.held()
        self.cancel_all([held[-1 - chosen % len(held)].new.id])

    @precondition(lambda self: self.settled)
    @rule(chosen=picks)
    def settle_again(self, chosen: list[int]) -> None:
        self.settle_all([self.settled[-1 - n % len(self.settled)] for n in chosen])

    @precondition(lambda self: self.leases)
    @rule(chosen=pick, how=ways, token=st.sampled_from(["", "nothing", "of another"]))
    def settle_with_a_forged_token(self, chosen: int, how: str, token: str) -> None:
        lease = self.some_leases([chosen])[0]
        other = next((one.token for one in self.leases if one.id != lease.id), "nothing")
        settled = WAYS[how](replace(lease, token=other if token == "of another" else token))
        same("settled by a forged token", self.do(self.store.settle([settled])), [False])

    def settle_all(self, settled: list[Settlement]) -> None:
        first = {one.lease.token: one for one in reversed(settled)}
        settled = [first[one.lease.token] for one in settled]  # contradictions in a batch may be settled in any order
        answers = self.do(self.store.settle(settled))
        self.settled += settled
        for one, answer in zip(settled, answers, strict=True):
            self.took(one, answer)

    def took(self, settled: Settlement, answer: bool) -> None:
        wanted = self.model.settle(settled)
        same(f"took {settled.status} {settled.outcome}", answer, answer if wanted is None else wanted)

    @precondition(lambda self: self.leases)
    @rule(chosen=picks, key=st.sampled_from(["progress", "step/a", "log/1"]), kind=st.sampled_from([None, *KINDS_OF_NOTES]))
    def note(self, chosen: list[int], key: str, kind: EventKind | None) -> None:
        notes = [note(lease, key, b"%d" % len(self.told), event=kind) for lease in self.some_leases(chosen)]
        same("notes that took", self.do(self.store.note(notes)), [self.model.note(one) for one in notes])

    # -- rules: gates

    @rule(scope=st.sampled_from(SCOPES), changes=gate_changes)
    def gate(self, scope: str, changes: dict[str, Any]) -> None:
        if changes.get("paused_until") is not None:
            changes = changes | {"paused_until": self.clock.now + changes["paused_until"]}
        same("a gate", self.do(self.store.gate(scope, changes)), self.model.gating.change(scope, changes))

    @rule(chosen=pick)
    def ask_why(self, chosen: int) -> None:
        (id,) = self.some_ids([chosen])
        self.model.check_held_up(id, self.do(self.store.held_up(id)))

    # -- rules: by hand

    @rule(what=st.sampled_from(["cancel", "retry", "delete"]), chosen=picks)
    def by_hand(self, what: str, chosen: list[int]) -> None:
        {"cancel": self.cancel_all, "retry": self.retry_all, "delete": self.delete_all}[what](self.some_ids(chosen))

    def cancel_all(self, ids: list[str]) -> None:
        for id, change in zip(ids, self.do(self.store.cancel(ids)), strict=True):
            self.cancelled(id, change)

    def cancelled(self, id: str, change: Change) -> None:
        self.model.cancelled(id, change)
        if change.before not in (None, *FINAL):
            self.called_off.add(id)

    @precondition(lambda self: self.ends)
    @rule(chosen=pick)
    def retry_what_has_ended(self, chosen: int) -> None:
        self.retry_all([self.an_end(chosen)])

    @precondition(lambda self: self.ends)
    @rule(chosen=pick)
    def delete_what_has_ended(self, chosen: int) -> None:
        self.delete_all([self.an_end(chosen)])

    def retry_all(self, ids: list[str]) -> None:
        for id, change in zip(ids, self.do(self.store.retry(ids)), strict=True):
            self.model.retried(id, change)

    def delete_all(self, ids: list[str]) -> None:
        for id, change in zip(ids, self.do(self.store.delete(ids)), strict=True):
            self.model.deleted(id, change)

    @precondition(lambda self: self.leases)
    @rule(
        chosen=st.lists(pick, min_size=2, max_size=6, unique=True),
        what=st.lists(st.sampled_from(["cancel", "retry", *WAYS]), min_size=6),
    )
    def at_once(self, chosen: list[int], what: list[str]) -> None:
        """Calls of one store at once, each on a task of its own kin: what each does is as if it were alone."""
        leases = self.model.unrelated({lease.id: lease for lease in self.some_leases(chosen)})
        plan = list(zip(what, leases, strict=False))
        calls: dict[str, Callable[[str, Lease], Awaitable[Any]]] = {
            "cancel": lambda _, lease: self.store.cancel([lease.id]),
            "retry": lambda _, lease: self.store.retry([lease.id]),
        }
        settle = lambda way, lease: self.store.settle([WAYS[way](lease)])  # noqa: E731
        answers = self.do(together([calls.get(way, settle)(way, lease) for way, lease in plan]))
        for (way, lease), (answer,) in zip(plan, answers, strict=True):
            if way == "cancel":
                self.cancelled(lease.id, answer)
            elif way == "retry":
                self.model.retried(lease.id, answer)
            else:
                self.took(WAYS[way](lease), answer)

    # -- rules: upkeep, time

    @rule(dead=st.frozensets(workers, max_size=1), limit=st.sampled_from([100, 1, 2]))
    def reclaim(self, dead: frozenset[str], limit: int) -> None:
        held = [one.new.id for one in self.model.held()]
        count = self.do(self.store.reclaim(dead, limit))
        found = self.do(self.store.get(held))
        self.model.reclaimed(dead, limit, count, [one.id for one in found if one and one.status != Status.IN_PROGRESS])

    @rule(
        keep=st.sampled_from([60.0, 5.0, 0.0, 1_000.0]),
        limit=st.sampled_from([100, 1]),
        most=st.sampled_from([1_000, 3]),
        wait=st.sampled_from([0.0, 6.0, 61.0]),
    )
    def tidy(self, keep: float, limit: int, most: int, wait: float) -> None:
        self.time_passes(wait)
        count = self.do(self.store.prune(keep, limit))
        left = {one.id for one in self.do(self.store.get(self.ids)) if one}
        self.model.pruned(keep, limit, count, set(self.model.tasks) - left)
        self.do(self.store.trim(keep, most, 1_000))
        self.model.trim()

    @rule(limit=st.sampled_from([100, 1]))
    def expire(self, limit: int) -> None:
        over = [one for one in self.model.tasks.values() if one.expired(self.clock.now)]
        count = self.do(self.store.expire(limit))
        found = self.do(self.store.get([one.new.id for one in over]))
        codes = [one.error and one.error.code for one in found if one]
        same("expired", (count, codes.count(ErrorCode.EXPIRED)), (min(limit, len(over)),) * 2)

    @rule(limit=st.sampled_from([100, 1]))
    def cascade(self, limit: int) -> None:
        moved = self.do(self.store.cascade(limit))
        assert moved <= limit, "a cascade moved too many"
        assert not (moved and self.at_once_all), "an end left dependents behind"
        if moved == 0:
            self.follow_log()
            self.model.nothing_is_left()

    @rule(seconds=st.sampled_from([10.0, 1.0, 9.5, 29.5, 31.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.model.tick(self.clock.now)

    @rule(seconds=st.sampled_from([-5.0, -40.0, -3_600.0, 40.0, 3_600.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        """Upkeep that saw it shortens the leases; one that did not finds them over or long."""
        self.clock.jump(seconds)
        self.model.tick(self.clock.now)
        if seconds < 0:
            same("clamped", self.do(self.store.clamp(LEASE)), self.model.clamp(LEASE))

    @precondition(lambda self: self.outlives)
    @rule()
    def reopen(self) -> None:
        self.do(self.store.close())
        self.open()

    # -- at the end

    def nobody_waits_in_vain(self) -> None:
        """Once nothing is paused for good, all ends if somebody sleeps until `next_at` and settles what he gets."""
        for gate in self.model.gating.all():
            self.gate(gate.scope, {"paused": False, "paused_until": None, "reason": None})
        while True:
            while self.do(self.store.cascade(100)):
                self.all_holds()
            answer = self.claimed(wants(limit=50, types=frozenset("xy")))
            held = [WAYS["done"](self.model.lease(one)) for one in self.model.held()]
            self.settle_all(held)
            self.all_holds()
            if answer.next_at is None and not held and not self.do(self.store.cascade(100)):
                break
            if answer.next_at is not None and not held:
                self.clock.now = max(self.clock.now, answer.next_at)
                self.model.tick(self.clock.now)
        same("unfinished", [one.new.id for one in self.model.tasks.values() if one.status not in FINAL], [])


async def together(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)
