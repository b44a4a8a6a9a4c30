"""What a claim finds where gates or limit keys are about: the first tasks of the lines that are open, in exact order.

A heap holds the lines it fits by their heads and, once looked into, by their first tasks. Lines with limit keys come in by their
heads, some at a time, so what a claim costs depends on what it takes and closes, not on how many there are.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from dolgo.store.base import Claim
from dolgo.store.relational.rows import LineKey
from dolgo.store.sqlite.gates import Gates
from dolgo.store.sqlite.sql import run, run_rows
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import HeldUp

Pick = tuple[float, str, int]  # rank, id, n
Place = tuple[float, str, int, str]  # rank and id ("": not known yet) of the first task, line, limit key

MOST_CLOSED = 1_000  # lines one claim closes; with more it asks to be made again at once
AT_ONCE = 64  # lines with a limit key that are read together
LOWEST = float("-inf")


def fits(call: Claim, key: LineKey) -> bool:
    """Whether the claim is for the tasks of such a line."""
    queue, type, hash = key
    return type in call.types and (call.queues is None or queue in call.queues) and (type, hash) not in call.avoid


class Walk:
    """One claim's way through the lines. `next_at`: when time lets go something of what it had to pass over."""

    def __init__(self, turn: Turn, call: Claim) -> None:
        self.next_at: float | None = None
        self._turn = turn
        self._call = call
        self._gates: Gates = turn.gates()
        self._heap: list[Place] = []
        self._found: dict[tuple[int, str], deque[Pick]] = {}  # of lines looked into, the tasks behind the one on the heap
        self._last: dict[
            int, tuple[float, str]
        ] = {}  # rank and id of the last one read with a limit key, where there may be more
        self._passed: set[int] = set()  # lines that are closed as a whole
        self._full: list[tuple[int, str]] = []  # lines to close, their key being at its limit

    def picks(self) -> list[Pick]:
        """What is to be taken, smallest (rank, id) first. The gates have counted it."""
        picks: list[Pick] = []
        if self._call.limit > 0:
            self._enter()
        while self._heap and len(picks) < self._call.limit:
            place = heappop(self._heap)
            _, _, line, key = place
            self._read_on(place)
            if len(self._full) >= MOST_CLOSED:
                self.next_at = self._turn.now
                break
            if line in self._passed or not self._open(line, key):
                continue
            if (line, key) in self._found:
                picks.append(self._found[line, key].popleft())
                self._gates.take(line, key)
            else:
                self._look_into(line, key, self._call.limit - len(picks))
            self._push_first(line, key)
        run_rows(self._turn.connection, "keyed_close", self._full)
        return picks

    def _enter(self) -> None:
        """Every line with something claimable comes onto the heap, but those that are closed."""
        heads = self._turn.open_lines()
        keyed = {line for (line,) in run(self._turn.connection, "keyed_lines").fetchall()} if not self._call.ahead else set()
        for line in {line for _, line in heads} | keyed:
            if not fits(self._call, self._turn.key(line)) or (self._call.ahead and self._gates.counts(line)):
                self._passed.add(line)
            elif (held_up := self._gates.held_up(line)) is not None:
                self._pass_over(line, held_up)
        self._heap = [(head, "", line, "") for head, line in heads if line not in self._passed]
        heapify(self._heap)
        for line in keyed - self._passed:
            self._read_keyed(line, (LOWEST, ""))

    def _pass_over(self, line: int, held_up: HeldUp) -> None:
        self._passed.add(line)
        if held_up.until is not None and run(self._turn.connection, "is_claimable", line).fetchone()[0]:
            self.next_at = held_up.until if self.next_at is None else min(self.next_at, held_up.until)

    def _open(self, line: int, key: str) -> bool:
        """Whether a task of this line may be taken now."""
        if (held_up := self._gates.held_up(line)) is not None:
            self._pass_over(line, held_up)
            return False
        if key and self._gates.key_held_up(line, key) is not None:
            self._full.append((line, key))
            return False
        return True

    def _look_into(self, line: int, key: str, limit: int) -> None:
        self._found[line, key] = deque(run(self._turn.connection, "line_first", line, key, limit).fetchall())
        if not key:
            self._turn.looked_into(line)

    def _push_first(self, line: int, key: str) -> None:
        found = self._found[line, key]
        if found:
            heappush(self._heap, (found[0][0], found[0][1], line, key))

    # -- lines with limit keys

    def _read_on(self, place: Place) -> None:
        """When the last line that was read comes up, read the next ones: none of them has a smaller head."""
        rank, id, line, _ = place
        if self._last.get(line) == (rank, id) and line not in self._passed:
            self._read_keyed(line, self._last.pop(line))

    def _read_keyed(self, line: int, after: tuple[float, str]) -> None:
        rows = run(self._turn.connection, "keyed_next", line, *after, AT_ONCE).fetchall()
        for head, first, key in rows:
            heappush(self._heap, (head, first, line, key))
        if len(rows) == AT_ONCE:
            self._last[line] = rows[-1][:2]
