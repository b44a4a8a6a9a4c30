"""What has not started when its time to start is over is cancelled; and how long an ended task is kept."""

import pytest

from dolgo.store.base import Store
from dolgo.task.types import ErrorCode, Status
from tests.store.build import after, again, back, claim, done, ended, failed, hold, read, status, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


# -- expire


async def test_a_queued_task_that_has_expired_is_cancelled(store: Store, clock: Clock) -> None:
    (id, later) = await submit(store, task(expires_at=clock.now + 10), task(expires_at=clock.now + 100))
    head = await store.head()
    clock.advance(9)
    assert await store.expire(10) == 0
    assert await store.head() == head
    clock.advance(1)
    assert await store.expire(10) == 1
    found = await read(store, id)
    assert (found.status, found.finished_at, found.attempt, found.started_at) == (Status.CANCELLED, clock.now, 0, None)
    assert found.error is not None
    assert (found.error.code, found.error.attempt) == (ErrorCode.EXPIRED, 0)
    assert found.error.message
    assert found.expires_at == clock.now
    assert await status(store, later) == Status.QUEUED
    assert await store.head() == head + 1
    assert await store.expire(10) == 0


async def test_waiting_and_delayed_tasks_expire_too(store: Store, clock: Clock) -> None:
    (parent,) = await submit(store, queue="other")
    new = [task(delay=1_000.0, expires_at=clock.now + 10), task(depends_on=after(parent), expires_at=clock.now + 10)]
    ids = await submit(store, *new)
    clock.advance(11)
    assert await store.expire(10) == 2
    for id in ids:
        found = await read(store, id)
        assert found.error is not None
        assert (found.status, found.error.code) == (Status.CANCELLED, ErrorCode.EXPIRED)
    assert (await claim(store)).next_at is None


async def test_an_expired_task_is_not_claimed(store: Store, clock: Clock) -> None:
    (id, left) = await submit(store, task(expires_at=clock.now + 10), task())
    clock.advance(10)
    assert [lease.id for lease in (await claim(store)).leases] == [left]
    await store.expire(10)
    assert await status(store, id) == Status.CANCELLED


async def test_thousands_that_expired_stand_in_nobodys_way_for_long(store: Store, clock: Clock) -> None:
    await submit(store, *(task(priority=9, expires_at=clock.now + 10) for _ in range(1_300)))
    (mine,) = await submit(store)
    clock.advance(10)
    for _ in range(10):
        answer = await claim(store, limit=1)
        if answer.leases:
            break
        assert answer.next_at is not None
        assert answer.next_at <= clock.now  # so the worker asks again at once
    assert [lease.id for lease in answer.leases] == [mine]


async def test_expire_goes_up_to_its_limit(store: Store, clock: Clock) -> None:
    await submit(store, *(task(expires_at=clock.now + 10) for _ in range(5)))
    clock.advance(10)
    assert [await store.expire(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_what_has_started_does_not_expire(store: Store, clock: Clock) -> None:
    held, tried = await hold(store, expires_at=clock.now + 10), await hold(store, expires_at=clock.now + 10)
    await store.settle([again(tried, 5)])
    clock.advance(20)
    assert await store.expire(10) == 0
    assert [lease.id for lease in (await claim(store)).leases] == [tried.id]
    assert await store.settle([done(held)]) == [True]


async def test_what_was_given_back_unstarted_can_still_expire(store: Store, clock: Clock) -> None:
    lease = await hold(store, expires_at=clock.now + 10)
    clock.advance(20)
    await store.settle([back(lease, started=False)])
    assert (await claim(store)).leases == []
    await store.expire(10)
    assert await status(store, lease.id) == Status.CANCELLED


async def test_what_has_ended_does_not_expire(store: Store, clock: Clock) -> None:
    (id,) = await submit(store, expires_at=clock.now + 10)
    await store.cancel([id])
    before = await read(store, id)
    clock.advance(20)
    assert await store.expire(10) == 0
    assert await read(store, id) == before


async def test_dependents_of_what_expired_are_cancelled(store: Store, clock: Clock) -> None:
    (parent,) = await submit(store, expires_at=clock.now + 10)
    (child,) = await submit(store, depends_on=after(parent))
    clock.advance(10)
    assert await store.expire(10) == 1
    found = await read(store, child)
    assert found.error is not None
    assert (found.status, found.error.code) == (Status.CANCELLED, ErrorCode.DEPENDENCY_FAILED)


# -- keep


async def test_a_task_is_kept_as_long_as_it_says_itself(store: Store, clock: Clock) -> None:
    short, long, usual = [await ended(store, Status.DONE, keep=keep) for keep in (10.0, 1_000.0, None)]
    clock.advance(11)
    assert await store.prune(100.0, 10) == 1
    assert await store.get([short.id]) == [None]
    clock.advance(100)
    assert await store.prune(100.0, 10) == 1
    assert await store.get([usual.id]) == [None]
    assert (await read(store, long.id)).keep == 1_000.0
    clock.advance(1_000)
    assert await store.prune(100.0, 10) == 1


async def test_what_is_needed_is_not_pruned_whatever_it_says(store: Store, clock: Clock) -> None:
    own, usual = await hold(store, keep=0.0, needed=500.0), await hold(store, needed=500.0)
    await store.settle([done(own), done(usual)])
    clock.advance(499)
    assert await store.prune(10.0, 10) == 0
    clock.advance(2)
    assert await store.prune(10.0, 10) == 2


async def test_what_is_needed_does_not_keep_what_is_not(store: Store, clock: Clock) -> None:
    for _ in range(5):
        await ended(store, Status.DONE, needed=10_000.0)
    free = await ended(store, Status.DONE)
    clock.advance(100)
    assert await store.prune(10.0, 2) == 1
    assert await store.get([free.id]) == [None]


async def test_what_is_needed_can_be_deleted_by_hand(store: Store) -> None:
    lease = await ended(store, Status.DONE, needed=500.0)
    assert [change.after for change in await store.delete([lease.id])] == [None]
    assert await store.get([lease.id]) == [None]


async def test_a_retried_task_that_says_how_long_is_not_pruned_by_its_earlier_end(store: Store, clock: Clock) -> None:
    lease = await ended(store, Status.FAILED, keep=10.0)
    clock.advance(100)
    await store.retry([lease.id])
    assert await store.prune(100.0, 10) == 0
    (second,) = (await claim(store)).leases
    await store.settle([failed(second)])
    assert await store.prune(100.0, 10) == 0
    clock.advance(11)
    assert await store.prune(100.0, 10) == 1


async def test_a_retry_lifts_the_time_that_has_passed(store: Store, clock: Clock) -> None:
    (id,) = await submit(store, expires_at=clock.now + 10)
    (other,) = await submit(store, expires_at=clock.now + 100)
    clock.advance(10)
    assert await store.expire(10) == 1
    await store.cancel([other])
    await store.retry([id, other])
    assert await store.expire(10) == 0
    assert (await read(store, id)).expires_at is None
    assert (await read(store, other)).expires_at == clock.now + 90
    assert [lease.id for lease in (await claim(store)).leases] == [id, other]
