"""Gates: pauses, limits and rates hold exactly, over all claimers, and hold up nobody else."""

import asyncio
from collections.abc import Callable

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Gate, HeldUp, Lease, Settlement, Status
from tests.store.build import again, back, claim, done, failed, hold, status, submit, task, wants
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

ANY = frozenset({"echo", "other"})


def ids(leases: list[Lease]) -> list[str]:
    return [lease.id for lease in leases]


async def taken(store: Store, **changes: object) -> list[str]:
    return ids((await claim(store, **{"types": ANY, "limit": 100, **changes})).leases)


# -- what there is


async def test_a_gate_is_changed_member_by_member(store: Store) -> None:
    assert list(await store.gates()) == []
    assert await store.gate("queue/default", {"max_running": 3}) == Gate(scope="queue/default", max_running=3)
    wanted = Gate(scope="queue/default", max_running=3, paused=True, reason="because")
    assert await store.gate("queue/default", {"paused": True, "reason": "because"}) == wanted
    other = await store.gate("type/echo", {"rate": 2.5, "max_running_per_key": 1})
    assert list(await store.gates()) == [wanted, other]
    assert await store.gate("type/echo", {"rate": None, "max_running_per_key": None}) == Gate(scope="type/echo")
    assert list(await store.gates()) == [wanted]


async def test_a_gate_says_until_when_it_is_paused(store: Store, clock: Clock) -> None:
    gate = await store.gate("queue/default", {"paused": True, "paused_until": clock.now + 10.5})
    assert list(await store.gates()) == [gate]
    assert gate.paused_until == clock.now + 10.5


async def test_a_pause_that_is_over_is_none(store: Store, clock: Clock) -> None:
    for scope, limit in (("queue/a", None), ("queue/b", 3)):
        says = {"paused": True, "paused_until": clock.now + 10, "reason": "because", "max_running": limit}
        assert (await store.gate(scope, says)).paused
    clock.advance(10)
    assert list(await store.gates()) == [Gate(scope="queue/b", max_running=3)]
    wanted = Gate(scope="queue/b", max_running=3, rate=1.0)
    assert await store.gate("queue/b", {"rate": 1.0}) == wanted


@pytest.mark.parametrize("odd", ["a/b", "новая 🦔", "a%b_", "O'Brien"])
async def test_a_gate_may_have_any_name(store: Store, odd: str) -> None:
    await submit(store, queue=odd)
    await submit(store, queue="a")
    await store.gate(f"queue/{odd}", {"paused": True})
    assert [gate.scope for gate in await store.gates()] == [f"queue/{odd}"]
    assert len(await taken(store)) == 1


async def test_queues_and_types_of_one_name_are_apart(store: Store) -> None:
    await submit(store, queue="echo", type="other")
    await store.gate("type/echo", {"paused": True})
    await store.gate("queue/other", {"paused": True})
    assert len(await taken(store)) == 1


# -- pauses


@pytest.mark.parametrize("scope", ["queue/a", "type/other"])
async def test_nothing_starts_in_a_paused_line(store: Store, scope: str) -> None:
    shut, free = await submit(store, task(queue="a", type="other", priority=9), task())
    await store.gate(scope, {"paused": True})
    answer = await claim(store, types=ANY)
    assert (ids(answer.leases), answer.next_at) == ([free], None)
    (more,) = await submit(store, queue="a", type="other")
    assert await taken(store) == []
    await store.gate(scope, {"paused": False})
    assert await taken(store) == [shut, more]


async def test_what_runs_goes_on_while_its_line_is_paused(store: Store) -> None:
    held = await hold(store)
    await store.gate("queue/default", {"paused": True})
    assert (await store.renew("w1", {held.id: held.token}, 30.0)).lost == []
    assert await store.settle([again(held, 0)]) == [True]
    assert await taken(store) == []


async def test_a_pause_ends_by_itself_and_claims_know_when(store: Store, clock: Clock) -> None:
    (id,) = await submit(store)
    until = clock.now + 10
    await store.gate("queue/default", {"paused": True, "paused_until": until})
    answer = await claim(store)
    assert (answer.leases, answer.next_at) == ([], until)
    clock.advance(9.5)
    assert await taken(store) == []
    clock.advance(0.5)
    assert await taken(store) == [id]


async def test_a_pause_holds_for_claims_that_wait(store: Store) -> None:
    await store.gate("queue/default", {"paused": True})
    seen = (await claim(store)).seen
    waiting = asyncio.create_task(store.claim(wants(), seen=seen, wait=60.0))
    await asyncio.sleep(0)
    (id,) = await submit(store)
    answer = await asyncio.wait_for(waiting, 5.0)
    assert answer.leases == []
    waiting = asyncio.create_task(store.claim(wants(), seen=answer.seen, wait=60.0))
    await asyncio.sleep(0)
    await store.gate("queue/default", {"paused": False})
    assert ids((await asyncio.wait_for(waiting, 5.0)).leases) == [id]


async def test_changing_a_gate_rings_for_work(store: Store) -> None:
    seen = store.work.count
    await store.gate("queue/default", {"max_running": 1})
    assert await store.work.wait(seen, 5.0)


# -- how many run


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_no_more_run_than_may(store: Store, scope: str) -> None:
    news = await submit(store, *(task(hash=str(n % 3)) for n in range(10)))
    await store.gate(scope, {"max_running": 4})
    answer = await claim(store, limit=100)
    assert (ids(answer.leases), answer.next_at) == (news[:4], None)
    assert await taken(store) == []
    first, second, *_ = answer.leases
    await store.settle([done(first), failed(second)])
    assert await taken(store) == news[4:6]
    assert await taken(store) == []


async def test_what_runs_already_counts_when_a_limit_is_set(store: Store) -> None:
    await submit(store, *(task() for _ in range(6)))
    leases = (await claim(store, limit=3)).leases
    await store.gate("queue/default", {"max_running": 2})
    for lease, free in zip(leases, (0, 1, 1), strict=True):
        assert await taken(store) == []
        await store.settle([done(lease)])
        assert len(await taken(store)) == free


async def test_a_limit_of_a_type_counts_over_its_queues_and_both_hold(store: Store) -> None:
    await submit(store, *(task(queue=f"q{n}") for n in range(5)))
    await store.gate("type/echo", {"max_running": 3})
    assert len(await taken(store, limit=2)) == 2
    assert len(await taken(store)) == 1
    await submit(store, *(task(queue="q9", type="other") for _ in range(3)))
    await store.gate("queue/q9", {"max_running": 2})
    assert len(await taken(store)) == 2


async def test_a_limit_is_exact_under_many_claimers(store: Store) -> None:
    await submit(store, *(task(queue=f"q{n % 3}", limit_key=f"k{n % 5}") for n in range(100)))
    await store.gate("type/echo", {"max_running": 7})
    await store.gate("queue/q1", {"max_running": 2})
    for _ in range(5):
        answers = await asyncio.gather(*(claim(store, worker=f"w{n}", limit=3) for n in range(10)))
        leases = [lease for answer in answers for lease in answer.leases]
        assert len(leases) == 7
        assert len([lease for lease in leases if lease.queue == "q1"]) <= 2
        await asyncio.gather(*(store.settle([done(lease)]) for lease in leases))


LEAVES: dict[str, Callable[[Lease], Settlement]] = {
    "done": done,
    "failed": failed,
    "again": lambda lease: again(lease, 60),
    "given back": lambda lease: back(lease, started=True),
    "given back unstarted": lambda lease: back(lease, started=False),
}


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("limit", [{"max_running": 1}, {"max_running_per_key": 1}], ids=["all", "key"])
async def test_a_place_that_comes_free_rings_for_work(store: Store, how: str, limit: dict[str, object]) -> None:
    await store.gate("queue/default", limit)
    lease = await hold(store, limit_key="k")
    (id,) = await submit(store, priority=9, limit_key="k")
    seen = (await claim(store)).seen
    waiting = asyncio.create_task(first_leases(store, seen))
    await asyncio.sleep(0)
    await store.settle([LEAVES[how](lease)])
    assert ids(await asyncio.wait_for(waiting, 5.0)) == [id]


async def first_leases(store: Store, seen: int) -> list[Lease]:
    """What a worker gets that sleeps by the bell. A ring of a commit it knows of may reach it late."""
    while not (answer := await store.claim(wants(), seen=seen, wait=60.0)).leases:
        seen = answer.seen
    return answer.leases


async def test_a_reclaimed_task_frees_its_place(store: Store, clock: Clock) -> None:
    await store.gate("queue/default", {"max_running": 1})
    await hold(store, lease=1.0)
    (id,) = await submit(store, priority=9)
    clock.advance(1)
    await store.reclaim((), 10)
    assert await taken(store) == [id]


async def test_a_full_line_holds_up_no_other(store: Store) -> None:
    await submit(store, *(task(priority=9, queue="full") for _ in range(600)))
    await store.gate("queue/full", {"max_running": 1})
    free = await submit(store, task(), task())
    assert set(free) < set(await taken(store))
    more = await submit(store, task())
    assert await taken(store) == more


# -- how many of one key run


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_no_more_of_one_key_run_than_may(store: Store, scope: str) -> None:
    await store.gate(scope, {"max_running_per_key": 2})
    keys = ["a", "a", "b", "a", None, "a", None, None, "b", "b"]
    news = await submit(store, *(task(limit_key=key, hash=str(n % 2)) for n, key in enumerate(keys)))
    leases = (await claim(store, limit=100)).leases
    assert ids(leases) == [news[n] for n in (0, 1, 2, 4, 6, 7, 8)]
    assert [lease.limit_key for lease in leases] == ["a", "a", "b", None, None, None, "b"]
    assert await taken(store) == []
    await store.settle([done(leases[0])])
    assert await taken(store) == [news[3]]
    await store.settle([done(leases[-1]), done(leases[1])])
    assert await taken(store) == [news[5], news[9]]


async def test_keys_of_one_name_are_counted_by_queue_or_by_type(store: Store) -> None:
    await submit(store, *(task(limit_key="k", queue=queue, type=kind) for queue in "ab" for kind in sorted(ANY)))
    await store.gate("queue/a", {"max_running_per_key": 1})
    await store.gate("queue/b", {"max_running_per_key": 1})
    assert len(await taken(store)) == 2
    await store.gate("queue/b", {"max_running_per_key": None})
    assert len(await taken(store)) == 1


async def test_a_key_without_a_limit_is_not_limited(store: Store) -> None:
    news = await submit(store, *(task(limit_key="k") for _ in range(5)))
    assert await taken(store, limit=3) == news[:3]
    await store.gate("queue/default", {"max_running_per_key": 3})
    assert await taken(store) == []
    await store.gate("queue/default", {"max_running_per_key": 4})
    assert await taken(store) == news[3:4]
    await store.gate("queue/default", {"max_running_per_key": None})
    assert await taken(store) == news[4:]


async def test_keyed_tasks_keep_their_order_among_all(store: Store, clock: Clock) -> None:
    news = []
    for n in range(30):
        news += await submit(store, limit_key=[None, "a", "b"][n % 3], queue=f"q{n % 2}")
        clock.advance(n % 2)
    found = []
    while leases := await taken(store, limit=4):
        found += leases
    assert found == news


async def test_thousands_of_full_keys_stand_in_nobodys_way_for_long(store: Store, clock: Clock) -> None:
    await store.gate("queue/default", {"max_running_per_key": 1})
    await submit(store, *(task(limit_key=f"k{n % 1_500}", priority=9) for n in range(3_000)))
    for _ in range(20):
        if not (await claim(store, limit=400)).leases:
            break
    assert await running(store) == 1_500
    (mine,) = await submit(store)
    for _ in range(10):
        answer = await claim(store)
        if answer.leases:
            break
        assert answer.next_at is not None
        assert answer.next_at <= clock.now  # so the worker asks again at once
    assert ids(answer.leases) == [mine]


async def test_a_key_that_tasks_of_two_types_have_is_looked_up_in_both_though_none_runs(store: Store) -> None:
    await store.gate("queue/default", {"max_running_per_key": 1})
    (first,) = await submit(store, limit_key="k")
    (second,) = await submit(store, limit_key="k", type="other")
    assert await store.held_up(first) == HeldUp("behind")
    assert ids((await claim(store, limit=1)).leases) == [first]
    assert await store.held_up(second) == HeldUp("limit", "queue/default/k")


async def running(store: Store) -> int:
    return sum(line.counts.get(Status.IN_PROGRESS, 0) for line in await store.counts())


async def test_delayed_retried_and_cancelled_tasks_of_a_key_are_counted_right(store: Store, clock: Clock) -> None:
    await store.gate("queue/default", {"max_running_per_key": 1})
    first, second, third = await submit(store, task(limit_key="k", delay=10.0), task(limit_key="k"), task(limit_key="k"))
    (lease,) = (await claim(store)).leases
    assert lease.id == second
    clock.advance(10)
    await store.cancel([third])
    await store.settle([failed(lease)])
    await store.retry([second])
    assert await taken(store) == [first]
    assert await taken(store) == []


# -- rates


@pytest.mark.parametrize(("rate", "burst"), [(2.0, 1), (10.0, 1), (50.0, 5), (0.5, 1)])
async def test_starts_keep_to_the_rate_in_every_window(store: Store, clock: Clock, rate: float, burst: int) -> None:
    await submit(store, *(task() for _ in range(60)))
    await store.gate("queue/default", {"rate": rate})
    starts: list[float] = []
    while len(starts) < 40:
        answer = await claim(store, limit=100)
        starts += [clock.now] * len(answer.leases)
        assert answer.next_at is not None
        assert clock.now < answer.next_at <= clock.now + 1 / rate + 0.001
        clock.advance(answer.next_at - clock.now)
    assert starts.count(starts[0]) == burst
    for first in range(40):
        for last in range(first, 40):
            assert last - first + 1 <= rate * (starts[last] - starts[first]) + max(1.0, rate / 10) + 1e-3
    assert 39 / rate - burst / rate <= starts[39] - starts[0] <= 39 / rate + 0.01  # and it is used up


async def test_an_idle_line_saves_up_no_more_than_its_burst(store: Store, clock: Clock) -> None:
    await store.gate("type/echo", {"rate": 20.0})
    clock.advance(3_600)
    await submit(store, *(task() for _ in range(10)))
    assert len(await taken(store)) == 2
    clock.advance(3_600)
    assert len(await taken(store)) == 2


async def test_a_rate_is_exact_under_many_claimers(store: Store, clock: Clock) -> None:
    await submit(store, *(task() for _ in range(50)))
    await store.gate("queue/default", {"rate": 30.0})
    answers = await asyncio.gather(*(claim(store, worker=f"w{n}", limit=3) for n in range(10)))
    assert sum(len(answer.leases) for answer in answers) == 3


async def test_a_clock_set_back_neither_stops_a_rate_nor_lets_it_burst(store: Store, clock: Clock) -> None:
    await submit(store, *(task() for _ in range(20)))
    await store.gate("queue/default", {"rate": 2.0})
    assert len(await taken(store)) == 1
    clock.jump(-3_600)
    assert len(await taken(store)) <= 1
    started = 0
    for _ in range(20):
        clock.advance(0.5)
        started += len(await taken(store, limit=1))
    assert 17 <= started <= 20


async def test_every_start_counts_whatever_became_of_it(store: Store, clock: Clock) -> None:
    await store.gate("queue/default", {"rate": 1.0})
    lease = await hold(store)
    await store.settle([back(lease, started=False)])
    assert await taken(store) == []
    clock.advance(1)
    assert await taken(store) == [lease.id]


async def test_a_rate_holds_up_no_other_line(store: Store) -> None:
    await submit(store, *(task(queue="slow", priority=9) for _ in range(5)))
    (free,) = await submit(store)
    await store.gate("queue/slow", {"rate": 1.0})
    assert len(await taken(store)) == 2
    assert await taken(store) == []
    (more,) = await submit(store)
    assert await taken(store) == [more]
    assert await status(store, free) == Status.IN_PROGRESS


# -- look-ahead


@pytest.mark.parametrize("limit", [{"max_running": 5}, {"rate": 5.0}], ids=["running", "rate"])
@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_slots_that_are_not_free_get_nothing_that_is_counted(store: Store, scope: str, limit: dict[str, object]) -> None:
    free, counted = await submit(store, task(queue="free", type="other"), task())
    await store.gate(scope, limit)
    assert await taken(store, ahead=True) == [free]
    assert await taken(store) == [counted]


async def test_slots_that_are_not_free_get_nothing_with_a_key(store: Store) -> None:
    keyed, free = await submit(store, task(limit_key="k"), task())
    assert await taken(store, ahead=True) == [free]
    assert await taken(store) == [keyed]


# -- why is it not running?


async def test_a_task_that_is_not_due_or_not_queued_is_held_up_by_nothing(store: Store, clock: Clock) -> None:
    held = await hold(store)
    (later,) = await submit(store, delay=10.0)
    assert [await store.held_up(id) for id in (held.id, later, "nobody")] == [None] * 3
    clock.advance(10)
    assert await store.held_up(later) == HeldUp("behind")


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_a_pause_is_told(store: Store, clock: Clock, scope: str) -> None:
    (id,) = await submit(store)
    await store.gate(scope, {"paused": True})
    found = await store.held_up(id)
    assert found is not None
    assert (found.code, found.scope, found.until) == ("queue_paused", scope, None)
    await store.gate(scope, {"paused_until": clock.now + 10})
    found = await store.held_up(id)
    assert found is not None
    assert (found.code, found.until) == ("queue_paused", clock.now + 10)
    clock.advance(10)
    assert await store.held_up(id) == HeldUp("behind")


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_a_limit_is_told(store: Store, scope: str) -> None:
    await store.gate(scope, {"max_running": 1})
    lease = await hold(store)
    (id,) = await submit(store)
    found = await store.held_up(id)
    assert found is not None
    assert (found.code, found.scope, found.until) == ("limit", scope, None)
    await store.settle([done(lease)])
    assert await store.held_up(id) == HeldUp("behind")


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_a_limit_of_a_key_is_told(store: Store, scope: str) -> None:
    await store.gate(scope, {"max_running_per_key": 1})
    await hold(store, limit_key="k")
    same, other = await submit(store, task(limit_key="k"), task(limit_key="l"))
    found, free = await store.held_up(same), await store.held_up(other)
    assert found is not None
    assert free is not None
    assert (found.code, found.scope, found.until) == ("limit", f"{scope}/k", None)
    assert free.code == "behind"


@pytest.mark.parametrize("scope", ["queue/default", "type/echo"])
async def test_a_rate_is_told_with_the_time_of_its_next_start(store: Store, clock: Clock, scope: str) -> None:
    await store.gate(scope, {"rate": 0.5})
    await hold(store)
    (id,) = await submit(store)
    found = await store.held_up(id)
    assert found is not None
    assert (found.code, found.scope) == ("rate", scope)
    assert found.until == pytest.approx(clock.now + 2)
    clock.advance(found.until - clock.now)
    assert await store.held_up(id) == HeldUp("behind")


async def test_what_only_waits_for_others_is_told_how_many(store: Store, clock: Clock) -> None:
    await submit(store, *(task(type=f"t{n % 3}", limit_key=["k", None][n % 2], priority=n % 10) for n in range(20)))
    await submit(store, *(task(queue="other", priority=9) for _ in range(5)))
    (mine, behind) = await submit(store, task(priority=4), task(priority=4))
    await submit(store, *(task(priority=9, delay=50.0) for _ in range(5)))
    assert await store.held_up(mine) == HeldUp("behind", ahead=12)
    assert await store.held_up(behind) == HeldUp("behind", ahead=13)
