"""How attempts end: under the current token, once, and as was said."""

import asyncio

import pytest
from msgspec.structs import replace

from dolgo.errors import Refused
from dolgo.store.base import Store
from dolgo.task.types import FINAL, Attempt, Change, Error, ErrorCode, Outcome, Settlement, Status
from tests.store.build import (
    again,
    back,
    claim,
    deferred,
    done,
    ended,
    failed,
    hold,
    numbers,
    read,
    settlement,
    status,
    stopped,
    submit,
)
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio
ENDS = sorted(FINAL)


# -- final ends


async def test_done_has_its_result(store: Store, clock: Clock) -> None:
    lease = await hold(store, worker="w3")
    started = clock.now
    clock.advance(2)
    assert await store.settle([done(lease, b'{"n":1}')]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.result, found.error) == (Status.DONE, b'{"n":1}', None)
    assert (found.worker, found.started_at, found.finished_at) == ("w3", started, clock.now)
    assert (found.attempt, found.history) == (1, ())


async def test_failed_has_its_error_whole(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    error = Error(ErrorCode.HANDLER_ERROR, "ÜberError: 'x' \"y\"", "pkg.Oops", "Traceback…\n  line\n", 1)
    settled = Settlement(lease, Status.FAILED, Outcome.FAILED, error=error, failures=1, losses=2)
    assert await store.settle([settled]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.result, found.error) == (Status.FAILED, None, error)
    assert (found.failures, found.losses, found.finished_at) == (1, 2, clock.now)


async def test_cancelled_by_its_holder_says_what_the_holder_said(store: Store) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    assert await store.settle([stopped(lease)]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.error) == (Status.CANCELLED, stopped(lease).error)


@pytest.mark.parametrize("end", ENDS)
async def test_the_same_settlement_again_took_again_and_changes_nothing(store: Store, clock: Clock, end: Status) -> None:
    lease = await ended(store, end)
    before, head = await read(store, lease.id), await store.head()
    clock.advance(60)
    assert await store.settle([settlement(lease, end)]) == [True]
    assert await store.settle([settlement(lease, end)] * 3) == [True] * 3
    assert (await read(store, lease.id), await store.head()) == (before, head)


@pytest.mark.parametrize("end", ENDS)
async def test_final_is_final(store: Store, clock: Clock, end: Status) -> None:
    lease = await ended(store, end)
    before, head = await read(store, lease.id), await store.head()
    others = [settlement(lease, other) for other in ENDS if other != end]
    others += [again(lease), back(lease, started=True), back(lease, started=False)]
    assert await store.settle(others) == [False] * len(others)
    assert [change.after for change in await store.cancel([lease.id])] == [end]
    clock.advance(1_000)
    assert await store.reclaim({"w1"}, 10) == 0
    assert (await claim(store)).leases == []
    assert (await read(store, lease.id), await store.head()) == (before, head)


async def test_the_same_settlement_twice_in_one_batch_is_one_end(store: Store) -> None:
    lease = await hold(store)
    head = await store.head()
    assert await store.settle([done(lease), done(lease)]) == [True, True]
    assert await store.head() == head + 1


async def test_of_two_different_ends_exactly_one_takes(store: Store) -> None:
    for _ in range(10):
        lease = await hold(store)
        answers = await asyncio.gather(store.settle([done(lease)]), store.settle([failed(lease)]))
        assert sorted(took for (took,) in answers) == [False, True]
        found = await read(store, lease.id)
        assert found.status == (Status.DONE if answers[0] == [True] else Status.FAILED)
        assert (found.result is None) == (found.error is not None)


# -- the token


async def test_nobody_settles_without_the_token(store: Store) -> None:
    lease, other = await hold(store), await hold(store)
    before = await read(store, lease.id)
    for token in ("", "nonsense", other.token, lease.token.upper() + "x", lease.token + " "):
        forged = Settlement(type(lease)(**{**fields(lease), "token": token}), Status.DONE, Outcome.DONE, result=b"1")
        assert await store.settle([forged]) == [False]
    assert await read(store, lease.id) == before


async def test_a_task_that_does_not_exist_cannot_be_settled(store: Store) -> None:
    lease = await ended(store, Status.DONE)
    await store.delete([lease.id])
    assert await store.settle([done(lease)]) == [False]
    assert await store.get([lease.id]) == [None]


@pytest.mark.parametrize("end", ENDS)
async def test_a_lease_that_was_taken_away_settles_nothing(store: Store, clock: Clock, end: Status) -> None:
    lease = await hold(store, lease=30.0)
    clock.advance(31)
    assert await store.reclaim((), 10) == 1
    assert await store.settle([settlement(lease, end)]) == [False]
    assert await status(store, lease.id) == Status.QUEUED
    (newer,) = (await claim(store, worker="w2")).leases
    assert await store.settle([settlement(lease, end), again(lease), back(lease, started=False)]) == [False] * 3
    found = await read(store, lease.id)
    assert (found.status, found.attempt, found.worker) == (Status.IN_PROGRESS, 2, "w2")
    assert await store.settle([done(newer)]) == [True]


async def test_a_lease_past_its_time_settles_as_long_as_nobody_took_it(store: Store, clock: Clock) -> None:
    leases = [await hold(store, lease=1.0) for _ in range(3)]
    clock.advance(1_000)
    assert await store.settle([done(leases[0]), failed(leases[1]), again(leases[2])]) == [True] * 3


async def test_the_token_of_an_earlier_attempt_settles_nothing(store: Store, clock: Clock) -> None:
    first = await hold(store)
    await store.settle([again(first, 10)])
    clock.advance(10)
    (second,) = (await claim(store)).leases
    assert await store.settle([done(first)]) == [False]
    assert await store.settle([done(second)]) == [True]
    assert await store.settle([done(first)]) == [False]


async def test_a_retry_ends_the_right_of_the_attempts_before(store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    await store.retry([lease.id])
    assert await store.settle([failed(lease), done(lease)]) == [False, False]
    assert await status(store, lease.id) == Status.QUEUED


async def test_each_settlement_of_a_batch_stands_alone(store: Store) -> None:
    leases = [await hold(store) for _ in range(6)]
    await store.settle([done(leases[1])])
    gone = await ended(store, Status.DONE)
    await store.delete([gone.id])
    batch = [
        done(leases[0]),
        failed(leases[1]),
        failed(leases[2]),
        done(gone),
        again(leases[3]),
        back(leases[4], started=False),
        done(leases[5]),
        done(leases[1]),
    ]
    assert await store.settle(batch) == [True, False, True, False, True, True, True, True]
    assert [await status(store, lease.id) for lease in leases] == [
        Status.DONE,
        Status.DONE,
        Status.FAILED,
        Status.QUEUED,
        Status.QUEUED,
        Status.DONE,
    ]


async def test_a_settlement_that_cannot_be_kept_costs_only_its_own_call(store: Store) -> None:
    leases = [await hold(store) for _ in range(4)]
    bad = failed(leases[1], Error(ErrorCode.HANDLER_ERROR, "no such file: \udcff"))
    calls = [[done(leases[0])], [bad], [failed(leases[2])], [done(leases[3])]]
    answers = await asyncio.gather(*(store.settle(call) for call in calls), return_exceptions=True)
    assert [answers[0], answers[2], answers[3]] == [[True]] * 3
    if isinstance(answers[1], BaseException):
        assert await status(store, leases[1].id) == Status.IN_PROGRESS
        assert await store.settle([failed(leases[1])]) == [True]
    else:
        assert (await read(store, leases[1].id)).error == bad.error


# -- another attempt


async def test_another_attempt_waits_for_its_delay(store: Store, clock: Clock) -> None:
    lease = await hold(store, worker="w5")
    started = clock.now
    clock.advance(3)
    settled = again(lease, 40)
    assert await store.settle([settled]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.run_at, found.attempt) == (Status.QUEUED, clock.now + 40, 1)
    assert (found.worker, found.started_at, found.finished_at) == (None, None, None)
    assert (found.result, found.error, found.failures) == (None, None, 1)
    assert found.history == (Attempt(1, "w5", started, clock.now, Outcome.FAILED, settled.error),)
    clock.advance(39)
    assert (await claim(store)).leases == []
    clock.advance(1)
    (second,) = (await claim(store)).leases
    assert (second.id, second.attempt, second.failures) == (lease.id, 2, 1)


async def test_failures_losses_and_suspicion_reach_the_next_attempt(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    lost = Settlement(lease, Status.QUEUED, Outcome.LOST, delay=1.0, failures=3, losses=2, suspect=True)
    assert await store.settle([lost]) == [True]
    found = await read(store, lease.id)
    assert (found.failures, found.losses, found.suspect) == (3, 2, True)
    clock.advance(1)
    (second,) = (await claim(store)).leases
    assert (second.failures, second.losses, second.suspect) == (3, 2, True)


async def test_another_attempt_keeps_the_lead_of_its_priority(store: Store, clock: Clock) -> None:
    lease = await hold(store, priority=9)
    await store.settle([again(lease, 100)])
    await submit(store, id="zz-low", priority=8)
    clock.advance(100)
    await submit(store, id="zz-late", priority=9)
    order = [lease.id for lease in (await claim(store)).leases]
    assert order == [lease.id, "zz-late", "zz-low"]


async def test_history_grows_by_one_attempt_at_a_time(store: Store, clock: Clock) -> None:
    lease = await hold(store)
    for _ in range(4):
        await store.settle([again(lease, 1)])
        clock.advance(1)
        (lease,) = (await claim(store)).leases
    await store.settle([done(lease)])
    found = await read(store, lease.id)
    assert numbers(found) == [1, 2, 3, 4, 5]
    assert [attempt.outcome for attempt in found.history] == [Outcome.FAILED] * 4
    assert all(attempt.error is not None for attempt in found.history)


async def test_attempts_may_be_many(store: Store) -> None:
    lease = await hold(store)
    for number in range(1, 301):
        assert lease.attempt == number
        await store.settle([deferred(lease, 0)])
        (lease,) = (await claim(store)).leases
    await store.settle([done(lease)])
    found = await read(store, lease.id)
    assert numbers(found) == list(range(1, 302))
    assert {attempt.outcome for attempt in found.history} == {Outcome.RETRY}


async def test_deferrals_are_counted_apart_and_start_again_with_a_retry(store: Store, clock: Clock) -> None:
    lease = await hold(store, max_attempts=2)
    for wanted in (1, 2, 3):
        assert await store.settle([deferred(lease, 5)]) == [True]
        found = await read(store, lease.id)
        assert (found.deferrals, found.failures, found.run_at) == (wanted, 0, clock.now + 5)
        clock.advance(5)
        (lease,) = (await claim(store)).leases
        assert (lease.deferrals, lease.generation) == (wanted, 0)
    await store.settle([failed(lease)])
    assert (await read(store, lease.id)).deferrals == 3
    await store.retry([lease.id])
    found = await read(store, lease.id)
    assert (found.deferrals, found.generation, len(found.history)) == (0, 1, 4)
    (lease,) = (await claim(store)).leases
    assert (lease.deferrals, lease.generation) == (0, 1)


async def test_asking_for_another_attempt_twice_is_one_attempt(store: Store) -> None:
    lease = await hold(store)
    await store.settle([again(lease, 5)])
    before, head = await read(store, lease.id), await store.head()
    await store.settle([again(lease, 5)])
    assert (await read(store, lease.id), await store.head()) == (before, head)


# -- give back


async def test_what_never_started_gives_its_attempt_number_back(store: Store) -> None:
    lease = await hold(store)
    assert await store.settle([back(lease, started=False)]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.attempt, found.history) == (Status.QUEUED, 0, ())
    assert (found.worker, found.started_at, found.failures, found.losses) == (None, None, 0, 0)
    await store.settle([back(lease, started=False)])
    assert (await read(store, lease.id)).attempt == 0
    (second,) = (await claim(store)).leases
    assert second.attempt == 1
    assert second.token != lease.token


async def test_what_had_started_keeps_its_attempt_number(store: Store, clock: Clock) -> None:
    lease = await hold(store, worker="w2")
    started = clock.now
    clock.advance(4)
    assert await store.settle([back(lease, started=True)]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.attempt, found.failures, found.losses) == (Status.QUEUED, 1, 0, 0)
    assert found.history == (Attempt(1, "w2", started, clock.now, Outcome.GIVEN_BACK, None),)
    assert (await claim(store)).leases[0].attempt == 2


@pytest.mark.parametrize("started", [True, False])
async def test_a_task_given_back_keeps_its_rank(store: Store, clock: Clock, started: bool) -> None:
    lease = await hold(store)
    clock.advance(10)
    await submit(store, id="0-later")
    clock.advance(10)
    run_at = (await read(store, lease.id)).run_at
    assert await store.settle([back(lease, started=started)]) == [True]
    assert (await read(store, lease.id)).run_at == run_at
    assert [one.id for one in (await claim(store)).leases] == [lease.id, "0-later"]


# -- a cancel that was answered holds


@pytest.mark.parametrize("how", ["again", "now", "started", "unstarted"])
async def test_a_task_asked_to_be_cancelled_is_never_queued_again(store: Store, clock: Clock, how: str) -> None:
    lease = await hold(store)
    assert await store.cancel([lease.id]) == [Change(Status.IN_PROGRESS, Status.IN_PROGRESS, asked=True)]
    clock.advance(1)
    settled = {
        "again": again(lease, 5),
        "now": again(lease, 0),
        "started": back(lease, started=True),
        "unstarted": back(lease, started=False),
    }[how]
    assert await store.settle([settled]) == [True]
    found = await read(store, lease.id)
    assert (found.status, found.finished_at, found.result) == (Status.CANCELLED, clock.now, None)
    assert found.error is not None
    assert found.error.code == ErrorCode.CANCELLED
    assert found.error.message
    assert numbers(found) == ([] if how == "unstarted" else [1])
    assert found.attempt == (0 if how == "unstarted" else 1)
    assert found.error.attempt == found.attempt
    clock.advance(1_000)
    assert (await claim(store)).leases == []
    events = [event.status for event in (await store.events(0, 10)).events]
    assert events == [Status.QUEUED, Status.IN_PROGRESS, Status.CANCELLED]


async def test_a_settlement_that_a_cancel_turned_took_when_it_is_said_again(store: Store) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    assert await store.settle([back(lease, started=True)]) == [True]
    before, head = await read(store, lease.id), await store.head()
    assert await store.settle([back(lease, started=True)]) == [True]
    assert await store.settle([done(lease)]) == [False]
    assert (await read(store, lease.id), await store.head()) == (before, head)


@pytest.mark.parametrize("end", [Status.DONE, Status.FAILED])
async def test_an_end_that_comes_before_the_cancel_is_heard_stands(store: Store, end: Status) -> None:
    lease = await hold(store)
    await store.cancel([lease.id])
    assert await store.settle([settlement(lease, end)]) == [True]
    assert await status(store, lease.id) == end


async def test_cancel_and_end_at_once_agree_on_one_end(store: Store) -> None:
    for settled in (done, failed, stopped, lambda lease: back(lease, started=True)):
        lease = await hold(store)
        (change,), (took,) = await asyncio.gather(store.cancel([lease.id]), store.settle([settled(lease)]))
        found = await read(store, lease.id)
        assert took
        assert found.status in FINAL
        assert change.before == Status.IN_PROGRESS or change.before in (found.status, Status.QUEUED)
        assert (await claim(store)).leases == []


def fields(lease: object) -> dict[str, object]:
    return {name: getattr(lease, name) for name in lease.__struct_fields__}  # type: ignore[attr-defined]


async def test_an_end_that_is_none_or_never_comes_costs_itself_alone(store: Store) -> None:
    first, second, third = await hold(store), await hold(store), await hold(store)
    wrong = [store.settle([replace(done(first), status=Status.WAITING)]), store.settle([again(second, float("inf"))])]
    *refused, took = await asyncio.gather(*wrong, store.settle([done(third)]), return_exceptions=True)
    assert [isinstance(error, Exception) and not isinstance(error, Refused) for error in refused] == [True, True]
    assert took == [True]
    assert [await status(store, lease.id) for lease in (first, second)] == [Status.IN_PROGRESS] * 2
