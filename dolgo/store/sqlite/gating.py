"""Changing gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from dolgo.store.checks import check_gate
from dolgo.store.relational.gates import is_limit, to_gate
from dolgo.store.sqlite.sql import run
from dolgo.store.sqlite.turn import Turn
from dolgo.task.types import Gate

Changes = Mapping[str, object]


def gate(turn: Turn, calls: Sequence[tuple[str, Changes]]) -> list[Gate]:
    turn.changed()
    turn.work = True
    run(turn.connection, "gating_changed")
    return [_change(turn, scope, changes) for scope, changes in calls]


def _change(turn: Turn, scope: str, changes: Changes) -> Gate:
    row = run(turn.connection, "gate", scope).fetchone()
    before, tat = (to_gate(row, turn.now), row[-1]) if row else (Gate(scope=scope), 0.0)
    after = replace(before, **changes)
    check_gate(after)
    if after.paused or is_limit(after):
        limits = (after.max_running, after.max_running_per_key, after.rate)
        run(turn.connection, "gate_put", scope, after.paused, after.paused_until, after.reason, *limits, tat)
    else:
        run(turn.connection, "gate_gone", scope)
    if after.max_running_per_key != before.max_running_per_key:
        run(turn.connection, "keyed_reopen_all")
    return after
