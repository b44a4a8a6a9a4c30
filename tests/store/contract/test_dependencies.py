"""Dependencies: a task waits for its parents, and never for something that is over."""

import asyncio

import pytest

from dolgo.store.base import CASCADED, Store
from dolgo.task.types import Change, Dependency, ErrorCode, OnParentFailure, Put, Query, Refusal, Status
from tests.store.build import (
    after,
    again,
    back,
    claim,
    done,
    ended,
    failed,
    fresh_id,
    hold,
    read,
    refused,
    settlement,
    status,
    submit,
    task,
    wants,
)
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

RUN = OnParentFailure.RUN
BAD = [Status.FAILED, Status.CANCELLED]


async def statuses(store: Store, *ids: str) -> list[Status]:
    return [await status(store, id) for id in ids]


async def called_off(store: Store, id: str, parent: str, end: Status) -> None:
    """The task was cancelled because of that parent."""
    found = await read(store, id)
    assert found.error is not None
    assert (found.status, found.error.code) == (Status.CANCELLED, ErrorCode.DEPENDENCY_FAILED)
    assert found.error.message == f"The task {parent} it depends on ended {end}."
    assert (found.error.attempt, found.attempt, found.started_at, found.cancel_asked) == (0, 0, None, False)


async def cascade(store: Store, limit: int = 1_000) -> int:
    """Goes on until nothing is left; how many it moved."""
    moved = 0
    while count := await store.cascade(limit):
        assert count <= limit
        moved += count
    return moved


# -- submit


async def test_a_task_waits_for_its_parents(store: Store, clock: Clock) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id))
    assert await status(store, child) == Status.WAITING
    assert (await claim(store)).leases == []
    assert [found.id for found in (await store.list(Query(status=Status.WAITING))).tasks] == [child]
    await store.settle([done(first)])
    assert await status(store, child) == Status.WAITING
    clock.advance(5)
    await store.settle([done(second)])
    assert ((await read(store, child)).status, (await read(store, child)).run_at) == (Status.QUEUED, clock.now)
    assert [lease.id for lease in (await claim(store)).leases] == [child]
    events = [event.status for event in (await store.events(0, 100)).events if event.id == child]
    assert events == [Status.WAITING, Status.QUEUED, Status.IN_PROGRESS]


async def test_parents_that_are_done_are_not_waited_for(store: Store) -> None:
    ids = [(await ended(store, Status.DONE)).id for _ in range(2)]
    answer = await store.submit([new := task(depends_on=after(*ids))])
    assert answer.statuses == [Status.QUEUED]
    assert [lease.id for lease in (await claim(store)).leases] == [new.id]


@pytest.mark.parametrize("end", BAD)
async def test_a_parent_that_has_ended_otherwise_cancels_at_submit(store: Store, clock: Clock, end: Status) -> None:
    parent, held = await ended(store, end), await hold(store)
    clock.advance(1)
    answer = await store.submit([new := task(depends_on=after(held.id, parent.id))])
    assert answer.statuses == [Status.CANCELLED]
    await called_off(store, new.id, parent.id, end)
    assert (await read(store, new.id)).finished_at == clock.now
    assert [event.status for event in (await store.events(0, 100)).events if event.id == new.id] == [Status.CANCELLED]
    assert (await claim(store)).leases == []


@pytest.mark.parametrize("end", BAD)
async def test_a_task_that_is_to_run_all_the_same_does(store: Store, end: Status) -> None:
    parent, held = await ended(store, end), await hold(store)
    first, second = (
        task(depends_on=after(parent.id), on_parent_failure=RUN),
        task(depends_on=after(parent.id, held.id), on_parent_failure=RUN),
    )
    assert (await store.submit([first, second])).statuses == [Status.QUEUED, Status.WAITING]
    await store.settle([failed(held)])
    assert await status(store, second.id) == Status.QUEUED
    assert (await read(store, second.id)).on_parent_failure == RUN


async def test_parents_that_do_not_exist_are_named_and_nothing_is_written(store: Store) -> None:
    (known,) = await submit(store)
    head, new = await store.head(), task(depends_on=after(known, "nobody", "no-one"))
    answer = await store.submit([task(), new], [Put("k", b"", 0)])
    assert sorted(answer.unknown) == ["no-one", "nobody"]
    assert await store.get([new.id]) == [None]
    assert (await store.head(), list(await store.records(""))) == (head, [])


async def test_parents_may_come_in_the_same_call_before_their_dependents(store: Store) -> None:
    top = task()
    left, right = task(depends_on=after(top.id)), task(depends_on=(Dependency(top.id, "top"),))
    bottom = task(depends_on=(Dependency(right.id, "right"), Dependency(left.id, "left")))
    answer = await store.submit([top, left, right, bottom])
    assert answer.statuses == [Status.QUEUED, Status.WAITING, Status.WAITING, Status.WAITING]
    (found, of_top) = await store.details([bottom.id, top.id])
    assert found is not None
    assert of_top is not None
    assert found.parents == (Dependency(right.id, "right"), Dependency(left.id, "left"))
    assert (of_top.dependents, of_top.parents) == ((left.id, right.id), ())


async def test_the_same_id_again_is_answered_with_its_status(store: Store) -> None:
    parent = await hold(store)
    new = task(depends_on=after(parent.id))
    assert (await store.submit([new])).statuses == [Status.WAITING]
    assert (await store.submit([new, task()])).statuses == [Status.WAITING, Status.QUEUED]
    await store.settle([done(parent)])
    await store.delete([parent.id])
    assert (await store.submit([new])).statuses == [Status.QUEUED]  # though its parent is gone


async def test_a_submit_and_the_end_of_its_parent_at_once_agree(store: Store) -> None:
    for end in (Status.DONE, Status.FAILED):
        for _ in range(10):
            parent, new = await hold(store), task()
            new = task(depends_on=after(parent.id))
            await asyncio.gather(store.submit([new]), store.settle([settlement(parent, end)]))
            assert await status(store, new.id) == (Status.QUEUED if end == Status.DONE else Status.CANCELLED)
            await store.cancel([new.id])


async def test_a_released_task_keeps_the_time_it_was_to_wait_for(store: Store, clock: Clock) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id), delay=100.0)
    due = clock.now + 100
    clock.advance(10)
    await store.settle([done(parent)])
    assert (await read(store, child)).run_at == due
    assert await status(store, child) == Status.QUEUED
    answer = await claim(store)
    assert (answer.leases, answer.next_at) == ([], due)
    clock.advance(90)
    assert [lease.id for lease in (await claim(store)).leases] == [child]


async def test_a_released_task_stands_in_line_from_its_release_by_its_priority(store: Store, clock: Clock) -> None:
    parent = await hold(store)
    low, high = await submit(store, task(depends_on=after(parent.id), priority=5), task(depends_on=after(parent.id), priority=6))
    clock.advance(1_000)
    (between,) = await submit(store, priority=5)
    clock.advance(1)
    await store.settle([done(parent)])
    assert [lease.id for lease in (await claim(store)).leases] == [high, between, low]


# -- ends of parents


@pytest.mark.parametrize("end", BAD)
async def test_the_first_parent_that_fails_cancels(store: Store, clock: Clock, end: Status) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id))
    clock.advance(3)
    await store.settle([settlement(second, end)])
    await called_off(store, child, second.id, end)
    assert (await read(store, child)).finished_at == clock.now
    await store.settle([done(first)])
    assert await status(store, child) == Status.CANCELLED


@pytest.mark.parametrize("end", [Status.DONE, *BAD])
async def test_one_that_runs_all_the_same_waits_for_all_of_them(store: Store, end: Status) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id), on_parent_failure=RUN)
    await store.settle([settlement(first, end)])
    assert await status(store, child) == Status.WAITING
    await store.settle([settlement(second, end)])
    assert await status(store, child) == Status.QUEUED


async def test_every_way_to_end_moves_the_dependents_on(store: Store, clock: Clock) -> None:
    asked, over, unstarted = await hold(store), await hold(store, lease=1.0), await hold(store)
    (queued,) = await submit(store, queue="other")
    parents = [asked.id, over.id, unstarted.id, queued]
    children = await submit(store, *(task(depends_on=after(id)) for id in parents))
    await store.cancel(parents)
    assert await statuses(store, *children) == [Status.WAITING] * 3 + [Status.CANCELLED]
    await store.settle([again(asked), back(unstarted, started=False)])
    clock.advance(1)
    await store.reclaim((), 10)
    assert await statuses(store, *children) == [Status.CANCELLED] * 4
    for child, parent in zip(children, parents, strict=True):
        await called_off(store, child, parent, Status.CANCELLED)


async def test_another_attempt_is_no_end(store: Store, clock: Clock) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    await store.settle([again(parent, 0)])
    await store.reclaim({"w1"}, 10)
    assert await status(store, child) == Status.WAITING
    (parent,) = (await claim(store)).leases
    await store.settle([done(parent)])
    assert await status(store, child) == Status.QUEUED


async def test_both_parents_at_once_release_once(store: Store) -> None:
    parents = [await hold(store) for _ in range(2)]
    (child,) = await submit(store, depends_on=after(*(parent.id for parent in parents)))
    await store.settle([done(parent) for parent in parents])
    events = [event.status for event in (await store.events(0, 100)).events if event.id == child]
    assert events == [Status.WAITING, Status.QUEUED]
    parents = [await hold(store, type="p") for _ in range(2)]
    (child,) = await submit(store, depends_on=after(*(parent.id for parent in parents)))
    await asyncio.gather(*(store.settle([failed(parent)]) for parent in parents))
    events = [event.status for event in (await store.events(0, 100)).events if event.id == child]
    assert events == [Status.WAITING, Status.CANCELLED]


async def test_a_diamond_runs_from_top_to_bottom(store: Store) -> None:
    top = task()
    left, right = task(depends_on=after(top.id)), task(depends_on=after(top.id))
    bottom = task(depends_on=after(left.id, right.id))
    await store.submit([top, left, right, bottom])
    order = []
    while leases := (await claim(store)).leases:
        order.append(sorted(lease.id for lease in leases))
        await store.settle([done(lease) for lease in leases])
    assert order == [[top.id], sorted([left.id, right.id]), [bottom.id]]


async def test_an_end_at_the_top_of_a_diamond_cancels_all_of_it(store: Store) -> None:
    top = await hold(store)
    left, right = task(depends_on=after(top.id)), task(depends_on=after(top.id), on_parent_failure=RUN)
    bottom = task(depends_on=after(left.id, right.id))
    await store.submit([left, right, bottom])
    await store.settle([failed(top)])
    assert await statuses(store, left.id, right.id, bottom.id) == [Status.CANCELLED, Status.QUEUED, Status.CANCELLED]
    await called_off(store, bottom.id, left.id, Status.CANCELLED)


async def test_a_chain_of_a_thousand_is_cancelled_from_its_top(store: Store) -> None:
    chain = [task()]
    for _ in range(999):
        chain.append(task(depends_on=after(chain[-1].id)))
    await store.submit(chain)
    await store.cancel([chain[0].id])
    await cascade(store, 100)
    found = [one for one in await store.get([new.id for new in chain]) if one]
    assert {one.status for one in found} == {Status.CANCELLED}
    assert await store.cascade(10) == 0
    assert len((await store.events(0, 10_000)).events) == 2_000
    assert await store.retry([chain[0].id]) == [Change(Status.CANCELLED, Status.QUEUED)]
    await cascade(store, 100)
    found = [one for one in await store.get([new.id for new in chain]) if one]
    assert [one.status for one in found] == [Status.QUEUED] + [Status.WAITING] * 999


async def test_a_fan_of_a_thousand_opens_and_closes_in_bounded_commits(store: Store) -> None:
    top = await hold(store)
    fan = [task(depends_on=after(top.id)) for _ in range(1_000)]
    bottom = task(depends_on=after(*(new.id for new in fan)))
    await store.submit([*fan, bottom])
    await store.settle([done(top)])
    assert await count(store, Status.QUEUED) <= CASCADED
    assert await count(store, Status.QUEUED) + await store.cascade(10) == await count(store, Status.QUEUED)
    await cascade(store, 100)
    assert await count(store, Status.QUEUED) == 1_000
    while leases := [lease for lease in (await claim(store, limit=300)).leases if lease.id != bottom.id]:
        await store.settle([done(lease) for lease in leases])
        await cascade(store)
    assert await status(store, bottom.id) == Status.IN_PROGRESS


async def count(store: Store, wanted: Status) -> int:
    return sum(line.counts.get(wanted, 0) for line in await store.counts())


async def test_what_is_left_of_a_cascade_goes_by_what_its_parent_is_by_then(store: Store) -> None:
    top = await hold(store)
    fan = await submit(store, *(task(depends_on=after(top.id)) for _ in range(CASCADED + 100)))
    await store.settle([failed(top)])
    await store.retry([top.id])
    await cascade(store)
    assert {await status(store, id) for id in fan} == {Status.WAITING}
    (top,) = (await claim(store)).leases
    await store.settle([done(top)])
    await cascade(store)
    assert {await status(store, id) for id in fan} == {Status.QUEUED}


# -- cancel, delete, prune


async def test_a_waiting_task_can_be_cancelled_and_stays_so(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    (grandchild,) = await submit(store, depends_on=after(child))
    assert await store.cancel([child]) == [Change(Status.WAITING, Status.CANCELLED)]
    found = await read(store, child)
    assert found.error is not None
    assert found.error.code == ErrorCode.CANCELLED
    await called_off(store, grandchild, child, Status.CANCELLED)
    await store.settle([done(parent)])
    assert await statuses(store, child, grandchild) == [Status.CANCELLED] * 2


async def test_a_parent_and_its_dependent_cancelled_together(store: Store) -> None:
    (parent,) = await submit(store)
    (child,) = await submit(store, depends_on=after(parent))
    await store.cancel([parent, child])
    assert await statuses(store, parent, child) == [Status.CANCELLED] * 2
    assert len((await store.events(0, 10)).events) == 4


async def test_a_parent_is_not_deleted_while_an_unfinished_task_depends_on_it(store: Store, clock: Clock) -> None:
    parent = await ended(store, Status.DONE)
    (child,) = await submit(store, depends_on=after(parent.id))
    assert await store.delete([parent.id]) == [refused(Status.DONE, Refusal.DEPENDENTS)]
    clock.advance(100)
    assert await store.prune(10.0, 10) == 0
    await store.cancel([child])
    assert await store.delete([parent.id]) == [Change(Status.DONE, None)]
    (found,) = await store.details([child])
    assert found is not None
    assert found.parents == after(parent.id)


async def test_a_parent_is_pruned_once_nobody_unfinished_depends_on_it(store: Store, clock: Clock) -> None:
    parent, other = await ended(store, Status.DONE), await ended(store, Status.DONE)
    (child,) = await submit(store, depends_on=after(parent.id, other.id))
    free = await ended(store, Status.DONE, type="free")
    clock.advance(100)
    assert await store.prune(10.0, 1) == 1  # those that are held stand in nobody's way
    assert await store.get([free.id]) == [None]
    (lease,) = (await claim(store)).leases
    assert lease.id == child
    await store.settle([done(lease)])
    assert await store.prune(10.0, 10) == 2
    assert await store.delete([child]) == [Change(Status.DONE, None)]


async def test_dependents_that_are_gone_are_not_told_of(store: Store) -> None:
    parent = await hold(store)
    first, second = await submit(store, *(task(depends_on=after(parent.id)) for _ in range(2)))
    await store.cancel([first])
    await store.delete([first])
    (found,) = await store.details([parent.id])
    assert found is not None
    assert found.dependents == (second,)


# -- retry and revival


@pytest.mark.parametrize("end", BAD)
async def test_retry_brings_back_what_was_cancelled_because_of_it(store: Store, clock: Clock, end: Status) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    (grandchild,) = await submit(store, depends_on=after(child))
    await store.settle([settlement(parent, end)])
    clock.advance(7)
    assert await store.retry([parent.id]) == [Change(end, Status.QUEUED)]
    for id in (child, grandchild):
        found = await read(store, id)
        assert (found.status, found.error, found.finished_at) == (Status.WAITING, None, None)
        assert (found.generation, found.failures, found.losses, found.attempt) == (1, 0, 0, 0)
    assert (await read(store, parent.id)).generation == 1
    for id in (parent.id, child, grandchild):
        (lease,) = (await claim(store)).leases
        assert (lease.id, lease.generation) == (id, 1)
        await store.settle([done(lease)])


async def test_one_that_another_parent_would_cancel_stays_cancelled(store: Store) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id))
    await store.settle([failed(first), failed(second)])
    await store.retry([first.id])
    assert await status(store, child) == Status.CANCELLED
    await store.retry([second.id])
    assert await status(store, child) == Status.WAITING
    leases = (await claim(store)).leases
    await store.settle([done(lease) for lease in leases])
    assert await status(store, child) == Status.QUEUED


async def test_one_that_was_cancelled_by_hand_stays_cancelled(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    await store.cancel([child])
    await store.settle([failed(parent)])
    await store.retry([parent.id])
    assert await status(store, child) == Status.CANCELLED
    assert await store.retry([child]) == [Change(Status.CANCELLED, Status.WAITING)]


async def test_one_whose_key_another_has_taken_stays_cancelled(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id), unique_key="k")
    (grandchild,) = await submit(store, depends_on=after(child))
    await store.settle([failed(parent)])
    await submit(store, unique_key="k", queue="other")
    await store.retry([parent.id])
    assert await statuses(store, parent.id, child, grandchild) == [Status.QUEUED, Status.CANCELLED, Status.CANCELLED]


async def test_one_that_waits_all_the_same_waits_for_the_retried_parent_again(store: Store) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id), on_parent_failure=RUN)
    await store.settle([failed(first)])
    await store.retry([first.id])
    await store.settle([done(second)])
    assert await status(store, child) == Status.WAITING
    (first,) = (await claim(store)).leases
    await store.settle([done(first)])
    assert await status(store, child) == Status.QUEUED


async def test_one_that_was_released_by_a_failure_is_not_held_up_again(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id), on_parent_failure=RUN, queue="other")
    await store.settle([failed(parent)])
    await store.retry([parent.id])
    assert await statuses(store, parent.id, child) == [Status.QUEUED, Status.QUEUED]


async def test_a_parent_that_is_gone_counts_as_done(store: Store) -> None:
    first, second = await hold(store), await hold(store)
    (child,) = await submit(store, depends_on=after(first.id, second.id))
    await store.settle([done(first), failed(second)])
    await store.delete([first.id])
    await store.retry([second.id])
    assert await status(store, child) == Status.WAITING
    (second,) = (await claim(store)).leases
    await store.settle([done(second)])
    assert await status(store, child) == Status.QUEUED


async def test_revival_reaches_more_than_one_commit_can(store: Store) -> None:
    top = await hold(store)
    fan = await submit(store, *(task(depends_on=after(top.id)) for _ in range(CASCADED + 100)))
    bottom = await submit(store, *(task(depends_on=after(id)) for id in (fan[0], fan[-1])))
    await store.settle([failed(top)])
    await cascade(store)
    assert {await status(store, id) for id in (*fan, *bottom)} == {Status.CANCELLED}
    await store.retry([top.id])
    assert await count(store, Status.WAITING) <= CASCADED
    await cascade(store, 50)
    assert {await status(store, id) for id in (*fan, *bottom)} == {Status.WAITING}


async def test_a_revival_that_is_overtaken_by_another_end_brings_nothing_back(store: Store) -> None:
    top = await hold(store)
    fan = await submit(store, *(task(depends_on=after(top.id)) for _ in range(CASCADED + 100)))
    await store.settle([failed(top)])
    await cascade(store)
    await store.retry([top.id])
    (top,) = (await claim(store)).leases
    await store.settle([failed(top)])
    await cascade(store)
    assert {await status(store, id) for id in fan} == {Status.CANCELLED}


@pytest.mark.parametrize("end", BAD)
async def test_a_dependent_is_not_retried_before_its_parent(store: Store, end: Status) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    await store.settle([settlement(parent, end)])
    head = await store.head()
    assert await store.retry([child]) == [refused(Status.CANCELLED, Refusal.PARENTS)]
    assert await store.head() == head


async def test_one_that_runs_all_the_same_is_retried_though_its_parent_failed(store: Store) -> None:
    parent = await ended(store, Status.FAILED)
    child = await ended(store, Status.FAILED, depends_on=after(parent.id), on_parent_failure=RUN)
    assert await store.retry([child.id]) == [Change(Status.FAILED, Status.QUEUED)]


async def test_retry_of_a_dependent_waits_by_its_parents_as_they_are_now(store: Store, clock: Clock) -> None:
    parent = await ended(store, Status.FAILED)
    child = await ended(store, Status.FAILED, depends_on=after(parent.id), on_parent_failure=RUN)
    await store.retry([parent.id])
    assert await store.retry([child.id]) == [Change(Status.FAILED, Status.WAITING)]
    (parent,) = (await claim(store)).leases
    clock.advance(3)
    await store.settle([done(parent)])
    found = await read(store, child.id)
    assert (found.status, found.run_at, found.generation) == (Status.QUEUED, clock.now, 1)
    assert len(found.history) == 1


async def test_a_retried_dependent_brings_its_own_dependents_back(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    (grandchild,) = await submit(store, depends_on=after(child))
    await store.cancel([child])
    assert await store.retry([child]) == [Change(Status.CANCELLED, Status.WAITING)]
    assert await statuses(store, child, grandchild) == [Status.WAITING] * 2


async def test_the_id_of_a_deleted_parent_can_be_used_again(store: Store) -> None:
    id = fresh_id()
    await store.submit([task(id=id)])
    await store.cancel([id])
    await store.delete([id])
    await store.submit([task(id=id), child := task(depends_on=after(id))])
    assert await status(store, child.id) == Status.WAITING


async def test_bells_ring_when_a_cascade_releases(store: Store) -> None:
    top = await hold(store)
    await submit(store, *(task(depends_on=after(top.id)) for _ in range(CASCADED + 1)))
    for act in (lambda: store.settle([done(top)]), lambda: store.cascade(10)):
        work, log = store.work.count, store.log.count
        await act()  # type: ignore[no-untyped-call]
        assert await store.work.wait(work, 5.0)
        assert await store.log.wait(log, 5.0)


async def test_a_claim_that_waits_gets_what_an_end_releases(store: Store) -> None:
    parent = await hold(store)
    (child,) = await submit(store, depends_on=after(parent.id))
    seen = (await claim(store)).seen
    waiting = asyncio.create_task(store.claim(wants(), seen=seen, wait=60.0))
    await asyncio.sleep(0)
    await store.settle([done(parent)])
    answer = await asyncio.wait_for(waiting, 5.0)
    while not answer.leases:  # woken by the end itself, before what it released is there
        answer = await asyncio.wait_for(store.claim(wants(), seen=answer.seen, wait=60.0), 5.0)
    assert [lease.id for lease in answer.leases] == [child]


async def test_what_somebody_cancelled_is_not_revived_though_its_parent_had_cancelled_it_before(store: Store) -> None:
    top = await hold(store)
    wanted, unwanted = await submit(store, *(task(depends_on=after(top.id)) for _ in range(2)))
    await store.settle([failed(top)])
    assert await store.cancel([unwanted]) == [Change(Status.CANCELLED, Status.CANCELLED)]
    await store.retry([top.id])
    assert await statuses(store, wanted, unwanted) == [Status.WAITING, Status.CANCELLED]
    await store.retry([unwanted])
    assert await status(store, unwanted) == Status.WAITING


async def test_a_task_for_later_that_is_revived_is_still_for_later(store: Store, clock: Clock) -> None:
    parent = await hold(store)
    (child,) = await submit(store, task(depends_on=(Dependency(parent.id),), run_at=clock.now + 1_000))
    await store.settle([failed(parent)])
    clock.advance(10)
    await store.retry([parent.id])
    assert (await read(store, child)).run_at == clock.now + 990
    (again,) = (await claim(store)).leases
    await store.settle([done(again)])
    assert await status(store, child) is Status.QUEUED
    assert (await claim(store)).leases == []
    clock.advance(990)
    assert [lease.id for lease in (await claim(store)).leases] == [child]
