"""Every store does what the model does, whatever happens in whatever order."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.store.kinds import KINDS, OUTLIVING
from tests.store.machine import StoreMachine

# What costs more to open and to write than a dict is tried less often.
EXAMPLES = {"memory": 100, "postgres": 15, "redis": 40, "sqlite": 40}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_store_does_what_the_model_does(kind: str) -> None:
    outlives = kind in OUTLIVING
    phases = [Phase.generate] if outlives else [Phase.generate, Phase.shrink]  # on a file, shrinking takes minutes
    run({"make": staticmethod(KINDS[kind]), "outlives": outlives}, EXAMPLES[kind], phases)


@pytest.mark.parametrize("bound", [0, 1])
def test_what_one_commit_leaves_over_is_done_by_those_that_follow(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    """On the memory store, because there the bound can be set so low that these rules reach it."""
    monkeypatch.setattr("dolgo.store.memory.edges.CASCADED", bound)
    run({"make": staticmethod(KINDS["memory"]), "at_once_all": False}, 50, [Phase.generate])


def run(of: dict[str, object], examples: int, phases: list[Phase]) -> None:
    run_state_machine_as_test(
        type("Machine", (StoreMachine,), of),
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
