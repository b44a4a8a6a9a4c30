"""What is submitted is there, once, as it was sent, or not at all."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from dolgo.store.base import Store
from dolgo.task.types import NewTask, OnParentFailure, Put, Status, Task
from tests.store.build import after, again, claim, done, ended, fresh_id, hold, read, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

PAYLOADS = [
    b"{}",
    b"null",
    b'{"b":1,"a":2,"B":{"z":0,"y":0}}',
    b'{"n":123456789012345678901234567890,"f":1.10,"e":1E400,"z":-0.0}',
    '{"имя":"Ёж 🦔 \u2028 é"}'.encode(),
    b'{"escaped":"\\u0000 \\ud83e\\udd94 \\/ \\n"}',
    b'{ "spaces" : [ 1 , 2 ] ,\n\t"same": 1, "same": 2 }',
    b'"' + b"x" * 2**20 + b'"',
]
ODD = [
    "O'Brien",
    'say "hi"',
    "a%b_c*d?",
    "-- drop",
    "back\\slash",
    "новая очередь",
    "🦔",
    "a b\tc\nd",
    "{}",
    "[1]",
    "Z" * 300,
    "İı",
]


async def test_a_task_is_there_as_it_was_sent(store: Store, clock: Clock) -> None:
    new = task(payload=b'{"a":1}', priority=7, max_attempts=4, tags=("a", "b"), queue="slow", hash="h9")
    answer = await store.submit([new])
    assert answer.statuses == [Status.QUEUED]
    assert answer.existing is None
    assert await store.get([new.id]) == [
        Task(
            id=new.id,
            type="echo",
            hash="h9",
            queue="slow",
            status=Status.QUEUED,
            payload=b'{"a":1}',
            priority=7,
            run_at=clock.now,
            attempt=0,
            max_attempts=4,
            failures=0,
            losses=0,
            deferrals=0,
            generation=0,
            suspect=False,
            cancel_asked=False,
            tags=("a", "b"),
            created_at=clock.now,
            started_at=None,
            finished_at=None,
            worker=None,
            result=None,
            error=None,
            history=(),
            timeout=None,
            keep=None,
            expires_at=None,
            on_parent_failure=OnParentFailure.CANCEL,
            unique_key=None,
            limit_key=None,
        )
    ]


async def test_what_a_task_says_of_its_life_is_kept_and_reaches_its_child(store: Store, clock: Clock) -> None:
    says = {"timeout": 2.5, "keep": 60.0, "expires_at": clock.now + 99.5, "unique_key": "u", "limit_key": "l"}
    lease = await hold(store, on_parent_failure=OnParentFailure.RUN, **says)
    found = await read(store, lease.id)
    assert {name: getattr(found, name) for name in says} == says
    assert found.on_parent_failure is OnParentFailure.RUN
    assert (lease.timeout, lease.limit_key, lease.deferrals, lease.generation) == (2.5, "l", 0, 0)


async def test_times_are_the_stores_own(store: Store, clock: Clock) -> None:
    assert await store.now() == clock.now
    clock.advance(5)
    assert await store.now() == clock.now
    later, at = await submit(store, task(delay=60.0), task(run_at=clock.now + 7))
    assert (await read(store, later)).created_at == clock.now
    assert (await read(store, later)).run_at == clock.now + 60
    assert (await read(store, at)).run_at == clock.now + 7


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_payload_and_result_come_back_byte_for_byte(store: Store, payload: bytes) -> None:
    lease = await hold(store, payload=payload)
    assert lease.payload == payload
    assert await store.settle([done(lease, payload)]) == [True]
    found = await read(store, lease.id)
    assert (found.payload, found.result) == (payload, payload)


@pytest.mark.parametrize("extras", [None, b"{}", b'{"a":"\xd0\x96"}', b"x" * 70_000], ids=range(4))
async def test_extras_come_back_byte_for_byte_and_reach_the_child_at_every_attempt(store: Store, extras: bytes | None) -> None:
    lease = await hold(store, extras=extras)
    assert lease.extras == extras
    assert (await store.renew("w1", {}, 30.0)).unnamed[0].extras == extras
    assert await store.settle([again(lease, 0.0)]) == [True]
    (lease,) = (await claim(store)).leases
    assert lease.extras == extras
    assert await store.settle([done(lease)]) == [True]
    assert (await read(store, lease.id)).extras == extras


async def test_extras_go_with_a_task_that_depends_on_others(store: Store) -> None:
    parent, child = task(), task(extras=b"[1]")
    await store.submit([parent, replace(child, depends_on=after(parent.id))])
    assert (await read(store, child.id)).extras == b"[1]"


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_names_may_hold_any_character(store: Store, odd: str) -> None:
    await submit(store, task())
    new = task(id=odd, type=odd, hash=odd, queue=odd, tags=(odd, "x"))
    await store.submit([new])
    lease = (await claim(store, types=frozenset({odd}), queues=frozenset({odd}), worker=odd)).leases[0]
    assert (lease.id, lease.type, lease.hash, lease.queue, lease.tags) == (odd, odd, odd, odd, (odd, "x"))
    assert await store.settle([done(lease)]) == [True]
    found = await read(store, odd)
    assert (found.type, found.hash, found.queue, found.worker, found.tags) == (odd, odd, odd, odd, (odd, "x"))
    event = (await store.events(0, 100)).events[-1]
    assert (event.id, event.type, event.queue) == (odd, odd, odd)


async def test_names_that_differ_only_in_case_or_composition_are_different(store: Store) -> None:
    ids = await submit(store, task(id="a"), task(id="A"), task(id="\u00e9"), task(id="e\u0301"), task(id="a "))
    assert [(await read(store, id)).id for id in ids] == ids
    await submit(store, queue="Q")
    assert (await claim(store, queues=frozenset({"q"}))).leases == []


async def test_the_same_id_again_changes_nothing(store: Store, clock: Clock) -> None:
    new = task(payload=b"1")
    await store.submit([new])
    before, head = await read(store, new.id), await store.head()
    clock.advance(5)
    assert (await store.submit([task(id=new.id, payload=b"2", queue="other", priority=9)])).statuses == [Status.QUEUED]
    assert await read(store, new.id) == before
    assert await store.head() == head


async def test_the_same_id_again_answers_where_the_task_stands_now(store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    fresh = task()
    answer = await store.submit([fresh, task(id=lease.id), task()])
    assert answer.statuses == [Status.QUEUED, Status.FAILED, Status.QUEUED]


async def test_the_same_id_twice_in_one_batch_is_one_task(store: Store) -> None:
    id = fresh_id()
    assert (await store.submit([task(id=id, payload=b"1"), task(id=id, payload=b"2")])).statuses == [Status.QUEUED] * 2
    assert (await read(store, id)).payload == b"1"
    assert len((await claim(store)).leases) == 1
    assert [event.status for event in (await store.events(0, 10)).events] == [Status.QUEUED, Status.IN_PROGRESS]


async def test_the_same_id_submitted_by_many_at_once_is_one_task(store: Store) -> None:
    id = fresh_id()
    answers = await asyncio.gather(*(store.submit([task(id=id)]) for _ in range(30)))
    assert all(answer.statuses == [Status.QUEUED] for answer in answers)
    assert len((await claim(store)).leases) == 1
    assert sum(sum(line.counts.values()) for line in await store.counts()) == 1


async def test_ten_thousand_tasks_in_one_submit(store: Store) -> None:
    news = [task(payload=b"%d" % number) for number in range(10_000)]
    assert (await store.submit(news)).statuses == [Status.QUEUED] * 10_000
    found = await store.get([new.id for new in news])
    assert [one and one.payload for one in found] == [new.payload for new in news]
    assert await store.head() == 10_000


async def test_no_tasks_at_all_is_fine(store: Store) -> None:
    assert (await store.submit([])).statuses == []
    assert await store.head() == 0


async def test_get_answers_in_the_order_asked_and_none_for_what_is_not_there(store: Store) -> None:
    first, second = await submit(store, task(), task())
    found = await store.get([second, "nobody", first, second])
    assert [one and one.id for one in found] == [second, None, first, second]
    assert await store.get([]) == []


# -- with records


async def test_tasks_and_records_are_written_together(store: Store) -> None:
    (id,) = await submit(store)
    new = task()
    answer = await store.submit([new], [Put("key:1", b"one", 0), Put("key:2", b"two", None)])
    assert answer.existing is None
    assert answer.statuses == [Status.QUEUED]
    assert [record.value for record in await store.records("key:")] == [b"one", b"two"]
    assert await store.get([id, new.id]) != [None, None]


async def test_nothing_is_written_when_a_record_stands_in_the_way(store: Store) -> None:
    await store.put([Put("taken", b"mine", 0)])
    head, counts = await store.head(), await store.counts()
    new = task()
    answer = await store.submit([new], [Put("free", b"yours", 0), Put("taken", b"yours", 0)])
    assert answer.existing is not None
    assert (answer.existing.key, answer.existing.value, answer.existing.version) == ("taken", b"mine", 1)
    assert await store.get([new.id]) == [None]
    assert [record.key for record in await store.records("")] == ["taken"]
    assert (await store.head(), await store.counts()) == (head, counts)


async def test_the_first_record_in_the_way_is_named(store: Store) -> None:
    await store.put([Put("a", b"", 0), Put("b", b"", 0)])
    answer = await store.submit([task()], [Put("c", b"", 0), Put("b", b"", 0), Put("a", b"", 0)])
    assert answer.existing is not None
    assert answer.existing.key == "b"


async def test_of_two_submits_with_one_new_key_exactly_one_is_stored(store: Store) -> None:
    news = [task() for _ in range(20)]
    answers = await asyncio.gather(*(store.submit([new], [Put("once", new.id.encode(), 0)]) for new in news))
    winners = [new for new, answer in zip(news, answers, strict=True) if answer.existing is None]
    (winner,) = winners
    assert {answer.existing.value for answer in answers if answer.existing} == {winner.id.encode()}
    assert [one.id for one in await store.get([new.id for new in news]) if one] == [winner.id]


# -- batches


POISONS = [
    task(id="bad", run_at=float("nan")),
    task(id="bad", delay=float("nan")),
    task(id="bad", priority=2**70),
    task(id="bad", queue="\ud800"),
    task(id="bad", tags=("\udcff",)),
    task(id="bad", payload={"not": "bytes"}),
    task(id="bad", extras={"not": "bytes"}),
    task(id="bad", type=None),
]


async def kept_or_refused(store: Store, news: Sequence[NewTask]) -> bool:
    try:
        await store.submit(news)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("poison", POISONS, ids=range(len(POISONS)))
async def test_a_task_that_cannot_be_kept_costs_only_its_own_submit(store: Store, poison: NewTask) -> None:
    good = [task() for _ in range(4)]
    first, *_, last = news = [[good[0]], [good[1]], [good[2], poison, good[3]], [task()], [task()]]
    kept = await asyncio.gather(*(kept_or_refused(store, each) for each in news))
    assert kept == [True, True, False, True, True]
    assert await store.get([good[2].id, good[3].id]) == [None, None]
    assert None not in await store.get([first[0].id, good[1].id, last[0].id])
    assert await kept_or_refused(store, [good[2]])
    assert sum(sum(line.counts.values()) for line in await store.counts()) == 5
    assert await store.head() == 5
    assert len((await claim(store)).leases) == 5
