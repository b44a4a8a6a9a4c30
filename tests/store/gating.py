"""What gates should do, as plainly as it can be said: part of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from dolgo.task.types import Gate, NewTask

CLOSE = 1e-3  # seconds by which two reckonings of a rate may differ


class Reason:
    """Something that holds a task back, and until when if time ends it."""

    def __init__(
        self, code: str, scope: str, until: float | None = None, *, earliest: float | None = None, sure: bool = True
    ) -> None:
        self.code, self.scope, self.until = code, scope, until
        self.earliest = until if earliest is None else earliest  # a store may say any time from here on
        self.sure = sure  # False: by its own reckoning a store may see it otherwise


class Gating:
    """The gates, and what started by them. Its rates are below ten a second: never two starts at once."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.spent: dict[str, float] = {}  # until when what started uses up a rate, at least
        self.blurred: set[str] = set()  # scopes of which a store may have it used up for longer
        self.now = 0.0

    def tick(self, now: float) -> None:
        if now < self.now:
            for scope, gate in self.gates.items():
                if gate.rate is not None:
                    self.spent[scope] = min(self.spent.get(scope, 0.0), now + 1 / gate.rate)
                    self.blurred.add(scope)
        self.now = now

    def change(self, scope: str, changes: Mapping[str, Any]) -> Gate:
        gate = replace(self.at(self.gates.get(scope) or Gate(scope=scope)), **changes)
        if "rate" in changes:
            self.spent.pop(scope, None)
            self.blurred.add(scope)
        self.gates[scope] = gate
        return gate

    def at(self, gate: Gate) -> Gate:
        """A pause that is over is none."""
        over = not gate.paused or (gate.paused_until is not None and gate.paused_until <= self.now)
        return replace(gate, paused=False, paused_until=None, reason=None) if over else gate

    def all(self) -> list[Gate]:
        gates = [self.at(gate) for _, gate in sorted(self.gates.items())]
        return [gate for gate in gates if gate != Gate(scope=gate.scope)]

    def started(self, new: NewTask) -> None:
        for gate in self.of(new):
            if gate.rate is not None:
                self.spent[gate.scope] = max(self.spent.get(gate.scope, 0.0), self.now) + 1 / gate.rate
                self.blurred.discard(gate.scope)

    def of(self, new: NewTask) -> list[Gate]:
        scopes = (f"queue/{new.queue}", f"type/{new.type}")
        return [self.at(self.gates[scope]) for scope in scopes if scope in self.gates]

    def counts(self, new: NewTask) -> bool:
        """Whether a start takes something from others."""
        gates = self.of(new)
        return bool(new.limit_key) or any(gate.max_running is not None or gate.rate is not None for gate in gates)

    def reasons(self, new: NewTask, running: Iterable[NewTask]) -> list[Reason]:
        """All that holds a task back while these run."""
        reasons = []
        scopes = Counter(scope for one in running for scope in _counted(one))
        for gate in self.of(new):
            if gate.paused:
                reasons.append(Reason("queue_paused", gate.scope, gate.paused_until))
            if gate.max_running is not None and scopes[gate.scope] >= gate.max_running:
                reasons.append(Reason("limit", gate.scope))
            most, key = gate.max_running_per_key, f"{gate.scope}/{new.limit_key}"
            if new.limit_key and most is not None and scopes[key] >= most:
                reasons.append(Reason("limit", key))
            if gate.rate is not None:
                reasons += self._rate(gate, self.spent.get(gate.scope, 0.0), gate.rate)
        return reasons

    def _rate(self, gate: Gate, spent: float, rate: float) -> list[Reason]:
        if gate.scope in self.blurred:
            sure = spent > self.now + CLOSE
            return [Reason("rate", gate.scope, max(spent, self.now + 1 / rate), earliest=max(spent, self.now), sure=sure)]
        return [Reason("rate", gate.scope, spent, sure=spent > self.now + CLOSE)] if spent > self.now - CLOSE else []


def _counted(new: NewTask) -> list[str]:
    scopes = [f"queue/{new.queue}", f"type/{new.type}"]
    return scopes + ([f"{scope}/{new.limit_key}" for scope in scopes] if new.limit_key else [])
