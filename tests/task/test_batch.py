"""Tasks submitted together: names, circles, twins, and parents before their dependents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolgo.errors import InvalidRequest
from dolgo.task.batch import arranged
from dolgo.task.types import Dependency, NewTask
from tests.store.build import task


def tasks(count: int, **changes: object) -> list[NewTask]:
    return [task(**changes) for _ in range(count)]


def pointers(error: InvalidRequest) -> list[str]:
    return [problem.pointer for problem in error.problems]


def test_a_ref_becomes_the_id_and_keeps_its_name() -> None:
    a, b = tasks(2)
    made = arranged([b, a], [["ref:a", "elsewhere"], []], [None, "a"])
    assert made.ids == [b.id, a.id]
    assert [one.id for one in made.tasks] == [a.id, b.id]
    assert made.tasks[1].depends_on == (Dependency(a.id, "a"), Dependency("elsewhere"))


def test_a_parent_named_twice_counts_once() -> None:
    a, b = tasks(2)
    made = arranged([a, b], [[], ["ref:a", "x", "ref:a", "x"]], ["a", None])
    assert [parent.id for parent in made.tasks[1].depends_on] == [a.id, "x"]


def test_refs_that_are_there_twice_or_not_at_all_are_pointed_at() -> None:
    with pytest.raises(InvalidRequest) as caught:
        arranged(tasks(3), [[], [], []], ["a", "a", "a"])
    assert pointers(caught.value) == ["/tasks/1/ref", "/tasks/2/ref"]
    with pytest.raises(InvalidRequest) as caught:
        arranged(tasks(2), [["ref:b", "ref:c"], []], ["a", "b"])
    assert pointers(caught.value) == ["/tasks/0/depends_on/1"]


def test_a_circle_is_pointed_at_wherever_it_could_be_opened() -> None:
    with pytest.raises(InvalidRequest) as caught:
        arranged(tasks(4), [["ref:d"], ["ref:a"], ["ref:b"], []], ["a", "b", "d", "c"])
    assert sorted(pointers(caught.value)) == ["/tasks/0/depends_on/0", "/tasks/1/depends_on/0", "/tasks/2/depends_on/0"]
    with pytest.raises(InvalidRequest) as caught:
        arranged(tasks(1), [["ref:a"]], ["a"])
    assert pointers(caught.value) == ["/tasks/0/depends_on/0"]


def test_two_tasks_of_one_type_and_unique_key_are_one() -> None:
    a, b, c = tasks(3, unique_key="k")
    other = task(type="other", unique_key="k")
    d = task()
    made = arranged([a, b, c, other, d], [[], [], [], [], ["ref:b", "ref:a"]], ["a", "b", None, None, None])
    assert made.ids == [a.id, a.id, a.id, other.id, d.id]
    assert {one.id for one in made.tasks} == {a.id, other.id, d.id}
    assert made.existing == {a.id}
    assert [parent.id for parent in made.tasks[-1].depends_on] == [a.id]


def test_a_task_that_is_there_already_stands_for_the_new_one_everywhere() -> None:
    a, b = tasks(2)
    made = arranged([a, b], [[], ["ref:a"]], ["a", None]).merged({a.id: "there"})
    assert made.ids == ["there", b.id]
    assert [(one.id, one.depends_on) for one in made.tasks] == [(b.id, (Dependency("there", "a"),))]


@given(st.lists(st.lists(st.integers(0, 30), max_size=5), min_size=1, max_size=30))
def test_parents_always_stand_before_their_dependents(edges: list[list[int]]) -> None:
    """Each task depends on earlier ones only; they are submitted backwards."""
    count = len(edges)
    made = tasks(count)
    depends_on = [[f"ref:{parent}" for parent in parents if parent < child] for child, parents in enumerate(edges)]
    batch = arranged(made[::-1], depends_on[::-1], [str(n) for n in range(count)][::-1])
    assert batch.ids == [one.id for one in made[::-1]]
    seen: set[str] = set()
    for one in batch.tasks:
        assert {parent.id for parent in one.depends_on} <= seen
        seen.add(one.id)
    assert len(seen) == count
