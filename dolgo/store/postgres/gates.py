"""The gates of a database, as a commit finds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from dolgo.store.postgres.sql import Record
from dolgo.store.relational.gates import GateRules, Name
from dolgo.task.types import HeldUp

Run = Callable[..., Awaitable[list[Record]]]  # a named statement with its values → its rows


class Gates(GateRules):
    """All gates at one moment."""

    _run: Run

    @classmethod
    async def read(cls, run: Run, name: Name, now: float, running: Iterable[tuple[int, int]]) -> Gates:
        """`running`: how many tasks of each line are in progress; `name` must know them all."""
        gates = cls(name, now, await run("gates"), running)
        gates._run = run
        return gates

    async def key_held_up(self, line: int, key: str) -> HeldUp | None:
        """What closes the line to the tasks of one limit key, whatever else does."""
        if not self._of_keys(line):
            return None
        await self.know([key])
        return self._key_held_up(line, key)

    async def know(self, keys: Iterable[str]) -> None:
        """How many tasks of these limit keys run; asked of many at once, it is read in one way to the server."""
        if new := self._begin_to_know(keys):
            self._know(await self._run("keyed_running", new))

    async def write(self) -> None:
        """Keep what the rates have let through."""
        if moved := self.new_times:
            await self._run("gate_started", list(moved), list(moved.values()))
