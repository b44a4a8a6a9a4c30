"""By hand: cancel, retry, delete."""

import asyncio

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Attempt, Change, Error, ErrorCode, Outcome, Query, Settlement, Status
from tests.store.build import (
    NOBODY,
    again,
    back,
    claim,
    done,
    ended,
    failed,
    fresh_id,
    hold,
    numbers,
    read,
    refused,
    status,
    stopped,
    submit,
    task,
)
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

OFF = Change(Status.QUEUED, Status.CANCELLED)  # cancelled at once
ASKED = Change(Status.IN_PROGRESS, Status.IN_PROGRESS, asked=True)  # its holder is to stop it


# -- cancel


async def test_a_queued_task_is_cancelled_at_once(store: Store, clock: Clock) -> None:
    (id,) = await submit(store)
    clock.advance(2)
    assert await store.cancel([id]) == [OFF]
    found = await read(store, id)
    assert (found.status, found.finished_at, found.attempt, found.started_at) == (Status.CANCELLED, clock.now, 0, None)
    assert found.error is not None
    assert (found.error.code, found.error.attempt) == (ErrorCode.CANCELLED, 0)
    assert found.error.message
    assert (await claim(store)).leases == []


async def test_a_delayed_task_is_cancelled_for_good(store: Store, clock: Clock) -> None:
    (id,) = await submit(store, delay=10.0)
    assert await store.cancel([id]) == [OFF]
    clock.advance(20)
    assert (await claim(store)).leases == []
    assert await status(store, id) == Status.CANCELLED


async def test_a_task_between_two_attempts_is_cancelled_with_its_history(store: Store) -> None:
    lease = await hold(store)
    await store.settle([again(lease)])
    assert await store.cancel([lease.id]) == [OFF]
    found = await read(store, lease.id)
    assert (found.status, numbers(found), found.failures) == (Status.CANCELLED, [1], 1)
    assert found.error is not None
    assert found.error.attempt == 0  # none was running


async def test_a_running_task_is_marked_and_stays_with_its_holder(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    head = await store.head()
    assert await store.cancel([lease.id]) == [ASKED]
    found = await read(store, lease.id)
    assert (found.status, found.cancel_asked, found.worker) == (Status.IN_PROGRESS, True, "w1")
    assert await store.head() == head
    assert (await claim(store)).leases == []


async def test_a_worker_can_ask_which_of_its_tasks_to_stop(store: Store) -> None:
    mine, also, other = await hold(store), await hold(store), await hold(store, worker="w2")
    assert await store.asked("w1") == []
    await store.cancel([mine.id, other.id])
    assert await store.asked("w1") == [mine.id]
    assert await store.asked("w2") == [other.id]
    assert await store.asked("w3") == []
    await store.settle([stopped(mine), done(also)])
    assert await store.asked("w1") == []


async def test_cancel_again_changes_nothing(store: Store, clock: Clock) -> None:
    (queued,) = await submit(store, type="other")
    held = await hold(store)
    await store.cancel([queued, held.id])
    before, head = await store.get([queued, held.id]), await store.head()
    clock.advance(5)
    assert await store.cancel([queued, held.id]) == [
        Change(Status.CANCELLED, Status.CANCELLED),
        Change(Status.IN_PROGRESS, Status.IN_PROGRESS),
    ]
    assert (await store.get([queued, held.id]), await store.head()) == (before, head)


async def test_cancel_leaves_what_has_ended(store: Store) -> None:
    leases = [await ended(store, end) for end in (Status.DONE, Status.FAILED, Status.CANCELLED)]
    before = await store.get([lease.id for lease in leases])
    answer = await store.cancel([lease.id for lease in leases] + ["nobody"])
    as_it_was = Change(Status.CANCELLED, Status.CANCELLED)
    assert answer == [refused(Status.DONE), refused(Status.FAILED), as_it_was, NOBODY]
    assert await store.get([lease.id for lease in leases]) == before


async def test_cancel_twice_in_one_batch_is_as_one_after_the_other(store: Store) -> None:
    (id,) = await submit(store)
    assert await store.cancel([id, id]) == [OFF, Change(Status.CANCELLED, Status.CANCELLED)]


async def test_cancel_and_claim_at_once_agree(store: Store) -> None:
    for _ in range(10):
        (id,) = await submit(store)
        (change,), claimed = await asyncio.gather(store.cancel([id]), claim(store))
        assert change == (ASKED if claimed.leases else OFF)
        found = await read(store, id)
        assert found.status == (Status.IN_PROGRESS if claimed.leases else Status.CANCELLED)
        await store.settle([done(lease) for lease in claimed.leases])


# -- retry


@pytest.mark.parametrize("end", [Status.FAILED, Status.CANCELLED])
async def test_retry_begins_anew_and_keeps_the_history(store: Store, clock: Clock, end: Status) -> None:
    lease = await hold(store, worker="w6", max_attempts=2)
    started, ended_at = clock.now, clock.now + 4
    clock.advance(4)
    error = Error(ErrorCode.HANDLER_ERROR, "no", attempt=1)
    outcome = {Status.FAILED: Outcome.FAILED, Status.CANCELLED: Outcome.CANCELLED}[end]
    await store.settle([Settlement(lease, end, outcome, error=error, failures=2, losses=1, suspect=True)])
    clock.advance(100)
    assert await store.retry([lease.id]) == [Change(end, Status.QUEUED)]
    found = await read(store, lease.id)
    assert (found.status, found.attempt, found.run_at) == (Status.QUEUED, 1, clock.now)
    assert (found.failures, found.losses, found.suspect, found.cancel_asked) == (0, 0, False, False)
    assert (found.result, found.error, found.worker, found.started_at, found.finished_at) == (None,) * 5
    assert found.history == (Attempt(1, "w6", started, ended_at, outcome, error),)
    (second,) = (await claim(store)).leases
    assert (second.attempt, second.failures, second.losses, second.max_attempts) == (2, 0, 0, 2)


async def test_retry_keeps_what_was_submitted(store: Store, clock: Clock) -> None:
    lease = await hold(store, payload=b"[7]", tags=("t",), priority=8, queue="q")
    before = await read(store, lease.id)
    await store.settle([failed(lease)])
    clock.advance(10)
    await store.retry([lease.id])
    found = await read(store, lease.id)
    kept = ("id", "type", "hash", "queue", "payload", "priority", "tags", "created_at", "max_attempts")
    assert [getattr(found, name) for name in kept] == [getattr(before, name) for name in kept]


async def test_retry_stands_in_line_by_its_priority_from_now(store: Store, clock: Clock) -> None:
    high, low = await ended(store, Status.FAILED, priority=6), await ended(store, Status.FAILED, priority=5)
    clock.advance(1_000)
    (between,) = await submit(store, priority=5)
    clock.advance(1)
    await store.retry([low.id, high.id])
    assert [lease.id for lease in (await claim(store)).leases] == [high.id, between, low.id]


async def test_retry_of_what_was_cancelled_before_it_started(store: Store) -> None:
    (id,) = await submit(store, delay=1_000.0)
    await store.cancel([id])
    assert await store.retry([id]) == [Change(Status.CANCELLED, Status.QUEUED)]
    found = await read(store, id)
    assert (found.status, found.attempt, found.history, found.cancel_asked) == (Status.QUEUED, 0, (), False)
    assert (await claim(store)).leases[0].attempt == 1


async def test_retry_of_what_was_cancelled_between_two_attempts_counts_no_attempt_twice(store: Store) -> None:
    lease = await hold(store)
    await store.settle([again(lease)])
    await store.cancel([lease.id])
    await store.retry([lease.id])
    assert numbers(await read(store, lease.id)) == [1]
    (second,) = (await claim(store)).leases
    await store.settle([done(second)])
    assert numbers(await read(store, lease.id)) == [1, 2]


async def test_retry_of_what_a_cancel_turned_counts_no_attempt_twice(store: Store, clock: Clock) -> None:
    given, unstarted, over = await hold(store), await hold(store), await hold(store, lease=1.0)
    await store.cancel([given.id, unstarted.id, over.id])
    await store.settle([back(given, started=True), back(unstarted, started=False)])
    clock.advance(1)
    await store.reclaim((), 10)
    await store.retry([given.id, unstarted.id, over.id])
    assert [numbers(await read(store, lease.id)) for lease in (given, unstarted, over)] == [[1], [], [1]]


async def test_a_retried_task_is_no_longer_asked_to_be_cancelled(store: Store) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    await store.settle([stopped(lease)])
    await store.retry([lease.id])
    (second,) = (await claim(store)).leases
    assert await store.asked("w1") == []
    assert await store.settle([back(second, started=True)]) == [True]
    assert await status(store, lease.id) == Status.QUEUED


async def test_retry_leaves_what_did_not_fail(store: Store) -> None:
    finished = await ended(store, Status.DONE)
    held = await hold(store)
    (queued,) = await submit(store)
    ids = [queued, held.id, finished.id]
    before, head = await store.get(ids), await store.head()
    left = [refused(Status.QUEUED), refused(Status.IN_PROGRESS), refused(Status.DONE)]
    assert await store.retry([*ids, "nobody"]) == [*left, NOBODY]
    assert (await store.get(ids), await store.head()) == (before, head)


async def test_retry_twice_at_once_is_one_retry(store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    head = await store.head()
    answers = await asyncio.gather(store.retry([lease.id, lease.id]), store.retry([lease.id]))
    changes = [change for answer in answers for change in answer]
    assert sorted(changes, key=lambda change: change.refusal is not None) == [
        Change(Status.FAILED, Status.QUEUED),
        refused(Status.QUEUED),
        refused(Status.QUEUED),
    ]
    assert await store.head() == head + 1
    assert numbers(await read(store, lease.id)) == [1]


# -- delete


async def test_delete_takes_what_has_ended_and_leaves_the_rest(store: Store) -> None:
    leases = [await ended(store, end) for end in (Status.DONE, Status.FAILED, Status.CANCELLED)]
    held = await hold(store)
    (queued,) = await submit(store)
    ids = [*(lease.id for lease in leases), queued, held.id, "nobody"]
    answer = await store.delete(ids)
    gone = [Change(end, None) for end in (Status.DONE, Status.FAILED, Status.CANCELLED)]
    assert answer == [*gone, refused(Status.QUEUED), refused(Status.IN_PROGRESS), NOBODY]
    assert [one and one.id for one in await store.get(ids)] == [None, None, None, queued, held.id, None]
    assert await store.delete([leases[0].id]) == [NOBODY]


async def test_a_deleted_task_is_gone_everywhere_but_in_the_log(store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    head = await store.head()
    await store.delete([lease.id])
    assert (await store.list(Query())).tasks == []
    assert (await store.list(Query(order="finished_at"))).tasks == []
    assert sum(sum(line.counts.values()) for line in await store.counts()) == 0
    assert await store.cancel([lease.id]) == await store.retry([lease.id]) == [NOBODY]
    assert [event.id for event in (await store.events(0, 10)).events] == [lease.id] * 3
    assert await store.head() == head


async def test_the_id_of_a_deleted_task_can_be_used_again(store: Store) -> None:
    id = fresh_id()
    for _ in range(3):
        await store.submit([task(id=id)])
        (lease,) = (await claim(store)).leases
        assert lease.attempt == 1
        await store.settle([failed(lease)])
        assert await store.delete([id]) == [Change(Status.FAILED, None)]
    await store.submit([task(id=id)])
    assert [found.id for found in (await store.list(Query())).tasks] == [id]
