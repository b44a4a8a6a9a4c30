"""Leases: lengthened by those who name them, taken away when they are over, and found again when an answer was lost."""

import asyncio

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Attempt, Outcome, Status
from tests.store.build import again, back, claim, done, ended, hold, numbers, read, status, stopped, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio


# -- renew


async def test_a_renewed_lease_is_not_taken_away(store: Store, clock: Clock) -> None:
    lease = await hold(store, lease=30.0)
    for _ in range(5):
        clock.advance(25)
        assert (await store.renew("w1", {lease.id: lease.token}, 30.0)).lost == []
        assert await store.reclaim((), 10) == 0
    clock.advance(31)
    assert await store.reclaim((), 10) == 1


async def test_renewing_some_leases_leaves_the_others_as_they_were(store: Store, clock: Clock) -> None:
    kept, left = await hold(store, lease=30.0), await hold(store, lease=30.0)
    clock.advance(20)
    await store.renew("w1", {kept.id: kept.token}, 30.0)
    clock.advance(15)
    assert await store.reclaim((), 10) == 1
    assert [await status(store, lease.id) for lease in (kept, left)] == [Status.IN_PROGRESS, Status.QUEUED]


async def test_a_lease_past_its_time_can_be_renewed_as_long_as_nobody_took_it(store: Store, clock: Clock) -> None:
    lease = await hold(store, lease=1.0)
    clock.advance(100)
    assert (await store.renew("w1", {lease.id: lease.token}, 30.0)).lost == []
    assert await store.reclaim((), 10) == 0


async def test_renew_tells_which_leases_are_lost(store: Store, clock: Clock) -> None:
    held, final, given, gone = [await hold(store) for _ in range(4)]
    await store.settle([done(final), again(given), done(gone)])
    await store.delete([gone.id])
    named = {lease.id: lease.token for lease in (held, final, given, gone)} | {"nobody": held.token}
    answer = await store.renew("w1", named, 30.0)
    assert sorted(answer.lost) == sorted([final.id, given.id, gone.id, "nobody"])
    assert (answer.cancel_asked, answer.unnamed) == ([], [])


async def test_a_lease_named_with_another_token_is_lost(store: Store) -> None:
    lease = await hold(store)
    assert (await store.renew("w1", {lease.id: "nonsense"}, 30.0)).lost == [lease.id]


async def test_renew_tells_which_tasks_somebody_wants_cancelled(store: Store) -> None:
    first, second = await hold(store), await hold(store)
    await store.cancel([second.id])
    answer = await store.renew("w1", {first.id: first.token, second.id: second.token}, 30.0)
    assert (answer.lost, answer.cancel_asked, answer.unnamed) == ([], [second.id], [])


async def test_renew_hands_out_leases_the_worker_did_not_name(store: Store) -> None:
    named = await hold(store)
    await store.submit([task(payload=b"[1]", tags=("a",), max_attempts=3), task()])
    unheard = (await claim(store)).leases
    await hold(store, worker="w2")
    answer = await store.renew("w1", {named.id: named.token}, 30.0)
    assert sorted(answer.unnamed, key=lambda lease: lease.id) == unheard
    assert await store.settle([back(lease, started=False) for lease in answer.unnamed]) == [True, True]
    assert [lease.id for lease in (await claim(store)).leases] == [lease.id for lease in unheard]


async def test_a_worker_that_names_an_old_attempt_hears_of_the_one_it_holds(store: Store, clock: Clock) -> None:
    old = await hold(store)
    clock.advance(31)
    await store.reclaim((), 10)
    (new,) = (await claim(store)).leases
    answer = await store.renew("w1", {old.id: old.token}, 30.0)
    assert (answer.lost, answer.unnamed) == ([old.id], [new])


async def test_a_lease_that_is_not_named_is_not_lengthened(store: Store, clock: Clock) -> None:
    await hold(store, lease=30.0)
    clock.advance(20)
    await store.renew("w1", {}, 30.0)
    clock.advance(11)
    assert await store.reclaim((), 10) == 1


async def test_a_worker_without_leases_hears_nothing(store: Store) -> None:
    await hold(store, worker="w2")
    answer = await store.renew("w1", {}, 30.0)
    assert (answer.lost, answer.cancel_asked, answer.unnamed) == ([], [], [])


async def test_renewing_changes_neither_task_nor_log(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    before, head = await read(store, lease.id), await store.head()
    clock.advance(10)
    await store.renew("w1", {lease.id: lease.token}, 30.0)
    assert (await read(store, lease.id), await store.head()) == (before, head)


# -- reclaim


async def test_reclaim_takes_what_is_over_and_nothing_else(store: Store, clock: Clock) -> None:
    short, long = await hold(store, lease=10.0), await hold(store, lease=60.0)
    (queued,) = await submit(store, type="other")
    final = await ended(store, Status.DONE)
    clock.advance(9.5)
    assert await store.reclaim((), 10) == 0
    clock.advance(1)
    assert await store.reclaim((), 10) == 1
    ids = (short.id, long.id, queued, final.id)
    assert [await status(store, id) for id in ids] == [Status.QUEUED, Status.IN_PROGRESS, Status.QUEUED, Status.DONE]
    assert await store.reclaim((), 10) == 0


async def test_a_reclaimed_task_is_suspect_and_not_charged(store: Store, clock: Clock) -> None:
    lease = await hold(store, worker="w4")
    started = clock.now
    clock.advance(31)
    await store.reclaim((), 10)
    found = await read(store, lease.id)
    assert (found.status, found.suspect, found.failures, found.losses, found.attempt) == (Status.QUEUED, True, 0, 0, 1)
    assert (found.worker, found.started_at, found.finished_at, found.error) == (None, None, None, None)
    (entry,) = found.history
    assert entry == Attempt(1, "w4", started, clock.now, Outcome.LOST, entry.error)
    (second,) = (await claim(store)).leases
    assert (second.suspect, second.attempt, second.losses) == (True, 2, 0)


async def test_failures_and_losses_of_a_reclaimed_task_stay_as_they_were(store: Store, clock: Clock) -> None:
    await store.settle([again(await hold(store), 1)])
    clock.advance(1)
    (lease,) = (await claim(store)).leases
    clock.advance(31)
    await store.reclaim((), 10)
    found = await read(store, lease.id)
    assert (found.failures, found.losses) == (1, 0)
    assert numbers(found) == [1, 2]


async def test_a_reclaimed_task_keeps_its_rank(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    clock.advance(31)
    await submit(store, id="0-later")
    await store.reclaim((), 10)
    assert [one.id for one in (await claim(store)).leases] == [lease.id, "0-later"]


async def test_the_tasks_of_a_dead_worker_are_taken_before_their_time(store: Store) -> None:
    leases = [await hold(store, worker=worker) for worker in ("dead-1", "live", "dead-2")]
    assert await store.reclaim({"dead-1", "dead-2", "never-seen"}, 10) == 2
    assert [await status(store, lease.id) for lease in leases] == [Status.QUEUED, Status.IN_PROGRESS, Status.QUEUED]
    assert await store.settle([done(lease) for lease in leases]) == [False, True, False]


async def test_reclaim_stops_at_its_limit_and_goes_on(store: Store, clock: Clock) -> None:
    for _ in range(5):
        await hold(store)
    await submit(store, *(task() for _ in range(4)))
    await claim(store, worker="dead", lease=1_000.0)
    clock.advance(31)
    assert [await store.reclaim({"dead"}, 4) for _ in range(4)] == [4, 4, 1, 0]


async def test_reclaimers_at_once_take_each_lease_once(store: Store, clock: Clock) -> None:
    leases = [await hold(store) for _ in range(30)]
    clock.advance(31)
    assert sum(await asyncio.gather(*(store.reclaim((), 10) for _ in range(8)))) == 30
    assert [len((await read(store, lease.id)).history) for lease in leases] == [1] * 30


async def test_reclaim_and_end_at_once_agree_on_one(store: Store, clock: Clock) -> None:
    for _ in range(10):
        lease = await hold(store)
        clock.advance(31)
        (took,), count = await asyncio.gather(store.settle([done(lease)]), store.reclaim((), 10))
        assert count == (0 if took else 1)
        assert await status(store, lease.id) == (Status.DONE if took else Status.QUEUED)
        await store.cancel([lease.id])


async def test_reclaim_cancels_what_was_asked_to_be_cancelled(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    clock.advance(31)
    assert await store.reclaim((), 10) == 1
    found = await read(store, lease.id)
    assert (found.status, found.finished_at) == (Status.CANCELLED, clock.now)
    assert found.error is not None
    assert found.error.code == "cancelled"
    assert numbers(found) == [1]
    assert (await claim(store)).leases == []


async def test_the_holder_of_a_lease_taken_by_reclaim_settles_nothing_even_if_it_ended_there(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    clock.advance(31)
    await store.reclaim((), 10)
    before = await read(store, lease.id)
    assert await store.settle([stopped(lease), back(lease, started=True), done(lease)]) == [False] * 3
    assert await read(store, lease.id) == before


# -- clamp


async def test_a_clock_set_back_does_not_keep_a_dead_lease_alive(store: Store, clock: Clock) -> None:
    live, dead = await hold(store, lease=30.0), await hold(store, worker="w2", lease=30.0)
    clock.jump(-3600)
    assert await store.clamp(30.0) == 2
    assert await store.clamp(30.0) == 0
    clock.advance(20)
    await store.renew("w1", {live.id: live.token}, 30.0)
    clock.advance(11)
    assert await store.reclaim((), 10) == 1
    assert [await status(store, lease.id) for lease in (live, dead)] == [Status.IN_PROGRESS, Status.QUEUED]


async def test_clamp_lengthens_nothing(store: Store, clock: Clock) -> None:
    await hold(store, lease=5.0)
    assert await store.clamp(30.0) == 0
    clock.advance(6)
    assert await store.reclaim((), 10) == 1
