"""Every store does what the model does, whatever happens in whatever order."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.store.kinds import KINDS, OUTLIVING
from tests.store.machine import StoreMachine

EXAMPLES = {"memory": 100, "sqlite": 40}  # a file costs more to open and to write than a dict


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_store_does_what_the_model_does(kind: str) -> None:
    outlives = kind in OUTLIVING
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(KINDS[kind]), "outlives": outlives})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES[kind],
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[Phase.generate] if outlives else [Phase.generate, Phase.shrink],  # on a file, shrinking takes minutes
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
