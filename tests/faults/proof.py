"""The checker is checked: each mistake that somebody could make has to be told, and a service without one must not be blamed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.storm import Plan, storm
from tests.faults.turns import LET_BY, most_let_by
from tests.faults.zombies import Plan as Rounds
from tests.faults.zombies import zombies

WISHES = 2_000  # for a turn; the first that comes too late is enough
FORGETFUL = "a_redis_that_keeps_nothing"  # no mutant of dolgo: the server has no log to start again from

Found = dict[str, list[str]]


def in_a_storm(mutant: str, folder: Path, *, faults: int, kind: str, store: str = "sqlite", durable: bool = True) -> Found:
    """What is wrong after a small storm of one kind of fault."""
    plan = Plan(store, 1, faults, 50 * faults, servers=(0,), workers=(3, 3), kinds=(kind,), durable=durable,
                mutant=None if mutant == FORGETFUL else mutant)  # fmt: skip
    return storm(plan, folder).wrong


def in_freezes(mutant: str, folder: Path, *, store: str = "sqlite") -> Found:
    """What is wrong after a worker was frozen, with its children and without them."""
    return zombies(Rounds(store, frozen=9, at_once=8, lease=1.5, mutant=mutant), folder).wrong


def at_turns(mutant: str, folder: Path) -> Found:
    """What is wrong between two writers."""
    most = most_let_by(folder, wishes=WISHES, mutant=mutant)
    return {"turns": [f"one writer had {most} turns while another waited"]} if most > LET_BY else {}


Look = Callable[[str, Path], Found]

# By mutant: how it is looked for, and the rules of which one has to tell; none for what is no mistake.
PROOFS: dict[str, tuple[Look, set[str]]] = {
    "settles_without_the_token": (in_freezes, {"done_by_nobody"}),
    "settles_by_id": (in_freezes, {"changed"}),
    "queued_beats_a_cancel": (partial(in_a_storm, faults=6, kind="cancel and kill"), {"started_after_a_cancel"}),
    "answers_before_the_commit": (partial(in_a_storm, faults=6, kind="kill server"), {"lost", "said wrong"}),
    "meets_errors": (partial(in_a_storm, faults=4, kind="kill child"), set()),
    "swallows_errors": (partial(in_a_storm, faults=4, kind="kill child"), {"lost"}),
    "takes_turns_by_one_lock": (at_turns, {"turns"}),
    "lua_settles_without_the_token": (partial(in_freezes, store="redis"), {"done_by_nobody"}),
    "lua_queued_beats_a_cancel": (
        partial(in_a_storm, faults=6, kind="cancel and kill", store="redis"),
        {"started_after_a_cancel"},
    ),
    FORGETFUL: (partial(in_a_storm, faults=2, kind="kill store", store="redis", durable=False), {"lost"}),
}


def proofs_of(store: str) -> list[str]:
    """Those that are looked for on this store. One of dolgo's own code need not be looked for on every store."""
    if store not in ("sqlite", "redis"):
        return []
    return [mutant for mutant in PROOFS if (mutant.startswith("lua_") or mutant == FORGETFUL) == (store == "redis")]


def proof(mutant: str, folder: Path) -> str:
    """What the checker said that it should not, or did not say that it should; empty if it is right."""
    look, expected = PROOFS[mutant]
    found = look(mutant, folder)
    if expected & found.keys() or (not expected and not found):
        return ""
    return f"{mutant}: expected {sorted(expected) or 'nothing'}, and it told of {found or 'nothing'}"
