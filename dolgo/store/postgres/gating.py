"""Changing gates. No claim is under way meanwhile, so a change holds for every claim from its commit on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from dolgo.store.checks import check_gate
from dolgo.store.postgres.turn import Turn
from dolgo.store.relational.gates import is_limit, to_gate
from dolgo.task.types import Gate

Changes = Mapping[str, object]


async def gate(turn: Turn, calls: Sequence[tuple[str, Changes]]) -> list[Gate]:
    turn.work = True
    answers = [await _change(turn, scope, changes) for scope, changes in calls]
    await turn.look_again()
    return answers


async def _change(turn: Turn, scope: str, changes: Changes) -> Gate:
    rows = await turn.run("gate", scope)
    before, tat = (to_gate(rows[0], turn.now), rows[0][-1]) if rows else (Gate(scope=scope), 0.0)
    after = replace(before, **changes)
    check_gate(after)
    if after.paused or is_limit(after):
        limits = (after.max_running, after.max_running_per_key, after.rate)
        await turn.run("gate_put", scope, after.paused, after.paused_until, after.reason, *limits, tat)
    else:
        await turn.run("gate_gone", scope)
    if after.max_running_per_key != before.max_running_per_key:
        await turn.run("keyed_reopen_all")
    return after
