"""`dolgo prune`: on the store itself."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_a_store_in_memory_cannot_be_pruned(alone: Run) -> None:
    ran = alone("prune", "--store", "memory://")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be reached" in ran.err


def test_a_time_that_is_none_is_refused(alone: Run) -> None:
    assert alone("prune", "--keep", "long").code == 2


def test_an_empty_store_has_nothing_to_prune(alone: Run, at: Path) -> None:
    assert alone("prune", "--store", f"sqlite:///{at}/dolgo.db", "--keep", "0") == (0, "0 tasks pruned\n", "")
    assert alone("prune", "--store", f"sqlite:///{at}/dolgo.db", "--json").out == '{"pruned":0}\n'
