"""What holds lines back: pauses, limits of what runs, rates. Asked by claims and by those who want to know why nothing moves.

A rate is held by the generic cell rate algorithm (ITU-T I.371), with one stored time, the theoretical arrival time `tat`: a start
may be made from `tat - (burst - 1) / rate` on, and moves `tat` one interval on from itself or from now, whichever is later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dolgo.task.types import Gate, HeldUp

Name = Callable[[int], tuple[str, str]]  # queue and type of a line, by its number


def to_gate(row: Sequence[Any], now: float) -> Gate:
    """The gate of a row; a pause that is over is none."""
    scope, paused, until, reason, max_running, max_running_per_key, rate, _ = row
    limits = {"max_running": max_running, "max_running_per_key": max_running_per_key, "rate": rate}
    if not paused or (until is not None and until <= now):
        return Gate(scope=scope, **limits)
    return Gate(scope=scope, paused=True, paused_until=until, reason=reason, **limits)


def is_limit(gate: Gate) -> bool:
    """Whether the gate counts what runs or starts."""
    return (gate.max_running, gate.max_running_per_key, gate.rate) != (None, None, None)


def burst(rate: float) -> float:
    """Starts that may be made at once."""
    return max(1.0, rate / 10)


class Standing:
    """A gate, and what stands against its limits."""

    __slots__ = ("gate", "keys", "moved", "running", "tat")

    def __init__(self, gate: Gate, tat: float, now: float) -> None:
        self.gate = gate
        self.running = 0  # tasks in progress, if that is limited
        self.keys: dict[str, int] = {}  # of each limit key that was asked for
        latest = tat if gate.rate is None else now + burst(gate.rate) / gate.rate
        self.tat = min(tat, latest)  # or a clock set back would hold everything up
        self.moved = self.tat != tat

    @property
    def next_start(self) -> float:
        """When the rate lets something start."""
        rate = self.gate.rate
        return 0.0 if rate is None else self.tat - (burst(rate) - 1) / rate

    def shut(self, now: float) -> HeldUp | None:
        """What it holds everything back by."""
        gate = self.gate
        if gate.paused:
            return HeldUp("queue_paused", gate.scope, gate.paused_until)
        if gate.max_running is not None and self.running >= gate.max_running:
            return HeldUp("limit", gate.scope)
        if gate.rate is not None and now < (at := self.next_start):
            return HeldUp("rate", gate.scope, at)
        return None

    def key_full(self, key: str) -> HeldUp | None:
        most = self.gate.max_running_per_key
        return HeldUp("limit", f"{self.gate.scope}/{key}") if most is not None and self.keys[key] >= most else None


class GateRules:
    """All gates at one moment, without what a store reads meanwhile and writes in the end.

    `take` counts what a claim takes, so that the next question is answered with it."""

    def __init__(self, name: Name, now: float, gates: Iterable[Sequence[Any]], running: Iterable[tuple[int, int]]) -> None:
        """`gates`: rows of `to_gate`. `running`: how many tasks of each line are in progress; `name` must know them all."""
        self._name = name
        self._now = now
        self._gates = {row[0]: Standing(to_gate(row, now), row[-1], now) for row in gates}
        self._of_lines: dict[int, tuple[Standing, ...]] = {}
        self._keys_known: set[str] = set()
        for line, count in running:
            for standing in self._of(line):
                standing.running += count

    def held_up(self, line: int) -> HeldUp | None:
        """What closes the whole line; None: it is open, as far as its tasks without a limit key go."""
        return next((reason for gate in self._of(line) if (reason := gate.shut(self._now)) is not None), None)

    def counts(self, line: int) -> bool:
        """Whether a start in the line, without a limit key, takes something from another."""
        return any(gate.gate.max_running is not None or gate.gate.rate is not None for gate in self._of(line))

    def take(self, line: int, key: str) -> None:
        """A task of the line starts."""
        for gate in self._of(line):
            gate.running += 1
            if key in gate.keys:
                gate.keys[key] += 1
            if gate.gate.rate is not None:
                gate.tat = max(gate.tat, self._now) + 1 / gate.gate.rate
                gate.moved = True

    @property
    def new_times(self) -> dict[str, float]:
        """The new times of the rates that have let something through, by scope."""
        return {scope: gate.tat for scope, gate in self._gates.items() if gate.moved}

    def _of_keys(self, line: int) -> list[Standing]:
        """The gates of a line that limit each key."""
        return [gate for gate in self._of(line) if gate.gate.max_running_per_key is not None]

    def _key_held_up(self, line: int, key: str) -> HeldUp | None:
        """What closes the line to the tasks of one limit key, of which it is known how many run."""
        return next((reason for gate in self._of_keys(line) if (reason := gate.key_full(key)) is not None), None)

    def _begin_to_know(self, keys: Iterable[str]) -> list[str]:
        """The keys of which the caller has to read how many tasks run, and `_know` it: once, before any is taken.

        From then on they count as known, and `take` counts."""
        new = set(keys) - self._keys_known
        if not new or all(gate.gate.max_running_per_key is None for gate in self._gates.values()):
            return []
        self._keys_known |= new
        for gate in self._gates.values():
            gate.keys |= dict.fromkeys(new, 0)
        return list(new)

    def _know(self, running: Iterable[Sequence[Any]]) -> None:
        """`running`: key, line, and how many tasks of both run."""
        for key, line, count in running:
            for gate in self._of(line):
                gate.keys[key] += count

    def _of(self, line: int) -> tuple[Standing, ...]:
        found = self._of_lines.get(line)
        if found is None:
            queue, type = self._name(line)
            scopes = (f"queue/{queue}", f"type/{type}")
            found = self._of_lines[line] = tuple(self._gates[scope] for scope in scopes if scope in self._gates)
        return found
