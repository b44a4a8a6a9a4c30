"""What must hold after every step, and the state in which a store and the model stand side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec.structs import replace

from dolgo.task.types import FINAL, Event, EventKind, Query, Status, Task
from tests.store.build import numbers
from tests.store.clock import Clock
from tests.store.kinds import Make, a_folder
from tests.store.known import same
from tests.store.model import Model
from tests.store.moves import ARROWS, WORKERS

T = TypeVar("T")


class Looks(RuleBasedStateMachine):
    """A store, the model, and what is asked of both."""

    make: ClassVar[Make]
    outlives: ClassVar[bool] = False  # whether what is stored is there again when the store is opened anew
    at_once_all: ClassVar[bool] = True  # whether a commit moves all dependents that these rules can come by

    def __init__(self) -> None:
        super().__init__()
        self.clean_up = ExitStack()
        self.folder = self.clean_up.enter_context(a_folder())
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model()
        self.model.tick(self.clock.now)
        self.ids: list[str] = []  # all that were submitted
        self.cursor = 0
        self.seen: dict[str, list[tuple[Status, int]]] = {}  # of the log, by task
        self.told: list[tuple[str, EventKind, bytes | None]] = []  # of the log, what is no status
        self.news: list[tuple[int, Event]] = []  # of the log, not yet followed, each with its place among those of its task
        self.ends: dict[str, Task] = {}  # final tasks as first read
        self.called_off: set[str] = set()  # tasks whose cancel was answered, until they begin anew
        self.sound = True  # False while a step is not known to be right: its own failure is the one to tell of
        self.open()

    def open(self) -> None:
        self.store = type(self).make(self.folder, self.clock)
        self.do(self.store.open())

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        self.sound = False
        return self.loop.run_until_complete(call)

    def close(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.clean_up.close()

    # -- what holds after every step

    @invariant()
    def all_holds(self) -> None:
        self.the_log_is_the_history()
        self.tasks_are_as_they_should_be()
        self.counts_are_true()
        self.gates_and_notes_are_as_written()
        self.records_are_as_written()
        self.the_asked_are_told()
        self.sound = True

    def tasks_are_as_they_should_be(self) -> None:
        """Kept, one holder, counts true: every task looks as the model has it, and there are no others."""
        for id in self.model.back:
            self.ends.pop(id, None)
            self.called_off.discard(id)
        self.model.back.clear()
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
            one = replace(one, cancel_asked=False)  # one that a parent has cancelled may be wanted cancelled afterwards
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
        self.follow_log()
        same("the log", self.seen, self.model.log)
        same("notes in the log", self.told, self.model.told)
        if self.at_once_all:
            self.model.nothing_is_left()

    def follow_log(self, until: Status | None = None) -> None:
        """Tells the model of what nobody asked for; up to the first event of a status, if one is named."""
        self.read_log()
        for place, event in self.news:
            if event.status == until:
                break
            if place >= len(self.model.log.get(event.id, ())):
                assert event.id in self.model.tasks, "the log tells of a task that there is not"
                self.model.follow(event.id, event.status)
        self.news.clear()

    def read_log(self) -> None:
        page = self.do(self.store.events(self.cursor, 1_000))
        assert not page.reset, "the log has lost its reader"
        for event in page.events:
            assert event.seq > self.cursor, "an event comes again or out of order"
            self.cursor = event.seq
            same("the time of an event", event.time, self.clock.now)
            if event.kind == EventKind.STATUS:
                self.read(event)
            else:
                self.told.append((event.id, event.kind, event.data))
        same("the end of the log", (page.next, self.do(self.store.head())), (self.cursor, self.cursor))

    def read(self, event: Event) -> None:
        seen = self.seen.setdefault(event.id, [])
        before = seen[-1][0] if seen else None
        legal = (before, event.status) in ARROWS
        assert legal, f"no arrow leads from {before} to {event.status}"
        self.news.append((len(seen), event))
        seen.append((event.status, event.attempt))

    def records_are_as_written(self) -> None:
        found = {one.key: (one.value, one.version, one.expires_at) for one in self.do(self.store.records(""))}
        same("the records", found, self.model.unexpired())

    def gates_and_notes_are_as_written(self) -> None:
        same("the gates", list(self.do(self.store.gates())), self.model.gating.all())
        found = dict(zip(self.ids, self.do(self.store.details(self.ids)), strict=True))
        same("the details", {id: one for id, one in found.items() if one}, self.model.details())
        for one in self.model.tasks.values():
            if one.notes:
                same(f"notes of {one.new.id}", list(self.do(self.store.notes(one.new.id))), sorted(one.notes.items()))
