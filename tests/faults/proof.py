"""The checker is checked: each mistake that somebody could make has to be told, and a service without one must not be blamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.storm import Plan, storm
from tests.faults.turns import most_let_by
from tests.faults.zombies import Plan as Rounds
from tests.faults.zombies import zombies

LET_BY = 3  # turns that others may have before the one that waits
WISHES = 50

Found = dict[str, list[str]]


def in_a_storm(mutant: str, folder: Path, *, faults: int, kind: str) -> Found:
    """What is wrong after a small storm of one kind of fault."""
    plan = Plan("sqlite", 1, faults, 50 * faults, servers=(0,), workers=(3, 3), kinds=(kind,), mutant=mutant)
    return storm(plan, folder).wrong


def in_freezes(mutant: str, folder: Path) -> Found:
    """What is wrong after a worker was frozen, with its children and without them."""
    return zombies(Rounds("sqlite", rounds=2, writers=8, lease=1.5, mutant=mutant), folder).wrong


def at_turns(mutant: str, folder: Path) -> Found:
    """What is wrong between two writers."""
    most = most_let_by(folder, wishes=WISHES, mutant=mutant)
    return {"turns": [f"one writer had {most} turns while another waited"]} if most > LET_BY else {}


# By mutant: how it is looked for, and the rules of which one has to tell; none for what is no mistake.
PROOFS: dict[str, tuple[Callable[[str, Path], Found], set[str]]] = {
    "settles_without_the_token": (in_freezes, {"done_by_nobody"}),
    "settles_by_id": (in_freezes, {"changed"}),
    "queued_beats_a_cancel": (
        lambda mutant, folder: in_a_storm(mutant, folder, faults=6, kind="cancel and kill"),
        {"started_after_a_cancel"},
    ),
    "answers_before_the_commit": (
        lambda mutant, folder: in_a_storm(mutant, folder, faults=6, kind="kill server"),
        {"lost", "said wrong"},
    ),
    "meets_errors": (lambda mutant, folder: in_a_storm(mutant, folder, faults=4, kind="kill child"), set()),
    "swallows_errors": (lambda mutant, folder: in_a_storm(mutant, folder, faults=4, kind="kill child"), {"lost"}),
    "takes_turns_by_one_lock": (at_turns, {"turns"}),
}


def proof(mutant: str, folder: Path) -> str:
    """What the checker said that it should not, or did not say that it should; empty if it is right."""
    look, expected = PROOFS[mutant]
    found = look(mutant, folder)
    if expected & found.keys() or (not expected and not found):
        return ""
    return f"{mutant}: expected {sorted(expected) or 'nothing'}, and it told of {found or 'nothing'}"
