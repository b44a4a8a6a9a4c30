"""Tasks submitted together: who names whom, which of them are the same, and parents before their dependents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from dolgo.errors import InvalidRequest, Problem
from dolgo.task.types import Dependency, NewTask

REF = "ref:"  # a parent in the same batch is named so


class Batch(Struct, frozen=True):
    """Tasks to store, parents first, and for each submission the id it is answered with."""

    tasks: list[NewTask]
    ids: list[str]  # in the order of submission; the same one twice where two submissions are one task
    existing: frozenset[str] = frozenset()  # those of them that were there before

    def merged(self, unique: Mapping[str, str]) -> Batch:
        """Without the tasks that others stand for: new id → the id that is there already."""
        tasks = [_renamed(task, unique) for task in self.tasks if task.id not in unique]
        return Batch(tasks, [unique.get(id, id) for id in self.ids], self.existing | set(unique.values()))


def arranged(tasks: list[NewTask], depends_on: Sequence[Sequence[str]], refs: Sequence[str | None]) -> Batch:
    """The batch. Raises InvalidRequest for a `ref` that is there twice or not at all, and for a circle."""
    ids = [task.id for task in tasks]
    if any(depends_on):
        named = _named(refs, ids)
        tasks = [replace(task, depends_on=_parents(names, named)) for task, names in zip(tasks, depends_on, strict=True)]
        _check_refs(depends_on, named)
        tasks = _parents_first(tasks)
    elif any(refs):
        _named(refs, ids)
    batch = Batch(tasks, ids)
    twins = _twins(tasks)
    return batch.merged(twins) if twins else batch


def single(task: NewTask) -> Batch:
    """A batch of one."""
    return Batch([task], [task.id])


def _named(refs: Sequence[str | None], ids: Sequence[str]) -> dict[str, str]:
    """The id behind each ref."""
    named: dict[str, str] = {}
    problems = []
    for place, (ref, id) in enumerate(zip(refs, ids, strict=True)):
        if ref is not None and named.setdefault(ref, id) != id:
            problems.append(Problem(f"/tasks/{place}/ref", f"another task of the batch has the ref {ref!r}"))
    _refuse(problems)
    return named


def _parents(depends_on: Sequence[str], named: Mapping[str, str]) -> tuple[Dependency, ...]:
    parents: dict[str, Dependency] = {}
    for name in depends_on:
        ref = name.removeprefix(REF) if name.startswith(REF) else None
        id = name if ref is None else named.get(ref, "")
        parents.setdefault(id, Dependency(id, ref))
    return tuple(parents.values())


def _check_refs(depends_on: Sequence[Sequence[str]], named: Mapping[str, str]) -> None:
    _refuse(
        [
            Problem(f"/tasks/{place}/depends_on/{number}", f"no task of the batch has the ref {name.removeprefix(REF)!r}")
            for place, names in enumerate(depends_on)
            for number, name in enumerate(names)
            if name.startswith(REF) and name.removeprefix(REF) not in named
        ]
    )


def _parents_first(tasks: list[NewTask]) -> list[NewTask]:
    """Raises InvalidRequest naming every member of a circle."""
    places = {task.id: place for place, task in enumerate(tasks)}
    graph = {task.id: [parent.id for parent in task.depends_on if parent.id in places] for task in tasks}
    try:
        return [tasks[places[id]] for id in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        circle = error.args[1][::-1]
        _refuse(list(_circle(tasks, places, circle)))
        raise  # there always is a problem to refuse it for


def _circle(tasks: Sequence[NewTask], places: Mapping[str, int], circle: Sequence[str]) -> Iterator[Problem]:
    for child, parent in pairwise(circle):
        place = places[child]
        for number, dependency in enumerate(tasks[place].depends_on):
            if dependency.id == parent:
                yield Problem(f"/tasks/{place}/depends_on/{number}", "the tasks would wait for each other in a circle")


def _twins(tasks: Sequence[NewTask]) -> dict[str, str]:
    """Id → the id of an earlier task of the same type and `unique_key`."""
    first: dict[tuple[str, str], str] = {}
    twins = {}
    for task in tasks:
        if task.unique_key is not None and (id := first.setdefault((task.type, task.unique_key), task.id)) != task.id:
            twins[task.id] = id
    return twins


def _renamed(task: NewTask, names: Mapping[str, str]) -> NewTask:
    if not any(parent.id in names for parent in task.depends_on):
        return task
    parents = {(id := names.get(parent.id, parent.id)): replace(parent, id=id) for parent in task.depends_on}
    return replace(task, depends_on=tuple(parents.values()))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidRequest.of(problems)
