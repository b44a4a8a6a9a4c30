"""Each transition takes a store along the arrows that bear its name in the diagram, and along no other that is tried here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.store.memory import MemoryStore
from dolgo.task.types import OnParentFailure, Status
from tests.docs.test_states import END, drawn
from tests.store.build import after, again, back, claim, ended, hold, settlement, submit, task
from tests.store.clock import Clock

Act = Callable[[], Awaitable[Any]]
Scene = Callable[[Store, Clock], Awaitable[Act]]
ENDS = (Status.DONE, Status.FAILED, Status.CANCELLED)
LEASE = 30.0


def new(parent: Status | None, end: Status | None = None) -> Scene:
    """A submit: without a parent, with one that runs, or with one that has ended."""

    async def scene(store: Store, clock: Clock) -> Act:
        if parent is None:
            return lambda: submit(store)
        lease = await hold(store) if end is None else await ended(store, end)
        return lambda: submit(store, task(depends_on=after(lease.id)))

    return scene


def parent_ends(end: Status) -> Scene:
    async def scene(store: Store, clock: Clock) -> Act:
        lease = await hold(store)
        await submit(store, task(depends_on=after(lease.id)))
        return lambda: store.settle([settlement(lease, end)])

    return scene


def unstarted(verb: str, *, waits: bool) -> Scene:
    """A cancel, or the time to start running out, of a task that has not started."""

    async def scene(store: Store, clock: Clock) -> Act:
        parents = after((await hold(store)).id) if waits else ()
        (id,) = await submit(store, task(depends_on=parents, expires_at=clock() + 5))
        if verb == "cancel":
            return lambda: store.cancel([id])
        clock.advance(6)
        return lambda: store.expire(10)

    return scene


def held(end: Status | str, *, asked: bool = False) -> Scene:
    """The end of a lease."""

    async def scene(store: Store, clock: Clock) -> Act:
        lease = await hold(store, lease=LEASE)
        if asked:
            await store.cancel([lease.id])
        if end == "lease":
            clock.advance(LEASE + 1)
            return lambda: store.reclaim([], 10)
        ways = {"again": again(lease), "back": back(lease, started=True)}
        settled = ways[end] if end in ways else settlement(lease, Status(end))
        return lambda: store.settle([settled])

    return scene


async def queue(store: Store, clock: Clock) -> Act:
    await submit(store)
    return lambda: claim(store)


def retried(end: Status, *, waits: bool) -> Scene:
    """A retry of a task without parents, or while one of its parents is to run again."""

    async def scene(store: Store, clock: Clock) -> Act:
        if not waits:
            lease = await ended(store, end)
            return lambda: store.retry([lease.id])
        parent = await ended(store, Status.FAILED)
        changes = {"depends_on": after(parent.id), "on_parent_failure": OnParentFailure.RUN}
        child = await ended(store, end, **changes)
        await store.retry([parent.id])
        return lambda: store.retry([child.id])

    return scene


def gone(verb: str, end: Status) -> Scene:
    async def scene(store: Store, clock: Clock) -> Act:
        lease = await ended(store, end)
        clock.advance(10)
        return lambda: store.delete([lease.id]) if verb == "delete" else store.prune(5, 10)

    return scene


SCENES: dict[str, list[Scene]] = {
    "submit": [new(None), new(Status.IN_PROGRESS), *(new(end, end) for end in ENDS)],
    "release": [parent_ends(end) for end in ENDS],
    "cancel": [unstarted("cancel", waits=waits) for waits in (False, True)],
    "expire": [unstarted("expire", waits=waits) for waits in (False, True)],
    "claim": [queue],
    "settle": [*(held(end) for end in (*ENDS, "again")), held("again", asked=True)],
    "give back": [held("back"), held("back", asked=True)],
    "reclaim": [held("lease"), held("lease", asked=True)],
    "retry": [retried(end, waits=waits) for end in (Status.FAILED, Status.CANCELLED) for waits in (False, True)],
    "delete": [gone("delete", end) for end in ENDS],
    "prune": [gone("prune", end) for end in ENDS],
}


async def moves(scene: Scene) -> set[tuple[str, str]]:
    """The arrows that the last thing in a scene takes tasks along."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    await store.open()
    act = await scene(store, clock)
    head = await store.head()
    before = {event.id: event.status for event in (await store.events(0, 1000)).events}
    await act()
    found = {(str(before.get(event.id, END)), str(event.status)) for event in (await store.events(head, 1000)).events}
    there = await store.get(list(before))
    found |= {(str(before[id]), END) for id, task in zip(before, there, strict=True) if task is None}
    await store.close()
    return found


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_transition_goes_along_the_arrows_that_bear_its_name(name: str) -> None:
    taken = set[tuple[str, str]]().union(*(asyncio.run(moves(scene)) for scene in SCENES[name]))
    if name == "release":  # in the commit that ends the parent, which is a settle
        taken = {(before, after) for before, after in taken if before == Status.WAITING}
    assert taken == {(before, after) for before, after, names in drawn() if name in names}


def test_every_transition_of_the_diagram_is_tried() -> None:
    assert {name for _, _, names in drawn() for name in names} == set(SCENES)
