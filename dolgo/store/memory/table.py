"""All tasks of the memory store, and the places where each stands by its status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from dolgo.store.memory.gates import Gates
from dolgo.store.memory.lines import Group
from dolgo.store.memory.ordered import Heap, Keys
from dolgo.store.memory.parts import EventLog, Kept
from dolgo.store.memory.rows import Row, with_newest
from dolgo.task.types import FINAL, NewTask, Status, last_outcome

MOST_DUE = 500  # tasks a claim moves into their lines: one that finds a million due must not stop the loop

TimeKey = tuple[float, str]  # a time of a task and its id


class Table:
    """Rows by id. Whoever changes a status does it by `write`: counts, places and the log follow."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.groups: dict[tuple[str, str, str], Group] = {}  # by queue, type, hash
        self.gates = Gates()
        self.log = EventLog()
        self.later: Heap[float] = Heap()  # ids of queued tasks that are not yet due, by run_at
        self.expiring: Heap[float] = Heap()  # ids of tasks that have not started, by expires_at
        self.held: dict[str, dict[str, Row]] = {}  # tasks in progress by worker and id
        self.created: Keys[TimeKey] = Keys()
        self.finished: Keys[TimeKey] = Keys()
        self.kept = Kept()  # of those that have ended, all that no unfinished task depends on
        self.unique: dict[tuple[str, str], str] = {}  # ids of unfinished tasks by type and unique key
        self.dependents: dict[str, dict[str, None]] = {}  # ids by that of a parent, by the time of their submit
        self.unfinished: dict[str, int] = {}  # how many of them have not ended, by the id of the parent
        self.closed: dict[str, list[Group]] = {}  # where the line of a limit key is closed
        self.ended: list[str] = []  # since somebody took them to move their dependents on
        self.begun_anew: list[str] = []  # likewise
        self.joined = False  # something may have become claimable since the last ring

    # -- coming, changing, going

    def add(self, new: NewTask, now: float, **changes: Any) -> Row:
        key = (new.queue, new.type, new.hash)
        group = self.groups.get(key) or self.groups.setdefault(key, Group(*key))
        row = self.rows[new.id] = Row(new, group, now)
        row.task = replace(row.task, **changes)
        self.created.add((now, new.id))
        for parent in row.parents:
            self.dependents.setdefault(parent.id, {})[new.id] = None
        if row.task.status not in FINAL:
            self._begin(row)
        self._enter(row, now)
        return row

    def write(self, row: Row, now: float, **changes: Any) -> None:
        """The one way to another status."""
        was_final = row.task.status in FINAL
        self._leave(row)
        row.task = replace(row.task, **changes)
        final = row.task.status in FINAL
        if final and not was_final:
            self._end(row, now)
        elif was_final and not final:
            self._begin(row)
        self._enter(row, now)

    def begin_anew(self, row: Row, now: float, status: Status, *, run_at: float) -> None:
        """Final → unfinished."""
        task = row.task
        history = task.history
        if task.started_at is not None:  # the newest attempt is on the record and not yet in its history
            history = with_newest(task, last_outcome(task.status, task.error), task.finished_at, task.error)
        fresh = {"failures": 0, "losses": 0, "deferrals": 0, "suspect": False, "cancel_asked": False, "result": None}
        unheld: dict[str, Any] = {"worker": None, "started_at": None, "finished_at": None, "error": None}
        if task.expires_at is not None and task.expires_at <= now:
            unheld["expires_at"] = None
        row.token = row.settled = None
        row.due = False
        self.write(row, now, status=status, generation=task.generation + 1, run_at=run_at, history=history, **fresh, **unheld)
        self.begun_anew.append(task.id)

    def remove(self, row: Row) -> None:
        task = row.task
        self._leave(row)
        del self.rows[task.id]
        self.created.discard((task.created_at, task.id))
        for id in {parent.id for parent in row.parents}:
            del self.dependents[id][task.id]
            if not self.dependents[id]:
                del self.dependents[id]
        if not row.group.counts:
            del self.groups[row.group.queue, row.group.type, row.group.hash]

    # -- between unfinished and final

    def has_key(self, type: str, unique_key: str | None) -> str | None:
        """The unfinished task of that type that has the key."""
        return None if unique_key is None else self.unique.get((type, unique_key))

    def _begin(self, row: Row) -> None:
        if row.task.unique_key is not None:
            self.unique[row.task.type, row.task.unique_key] = row.task.id
        for id in {parent.id for parent in row.parents}:
            self.unfinished[id] = self.unfinished.get(id, 0) + 1
            self.kept.discard(id)

    def _end(self, row: Row, now: float) -> None:
        row.pending.clear()
        self.ended.append(row.task.id)
        if row.task.unique_key is not None:
            del self.unique[row.task.type, row.task.unique_key]
        for id in {parent.id for parent in row.parents}:
            self.unfinished[id] -= 1
            if not self.unfinished[id]:
                del self.unfinished[id]
                self.keep(id, now)

    def keep(self, id: str, now: float) -> None:
        """Let the task be pruned in its time, if it has ended and no unfinished task depends on it."""
        row = self.rows.get(id)
        if row is not None and row.task.status in FINAL and id not in self.unfinished:
            self.kept.add(row.task, row.needed_until, now)

    # -- places: where a task stands besides its row

    def _leave(self, row: Row) -> None:
        task, group = row.task, row.group
        group.count(task.status, -1)
        self.expiring.discard(task.id)
        if task.status is Status.QUEUED:
            group.discard(task.id, task.limit_key)
            self.later.discard(task.id)
        elif task.worker is not None and task.status is Status.IN_PROGRESS:
            del self.held[task.worker][task.id]
            if not self.held[task.worker]:
                del self.held[task.worker]
            self._reopen(row)
        elif task.finished_at is not None:
            self.finished.discard((task.finished_at, task.id))
            self.kept.discard(task.id)

    def _enter(self, row: Row, now: float) -> None:
        task = row.task
        row.group.count(task.status, 1)
        self.log.append(now, task)
        if task.status in (Status.WAITING, Status.QUEUED) and task.expires_at is not None and not task.attempt:
            self.expiring.add(task.id, task.expires_at)
        if task.status is Status.QUEUED:
            self.stand(row, now)
            self.joined = True
        elif task.worker is not None and task.status is Status.IN_PROGRESS:
            self.held.setdefault(task.worker, {})[task.id] = row
            self.gates.started(row.group.scopes, task.limit_key, now)
        elif task.finished_at is not None:
            self.finished.add((task.finished_at, task.id))
            self.keep(task.id, now)

    def stand(self, row: Row, now: float) -> None:
        """Put a queued task into its line, or among those whose time has not come."""
        task = row.task
        row.due = row.due or task.run_at <= now
        if row.due:
            row.group.add(task.id, row.rank, task.limit_key)
        else:
            self.later.add(task.id, task.run_at)

    def let_due_in(self, now: float) -> None:
        for _ in range(MOST_DUE):
            first = self.later.first()
            if first is None or first[0] > now:
                break
            self.later.discard(first[1])
            self.stand(self.rows[first[1]], now)

    def leases(self) -> Iterator[tuple[str, Row]]:
        for worker, rows in self.held.items():
            for row in rows.values():
                yield worker, row

    # -- lines that are closed, because of their limit key as many run as may

    def close(self, group: Group, key: str) -> None:
        group.close(key)
        self.closed.setdefault(key, []).append(group)

    def reopen_all(self) -> None:
        for key in list(self.closed):
            self._reopen_key(key)

    def _reopen(self, row: Row) -> None:
        key = row.task.limit_key
        self.joined |= self.gates.ended(row.group.scopes, key)
        if key in self.closed:
            self._reopen_key(key)

    def _reopen_key(self, key: str) -> None:
        for group in self.closed.pop(key):
            group.reopen(key)
