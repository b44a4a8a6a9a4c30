"""Unique keys: at most one unfinished task of a type has one."""

import asyncio

import pytest

from dolgo.store.base import Store
from dolgo.task.types import Change, Put, Refusal, Status
from tests.store.build import after, again, ended, failed, fresh_id, hold, read, refused, settlement, status, submit, task

pytestmark = pytest.mark.anyio


async def test_a_second_task_of_its_key_is_refused_and_the_first_one_named(store: Store) -> None:
    (first,) = await submit(store, unique_key="k")
    head, second, beside = await store.head(), task(unique_key="k"), task()
    answer = await store.submit([beside, second], [Put("r", b"", 0)])
    assert answer.unique == {second.id: first}
    assert await store.get([second.id, beside.id]) == [None, None]
    assert (await store.head(), list(await store.records(""))) == (head, [])


async def test_keys_are_apart_by_type_and_none_is_no_key(store: Store) -> None:
    ids = await submit(store, task(unique_key="k"), task(unique_key="k", type="other"), task(unique_key="K"), task(), task())
    assert None not in await store.get(ids)
    assert (await store.submit([task(unique_key="k", queue="other", hash="other")])).unique != {}


async def test_the_same_id_again_is_no_second_task(store: Store) -> None:
    new = task(unique_key="k")
    await store.submit([new])
    answer = await store.submit([new])
    assert (answer.statuses, answer.unique) == ([Status.QUEUED], {})


@pytest.mark.parametrize("state", ["queued", "later", "waiting", "held", "again", "asked"])
async def test_a_key_is_taken_until_its_task_has_ended(store: Store, state: str) -> None:
    if state in ("queued", "later"):
        (id,) = await submit(store, unique_key="k", delay=10.0 if state == "later" else 0.0)
    elif state == "waiting":
        (parent,) = await submit(store, queue="other")
        (id,) = await submit(store, unique_key="k", depends_on=after(parent))
    else:
        lease = await hold(store, unique_key="k")
        id = lease.id
        if state == "again":
            await store.settle([again(lease)])
        elif state == "asked":
            await store.cancel([id])
    new = task(unique_key="k")
    assert (await store.submit([new])).unique == {new.id: id}


@pytest.mark.parametrize("end", [Status.DONE, Status.FAILED, Status.CANCELLED])
async def test_an_end_frees_the_key(store: Store, end: Status) -> None:
    for _ in range(3):
        lease = await hold(store, unique_key="k")
        await store.settle([settlement(lease, end)])
    assert (await store.submit([task(unique_key="k")])).unique == {}


async def test_a_cancel_and_a_delete_leave_no_key_behind(store: Store) -> None:
    for _ in range(3):
        (id,) = await submit(store, unique_key="k")
        await store.cancel([id])
        await store.delete([id])
    assert await status(store, (await submit(store, unique_key="k"))[0]) == Status.QUEUED


async def test_of_many_submits_of_one_key_at_once_exactly_one_is_stored(store: Store) -> None:
    news = [task(unique_key="k") for _ in range(20)]
    answers = await asyncio.gather(*(store.submit([new, task()]) for new in news))
    (winner,) = [new.id for new, answer in zip(news, answers, strict=True) if not answer.unique]
    assert [one.id for one in await store.get([new.id for new in news]) if one] == [winner]
    named = [answer.unique for answer in answers if answer.unique]
    assert sorted(named, key=str) == [{new.id: winner} for new in news if new.id != winner]
    assert sum(sum(line.counts.values()) for line in await store.counts()) == 2


async def test_retry_is_refused_while_another_has_the_key(store: Store) -> None:
    first = await ended(store, Status.FAILED, unique_key="k")
    second = await hold(store, unique_key="k")
    before = await read(store, first.id)
    assert await store.retry([first.id]) == [refused(Status.FAILED, Refusal.UNIQUE)]
    assert await read(store, first.id) == before
    await store.settle([failed(second)])
    assert await store.retry([first.id]) == [Change(Status.FAILED, Status.QUEUED)]
    assert await store.retry([second.id]) == [refused(Status.FAILED, Refusal.UNIQUE)]
    assert (await store.submit([task(unique_key="k")])).unique != {}


async def test_of_two_retries_of_one_key_the_first_has_it(store: Store) -> None:
    ids = [(await ended(store, Status.FAILED, unique_key="k")).id for _ in range(2)]
    answer = await store.retry(ids)
    assert [change.refusal for change in answer] == [None, Refusal.UNIQUE]
    assert [await status(store, id) for id in ids] == [Status.QUEUED, Status.FAILED]


@pytest.mark.parametrize("odd", ["O'Brien", "новая 🦔", "a%b_", "Z" * 300])
async def test_a_key_may_hold_any_character(store: Store, odd: str) -> None:
    (first,) = await submit(store, unique_key=odd)
    second = fresh_id()
    assert (await store.submit([task(id=second, unique_key=odd)])).unique == {second: first}
    assert (await read(store, first)).unique_key == odd
