"""Who waits for whom: what ends and retries do to dependents."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dolgo.store.base import CASCADED
from dolgo.store.memory.rows import Row, called_off
from dolgo.store.memory.table import Table
from dolgo.store.sentences import parent_ended
from dolgo.task.types import FINAL, Dependency, ErrorCode, OnParentFailure, Status, Task


class Edges:
    """Moves dependents on, by what their parents are at that moment: so it is right whatever happened meanwhile."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._left: deque[Fan] = deque()  # what commits have left over

    def parents(self, depends_on: Sequence[Dependency], policy: OnParentFailure) -> tuple[set[str], Task | None]:
        """Those that have not ended; and one because of which a task with that policy is cancelled."""
        pending = set()
        for parent in depends_on:
            row = self._table.rows.get(parent.id)
            if row is None or row.task.status is Status.DONE:
                continue
            if row.task.status not in FINAL:
                pending.add(parent.id)
            elif policy is OnParentFailure.CANCEL:
                return set(), row.task
        return pending, None

    def follow(self, now: float) -> None:
        """Move on as many dependents of what has ended or begun anew as one commit may; the rest is left over."""
        table = self._table
        if table.ended or table.begun_anew:
            fans: deque[Fan] = deque()
            self._work(fans, CASCADED, now)
            self._left += fans

    def cascade(self, limit: int, now: float) -> int:
        """Go on with what is left over; how many were moved."""
        return self._work(self._left, limit, now)

    def _work(self, fans: deque[Fan], limit: int, now: float) -> int:
        moved = 0
        self._gather(fans)
        while fans and moved < limit:
            fan = fans[0]
            if not fan.children:
                fans.popleft()
            elif (row := self._table.rows.get(fan.children.pop())) is not None:
                moved += self._move(row, fan, now)
                self._gather(fans)
        return moved

    def _gather(self, fans: deque[Fan]) -> None:
        """Moving a dependent may end it, or begin it anew, which reaches its own."""
        table = self._table
        for ids, revives in ((table.ended, False), (table.begun_anew, True)):
            fans += [Fan(id, revives, table.dependents[id]) for id in ids if id in table.dependents]
            ids.clear()

    def _move(self, row: Row, fan: Fan, now: float) -> bool:
        """Whether there was something to do."""
        if row.task.status is Status.WAITING:
            return self._release(row, fan.parent, now)
        return fan.revives and self._revive(row, now)

    def _release(self, row: Row, id: str, now: float) -> bool:
        """What a parent is now, done to one that waits."""
        policy = row.task.on_parent_failure
        pending, bad = self.parents([Dependency(id)], policy)
        if bad is None and (id in row.pending) == bool(pending):
            return False
        if bad is None:
            row.pending ^= {id}
        if bad is None and not row.pending:  # another may have been retried or have failed, and be left over
            row.pending, bad = self.parents(row.parents, policy)
        if bad is not None:
            sentence = parent_ended(bad.id, bad.status)
            self._table.write(row, now, **called_off(now, sentence, ErrorCode.DEPENDENCY_FAILED))
        elif not row.pending:
            self._table.write(row, now, status=Status.QUEUED, run_at=max(row.task.run_at, now))
        return True

    def _revive(self, row: Row, now: float) -> bool:
        """Bring one back that was cancelled because of a parent, if none would cancel it now."""
        task = row.task
        if not row.by_parent or task.cancel_asked:
            return False
        pending, bad = self.parents(row.parents, task.on_parent_failure)
        if bad is not None or self._table.has_key(task.type, task.unique_key) is not None:
            return False
        self.begin_anew(row, pending, now, run_at=max(task.run_at, now))
        return True

    def begin_anew(self, row: Row, pending: set[str], now: float, *, run_at: float) -> None:
        self._table.begin_anew(row, now, Status.WAITING if pending else Status.QUEUED, run_at=run_at)
        row.pending = pending


class Fan:
    """A parent, and those of its dependents that are still to be looked at."""

    __slots__ = ("children", "parent", "revives")

    def __init__(self, parent: str, revives: bool, children: dict[str, None]) -> None:
        self.parent = parent
        self.revives = revives  # the parent has begun anew; else it has ended
        self.children = list(children)[::-1]
