"""A service that is broken on purpose is told apart. `make faults` tries every mistake; here are the quick ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.proof import FORGETFUL, PROOFS, proof
from tests.faults.turns import LET_BY, most_let_by


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", ["settles_without_the_token", "takes_turns_by_one_lock"])
def test_a_mistake_is_told(mutant: str, tmp_path: Path) -> None:
    assert proof(mutant, tmp_path) == ""


def test_a_writer_that_waits_is_the_next(tmp_path: Path) -> None:
    assert most_let_by(tmp_path, wishes=50) <= LET_BY


def test_every_mistake_is_looked_for() -> None:
    assert PROOFS.keys() == {*MUTANTS, FORGETFUL}
