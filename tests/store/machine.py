"""Drives a store and the model side by side through whatever hypothesis thinks of, and asks after every step what must hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from dolgo.store.base import Claim
from dolgo.task.types import FINAL, Event, Lease, NewTask, Put, Query, Settlement, Status, Task
from tests.store.build import claim, fresh_id, numbers, task, wants
from tests.store.clock import Clock
from tests.store.kinds import Make, a_folder
from tests.store.model import Model, same
from tests.store.moves import ARROWS, LEASE, WAYS, WORKERS, claims, new_tasks, pick, picks, ways, workers

T = TypeVar("T")


class StoreMachine(RuleBasedStateMachine):
    """Rules and invariants; a subclass names the store."""

    make: ClassVar[Make]
    outlives: ClassVar[bool] = False  # whether what is stored is there again when the store is opened anew

    def __init__(self) -> None:
        super().__init__()
        self.clean_up = ExitStack()
        self.folder = self.clean_up.enter_context(a_folder())
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model()
        self.model.tick(self.clock.now)
        self.ids: list[str] = []  # all that were submitted
        self.leases: list[Lease] = []  # all that were handed out, stale ones too
        self.settled: list[Settlement] = []  # all that were sent
        self.cursor = 0
        self.seen: dict[str, list[tuple[Status, int]]] = {}  # of the log, by task
        self.ends: dict[str, Task] = {}  # final tasks as first read
        self.called_off: set[str] = set()  # tasks whose cancel was answered, until a retry
        self.sound = True  # False while a step is not known to be right: its own failure is the one to tell of
        self.open()

    def open(self) -> None:
        self.store = type(self).make(self.folder, self.clock)
        self.do(self.store.open())

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        self.sound = False
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        try:
            if self.sound:
                self.nobody_waits_in_vain()
        finally:
            self.do(self.store.close())
            self.loop.close()
            self.clean_up.close()

    # -- picking from what there is

    def some_ids(self, numbers: Sequence[int]) -> list[str]:
        return [self.ids[-1 - n % len(self.ids)] if self.ids else "nobody" for n in numbers]

    def some_leases(self, numbers: Sequence[int]) -> list[Lease]:
        return [self.leases[-1 - n % len(self.leases)] for n in numbers] if self.leases else []

    def tasks(self, wanted: Sequence[dict[str, Any]]) -> list[NewTask]:
        news = []
        for each in wanted:
            wait, fields = each["wait"], {name: value for name, value in each.items() if name != "wait"}
            when = {"run_at": self.clock.now + wait} if wait < 0 else {"delay": wait}
            news.append(task(id=fresh_id(), tags=(each["queue"],), payload=b'{"n":%d}' % len(self.ids), **fields, **when))
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
        self.ids = list(dict.fromkeys([*self.ids, *(new.id for new in news)]))
        answer = self.do(self.store.submit(news))
        same("a submit", (answer.existing, answer.statuses), (None, self.model.submit(news)))

    @rule(wanted=st.lists(new_tasks, min_size=1, max_size=2), key=st.sampled_from("kl"), version=st.none() | st.integers(0, 2))
    def submit_with_records(self, wanted: list[dict[str, Any]], key: str, version: int | None) -> None:
        news, puts = self.tasks(wanted), [Put("m", b"m", None, 100.0), Put(key, b"%d" % len(self.ids), version, 500.0)]
        answer = self.do(self.store.submit(news, puts))
        told: Any = answer.existing.key if answer.existing else answer.statuses
        same("a submit with records", told, self.model.submit(news, puts))
        if answer.existing is None:
            self.ids += [new.id for new in news]
        else:
            self.nothing_is_kept(news)

    @rule(wanted=st.lists(new_tasks, min_size=2, max_size=3), place=st.integers(0, 2))
    def submit_poison(self, wanted: list[dict[str, Any]], place: int) -> None:
        """One that cannot be kept among others, while others are submitted: it fails alone, with those of its own call."""
        news, beside = self.tasks(wanted), self.tasks(wanted[:1])
        poisoned = [*news[:place], replace(news[0], id="poison", priority=2**70), *news[place:]]
        calls = [self.store.submit(poisoned), self.store.submit(beside)]
        refused, answer = self.do(together(calls))
        assert isinstance(refused, Exception), "what cannot be kept was accepted"
        same("the submit beside", answer.statuses, self.model.submit(beside))
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

    def claimed(self, asked: Claim) -> None:
        answer = self.do(self.store.claim(asked))
        assert not self.called_off & {lease.id for lease in answer.leases}, "a cancelled task was claimed"
        self.model.claimed(asked, answer)
        self.leases += answer.leases

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

    # -- rules: by hand

    @rule(what=st.sampled_from(["cancel", "retry", "delete"]), chosen=picks)
    def by_hand(self, what: str, chosen: list[int]) -> None:
        {"cancel": self.cancel_all, "retry": self.retry_all, "delete": self.delete_all}[what](self.some_ids(chosen))

    def cancel_all(self, ids: list[str]) -> None:
        answers = self.do(self.store.cancel(ids))
        same("cancel", answers, [self.model.cancel(id) for id in ids])
        self.called_off |= {id for id, before in zip(ids, answers, strict=True) if before not in (None, *FINAL)}

    @precondition(lambda self: self.ends)
    @rule(chosen=pick)
    def retry_what_has_ended(self, chosen: int) -> None:
        ends = list(self.ends)
        self.retry_all([ends[-1 - chosen % len(ends)]])

    def retry_all(self, ids: list[str]) -> None:
        answers = self.do(self.store.retry(ids))
        same("retry", answers, [self.model.retry(id) for id in ids])
        revived = {id for id, before in zip(ids, answers, strict=True) if before in (Status.FAILED, Status.CANCELLED)}
        self.called_off -= revived
        self.ends = {id: end for id, end in self.ends.items() if id not in revived}

    def delete_all(self, ids: list[str]) -> None:
        same("delete", self.do(self.store.delete(ids)), [self.model.delete(id) for id in ids])

    @precondition(lambda self: self.leases)
    @rule(
        chosen=st.lists(pick, min_size=2, max_size=6, unique=True),
        what=st.lists(st.sampled_from(["cancel", "retry", *WAYS]), min_size=6),
    )
    def at_once(self, chosen: list[int], what: list[str]) -> None:
        """Calls of one store at once, each on a task of its own: what each does is as if it were alone."""
        leases = list({lease.id: lease for lease in self.some_leases(chosen)}.values())
        plan = list(zip(what, leases, strict=False))
        calls: dict[str, Callable[[str, Lease], Awaitable[Any]]] = {
            "cancel": lambda _, lease: self.store.cancel([lease.id]),
            "retry": lambda _, lease: self.store.retry([lease.id]),
        }
        settle = lambda way, lease: self.store.settle([WAYS[way](lease)])  # noqa: E731
        answers = self.do(together([calls.get(way, settle)(way, lease) for way, lease in plan]))
        for (way, lease), (answer,) in zip(plan, answers, strict=True):
            if way not in WAYS:
                same(f"{way} at once", answer, getattr(self.model, way)(lease.id))
            else:
                self.took(WAYS[way](lease), answer)
            if way == "cancel" and answer not in (None, *FINAL):
                self.called_off.add(lease.id)
            elif way == "retry" and answer in (Status.FAILED, Status.CANCELLED):
                self.called_off.discard(lease.id)
                self.ends.pop(lease.id, None)

    # -- rules: upkeep, time

    @rule(dead=st.frozensets(workers, max_size=1), limit=st.sampled_from([100, 1, 2]))
    def reclaim(self, dead: frozenset[str], limit: int) -> None:
        held = [one.new.id for one in self.model.held()]
        count = self.do(self.store.reclaim(dead, limit))
        found = self.do(self.store.get(held))
        self.model.reclaimed(dead, limit, count, [one.id for one in found if one and one.status != Status.IN_PROGRESS])

    @rule(keep=st.sampled_from([60.0, 5.0, 0.0, 1_000.0]), limit=st.sampled_from([100, 1]), most=st.sampled_from([1_000, 3]))
    def tidy(self, keep: float, limit: int, most: int) -> None:
        same("pruned", self.do(self.store.prune(keep, limit)), self.model.prune(keep, limit))
        self.do(self.store.trim(keep, most, 1_000))
        self.model.trim()

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

    # -- what holds after every step

    @invariant()
    def all_holds(self) -> None:
        self.tasks_are_as_they_should_be()
        self.counts_are_true()
        self.the_log_is_the_history()
        self.records_are_as_written()
        self.the_asked_are_told()
        self.sound = True

    def tasks_are_as_they_should_be(self) -> None:
        """Kept, one holder, counts true: every task looks as the model has it, and there are no others."""
        found = self.do(self.store.get(self.ids))
        same("what is kept", [one.id for one in found if one], [id for id in self.ids if id in self.model.tasks])
        for one in found:
            if one is not None:
                self.model.check_task(one)
                same(f"attempts of {one.id}", numbers(one), list(range(1, one.attempt + 1)))
                self.final_is_final(one)
        page = self.do(self.store.list(Query(limit=1_000)))
        wanted = sorted((one for one in found if one), key=lambda one: (one.created_at, one.id), reverse=True)
        same("the list", [one.id for one in page.tasks], [one.id for one in wanted])
        same("tasks on the list", page.tasks, wanted)

    def the_asked_are_told(self) -> None:
        for worker in WORKERS:
            wanted = [one.new.id for one in self.model.held(worker) if one.cancel_asked]
            same(f"what {worker} is asked to stop", sorted(self.do(self.store.asked(worker))), sorted(wanted))

    def final_is_final(self, one: Task) -> None:
        if one.status in FINAL:
            assert self.ends.setdefault(one.id, one) == one, "a final task has changed"
        else:
            assert one.status != Status.QUEUED or one.id not in self.called_off, "a cancelled task is queued"
            assert one.id not in self.ends, "a final task has come back by itself"

    def counts_are_true(self) -> None:
        counts = self.do(self.store.counts())
        counted = Counter({(one.queue, one.type, one.hash, status): n for one in counts for status, n in one.counts.items() if n})
        same("the counts", counted, self.model.counts())
        self.model.check_oldest(self.do(self.store.oldest()))

    def the_log_is_the_history(self) -> None:
        """A reader that goes on where it was sees every transition once, in order, and no arrow that does not exist."""
        page = self.do(self.store.events(self.cursor, 1_000))
        assert not page.reset, "the log has lost its reader"
        for event in page.events:
            assert event.seq > self.cursor, "an event comes again or out of order"
            self.cursor = event.seq
            self.read(event)
        same("the end of the log", (page.next, self.do(self.store.head())), (self.cursor, self.cursor))
        same("the log", self.seen, self.model.log)

    def read(self, event: Event) -> None:
        seen = self.seen.setdefault(event.id, [])
        before = seen[-1][0] if seen else None
        deleted = event.id not in self.model.tasks or before in FINAL
        legal = (before, event.status) in ARROWS or (deleted and event.status == Status.QUEUED)
        assert legal, f"no arrow leads from {before} to {event.status}"
        same("the time of an event", event.time, self.clock.now)
        seen.append((event.status, event.attempt))

    def records_are_as_written(self) -> None:
        found = {one.key: (one.value, one.version, one.expires_at) for one in self.do(self.store.records(""))}
        same("the records", found, self.model.unexpired())

    def nobody_waits_in_vain(self) -> None:
        """At the end everything that is queued is claimed by whoever sleeps until `next_at`."""
        while True:
            asked = wants(limit=50, types=frozenset("xy"))
            answer = self.do(claim(self.store, limit=50, types=frozenset("xy")))
            self.model.claimed(asked, answer)
            if answer.next_at is None and not answer.leases:
                break
            if answer.next_at is not None:
                self.clock.now = max(self.clock.now, answer.next_at)
                self.model.tick(self.clock.now)
        same("still queued", [one.new.id for one in self.model.tasks.values() if one.status == Status.QUEUED], [])


async def together(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)
