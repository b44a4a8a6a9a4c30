"""What holds back queues and types, and how many of each run: exact, for every claim passes here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from dolgo.store.checks import check_gate
from dolgo.task.types import Gate, HeldUp

Scopes = tuple[str, ...]  # the queue and the type of a task, as gates name them


def scopes_of(queue: str, type: str) -> Scopes:
    return (f"queue/{queue}", f"type/{type}")


class Gates:
    """The gates, what runs behind them, and when the next start is due by their rates."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}
        self._spent: dict[str, float] = {}  # of gates with a rate: until when what has started uses it up
        self._running: Counter[str | tuple[str, str]] = Counter()  # by scope, and by scope and limit key

    # -- what there is

    def change(self, scope: str, changes: Mapping[str, Any], now: float) -> Gate:
        gate = replace(_at(self._gates.get(scope) or Gate(scope=scope), now), **changes)
        check_gate(gate)
        if gate.rate is None:
            self._spent.pop(scope, None)
        if _holds(gate):
            self._gates[scope] = gate
        else:
            self._gates.pop(scope, None)
        return gate

    def all(self, now: float) -> list[Gate]:
        gates = [_at(gate, now) for _, gate in sorted(self._gates.items())]
        return [gate for gate in gates if _holds(gate)]

    # -- what runs

    def started(self, scopes: Scopes, key: str | None, now: float) -> None:
        self._count(scopes, key, 1)
        for gate in self._of(scopes):
            if gate.rate is not None:
                self._spent[gate.scope] = max(self._spent_until(gate, gate.rate, now), now) + 1 / gate.rate

    def ended(self, scopes: Scopes, key: str | None) -> bool:
        """True if something behind one of these gates may run in its place."""
        self._count(scopes, key, -1)
        return any(gate.max_running is not None or gate.max_running_per_key is not None for gate in self._of(scopes))

    def _count(self, scopes: Scopes, key: str | None, change: int) -> None:
        counts: list[str | tuple[str, str]] = [*scopes]
        if key:
            counts += [(scope, key) for scope in scopes]
        for counted in counts:
            self._running[counted] += change
            if not self._running[counted]:
                del self._running[counted]

    # -- what is held back

    def shut(self, scopes: Scopes, now: float) -> HeldUp | None:
        """What holds back all tasks of these scopes; None if nothing does."""
        for gate in self._of(scopes):
            if _at(gate, now).paused:
                return HeldUp("queue_paused", gate.scope, gate.paused_until)
            if gate.max_running is not None and self._running[gate.scope] >= gate.max_running:
                return HeldUp("limit", gate.scope)
            if gate.rate is not None and (at := self._next_start(gate, gate.rate, now)) > now:
                return HeldUp("rate", gate.scope, at)
        return None

    def full(self, scopes: Scopes, key: str | None) -> HeldUp | None:
        """What holds back those of them with this limit key."""
        for gate in self._of(scopes) if key else ():
            most = gate.max_running_per_key
            if most is not None and self._running[gate.scope, key or ""] >= most:
                return HeldUp("limit", f"{gate.scope}/{key}")
        return None

    def count(self, scopes: Scopes) -> bool:
        """Whether a start under these scopes takes something from another."""
        return any(gate.max_running is not None or gate.rate is not None for gate in self._of(scopes))

    def _of(self, scopes: Scopes) -> list[Gate]:
        return [self._gates[scope] for scope in scopes if scope in self._gates] if self._gates else []

    def _next_start(self, gate: Gate, rate: float, now: float) -> float:
        """When the rate lets the next task start: the generic cell rate algorithm, as networks use it."""
        return self._spent_until(gate, rate, now) - (_burst(rate) - 1) / rate

    def _spent_until(self, gate: Gate, rate: float, now: float) -> float:
        # Never more than a burst ahead, and written down: else a clock that was set back would hold up everything.
        spent = self._spent[gate.scope] = min(self._spent.get(gate.scope, 0.0), now + _burst(rate) / rate)
        return spent


def _at(gate: Gate, now: float) -> Gate:
    """The gate as it is by now: a pause that is over is none."""
    over = gate.paused_until is not None and gate.paused_until <= now
    return replace(gate, paused=False, paused_until=None, reason=None) if over or not gate.paused else gate


def _holds(gate: Gate) -> bool:
    return gate.paused or (gate.max_running, gate.max_running_per_key, gate.rate) != (None, None, None)


def _burst(rate: float) -> float:
    """Starts that may come at once after a while without any."""
    return max(1.0, rate / 10)
