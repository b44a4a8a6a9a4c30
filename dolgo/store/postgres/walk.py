"""What a claim finds where gates or limit keys are about: the first tasks of the lines that are open, in exact order.

A heap holds the lines it fits by their heads and, once looked into, by their first tasks. Lines with limit keys come in by their
heads, some at a time, so what a claim costs depends on what it takes and closes, not on how many there are.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush

from dolgo.store.base import Claim
from dolgo.store.postgres.gates import Gates
from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.rows import LineKey
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

    def __init__(self, turn: Turn, call: Claim, gates: Gates) -> None:
        self.next_at: float | None = None
        self._turn = turn
        self._call = call
        self._gates = gates
        self._heap: list[Place] = []
        self._found: dict[tuple[int, str], deque[Pick]] = {}  # of lines looked into, the tasks behind the one on the heap
        self._last: dict[int, tuple[float, str]] = {}  # of the last one read with a limit key, where there may be more
        self._passed: set[int] = set()  # lines that are closed as a whole
        self._full: list[tuple[int, str]] = []  # lines to close, their key being at its limit

    async def picks(self) -> list[Pick]:
        """What is to be taken, smallest (rank, id) first. The gates have counted it."""
        picks: list[Pick] = []
        if self._call.limit > 0:
            await self._enter()
        while self._heap and len(picks) < self._call.limit:
            place = heappop(self._heap)
            _, _, line, key = place
            await self._read_on(place)
            if len(self._full) >= MOST_CLOSED:
                self.next_at = self._turn.now
                break
            if line in self._passed or not await self._open(line, key):
                continue
            if (line, key) in self._found:
                picks.append(self._found[line, key].popleft())
                self._gates.take(line, key)
            else:
                await self._look_into(place, self._call.limit - len(picks))
            self._push_first(line, key)
        if self._full:
            await self._turn.run("keyed_close", [line for line, _ in self._full], [key for _, key in self._full])
        return picks

    async def _enter(self) -> None:
        """Every line with something claimable comes onto the heap, but those that are closed."""
        turn = self._turn
        keyed = {row[0] for row in await turn.run("keyed_lines")} if not self._call.ahead else set[int]()
        lines = turn.open_lines() | keyed
        for line in lines:
            if not fits(self._call, await turn.key(line)) or (self._call.ahead and self._gates.counts(line)):
                self._passed.add(line)
            elif (held_up := self._gates.held_up(line)) is not None:
                await self._pass_over(line, held_up)
        self._heap = [
            (head, "", line, "") for head, line in await turn.run("line_heads", list(lines - self._passed), turn.lowest())
        ]
        heapify(self._heap)
        for line in keyed - self._passed:
            await self._read_keyed(line, (LOWEST, ""))

    async def _pass_over(self, line: int, held_up: HeldUp) -> None:
        self._passed.add(line)
        if held_up.until is not None and (await self._turn.run("is_claimable", line))[0][0]:
            self.next_at = held_up.until if self.next_at is None else min(self.next_at, held_up.until)

    async def _open(self, line: int, key: str) -> bool:
        """Whether a task of this line may be taken now."""
        if (held_up := self._gates.held_up(line)) is not None:
            await self._pass_over(line, held_up)
            return False
        if key and await self._gates.key_held_up(line, key) is not None:
            self._full.append((line, key))
            return False
        return True

    async def _look_into(self, place: Place, limit: int) -> None:
        head, _, line, key = place
        self._found[line, key] = deque(tuple(row) for row in await self._turn.run("line_first", line, key, limit, head))

    def _push_first(self, line: int, key: str) -> None:
        found = self._found[line, key]
        if found:
            heappush(self._heap, (found[0][0], found[0][1], line, key))

    # -- lines with limit keys

    async def _read_on(self, place: Place) -> None:
        """When the last line that was read comes up, read the next ones: none of them has a smaller head."""
        rank, id, line, _ = place
        if self._last.get(line) == (rank, id) and line not in self._passed:
            await self._read_keyed(line, self._last.pop(line))

    async def _read_keyed(self, line: int, after: tuple[float, str]) -> None:
        rows = await self._turn.run("keyed_next", line, *after, AT_ONCE)
        await self._gates.know(key for _, _, key in rows)
        for head, first, key in rows:
            heappush(self._heap, (head, first, line, key))
        if len(rows) == AT_ONCE:
            self._last[line] = (rows[-1][0], rows[-1][1])
