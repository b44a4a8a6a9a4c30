"""The one door: what is refused, what is stored once, who waits for what, and which transitions are allowed by hand."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from msgspec.structs import replace

from dolgo.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidPayload,
    NotFound,
    Refused,
    StoreUnavailable,
    TooLarge,
    UnknownType,
)
from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.base import Store
from dolgo.task.callbacks.cursor import UNTOLD
from dolgo.task.callbacks.follower import Follower
from dolgo.task.callbacks.wish import Callback
from dolgo.task.manager import KEY_KEPT, Manager, Once, Submission
from dolgo.task.notify import Notify
from dolgo.task.types import ErrorCode, Lease, Outcome, Query, Status, Task
from dolgo.task.verdict import Interrupted
from tests.store.build import claim, done, ended, hold, read, status, submit
from tests.store.clock import Clock
from tests.task.kinds import ECHO, a_manager, info
from tests.task.wrapped import Step, Wrapped, at_first, lose_the_answer, refuse

pytestmark = pytest.mark.anyio

DEADLINE = 5.0
GOOD = Submission("echo", b'{"value":1}')


@pytest.fixture
async def manager(store: Store, clock: Clock) -> Manager:
    return await a_manager(store, clock, ECHO, info("urgent", options={"queue": "fast", "priority": 9}))


def once(key: str = "k", digest: str = "d", scope: str = "me POST /tasks") -> Once:
    return Once(scope, key, digest)


async def all_tasks(manager: Manager) -> list[Task]:
    return (await manager.list(Query(limit=1000))).tasks


def pointers(error: Refused) -> list[str]:
    return [problem.pointer for problem in error.problems]


# -- callbacks


async def test_a_task_with_a_callback_is_kept_until_it_was_seen_to(manager: Manager, store: Store) -> None:
    told = replace(GOOD, callback=Callback("https://example.com/"))
    asked = [replace(told, keep=0.0), replace(told, keep=3_600.0), told, replace(GOOD, keep=0.0)]
    accepted = await manager.submit(asked, batch=True)
    assert [(await read(store, id)).keep for id, _ in accepted.tasks] == [UNTOLD, 3_600.0, None, 0.0]


async def test_a_task_whose_callback_has_still_to_be_taken_up_is_not_deleted(manager: Manager, store: Store) -> None:
    accepted = await manager.submit([replace(GOOD, callback=Callback("https://example.com/"))])
    ((id, _),) = accepted.tasks
    await manager.cancel(id)
    with pytest.raises(Conflict, match="callback"):
        await manager.delete(id)
    follower = Follower(store, manager.callbacks, id="one")
    follower.start()
    async with asyncio.timeout(DEADLINE):
        while not (deliveries := await manager.callbacks.deliveries(await manager.get(id))):
            await asyncio.sleep(0.01)
    await follower.stop()
    await manager.delete(id)
    assert [json.loads(told.payload)["error"] for told in deliveries] == ["Cancelled before it started."]


async def test_a_task_whose_end_nobody_wants_to_hear_of_is_deleted_at_once(manager: Manager) -> None:
    accepted = await manager.submit([replace(GOOD, callback=Callback("https://example.com/", ("done",)))])
    ((id, _),) = accepted.tasks
    await manager.cancel(id)
    await manager.delete(id)


# -- submit


async def test_a_task_that_stood_for_another_and_is_gone_before_the_rest_is_stored_stands_for_nobody(
    memory: Store, clock: Clock
) -> None:
    wrapped = Wrapped(memory)
    manager = await a_manager(wrapped.store, clock, ECHO)
    batch = [replace(GOOD, unique_key="u", ref="a"), replace(GOOD, depends_on=("ref:a",))]
    before = (await manager.submit(batch[:1])).tasks[0][0]

    async def ended_meanwhile(step: Step) -> Any:
        answer = await step()
        await memory.cancel([before])
        await memory.delete([before])
        return answer

    wrapped.hooks["submit"] = at_first(1, ended_meanwhile)
    accepted = await manager.submit(batch, batch=True)
    assert [status for _, status in accepted.tasks] == [Status.QUEUED, Status.WAITING]
    assert not accepted.existing


async def test_a_task_gets_an_id_the_defaults_of_its_type_and_the_hash_it_was_checked_by(manager: Manager) -> None:
    accepted = await manager.submit([GOOD, Submission("urgent", tags=("a",), delay=60.0)])
    (one, its), (other, _) = accepted.tasks
    assert its is Status.QUEUED
    assert not accepted.replayed
    found, fast = await manager.get(one), await manager.get(other)
    assert (found.type, found.hash, found.queue, found.priority) == ("echo", ECHO.hash, "default", 5)
    assert found.payload == b'{"value":1}'
    assert (fast.queue, fast.priority, fast.tags, fast.run_at) == ("fast", 9, ("a",), fast.created_at + 60)


async def test_what_a_caller_says_goes_before_the_defaults(manager: Manager, clock: Clock) -> None:
    ((id, _),) = (await manager.submit([Submission("urgent", queue="slow", priority=0, run_at=clock.now + 5)])).tasks
    found = await manager.get(id)
    assert (found.queue, found.priority, found.run_at) == ("slow", 0, clock.now + 5)


async def test_a_level_of_priority_counts_for_ten_minutes_of_age(manager: Manager, store: Store, clock: Clock) -> None:
    ((old, _),) = (await manager.submit([Submission("echo", b'{"value":1}', priority=5)])).tasks
    clock.advance(601)
    ((higher, _),) = (await manager.submit([Submission("echo", b'{"value":1}', priority=6)])).tasks
    ((highest, _),) = (await manager.submit([Submission("echo", b'{"value":1}', priority=7)])).tasks
    assert [lease.id for lease in (await claim(store)).leases] == [highest, old, higher]


@pytest.mark.parametrize(("submission", "error", "pointer"), [
    (Submission("ecco", b'{"value":1}'), UnknownType, "/type"),
    (Submission("echo", b'{"value":"x"}'), InvalidPayload, "/payload/value"),
    (Submission("echo", b'{"value":1,"other":2}'), InvalidPayload, "/payload/other"),
    (Submission("echo", b"{}"), InvalidPayload, "/payload/value"),
    (Submission("echo", b'{"value":' + b"1" * (1 << 20) + b"}"), TooLarge, "/payload"),
])  # fmt: skip
async def test_a_wrong_task_is_refused_with_a_pointer_and_nothing_is_stored(
    manager: Manager, store: Store, submission: Submission, error: type[Refused], pointer: str
) -> None:
    head = await store.head()
    with pytest.raises(error) as refused:
        await manager.submit([submission], once=once())
    assert pointers(refused.value) == [pointer]
    assert (await all_tasks(manager), await store.head()) == ([], head)
    await manager.submit([GOOD], once=once(digest="other"))  # an error is not kept under the key


async def test_of_a_batch_every_wrong_item_is_told_and_none_is_stored(manager: Manager, store: Store) -> None:
    wrong = {3: b"{}", 250: b'{"value":null}', 499: b'{"value":1,"x":1,"y":2}'}
    batch = [Submission("echo", wrong.get(place, b'{"value":1}')) for place in range(500)]
    batch[100] = Submission("nothing")
    with pytest.raises(InvalidPayload) as refused:
        await manager.submit(batch, batch=True)
    assert pointers(refused.value) == [
        "/tasks/3/payload/value", "/tasks/100/type", "/tasks/250/payload/value", "/tasks/499/payload/x", "/tasks/499/payload/y",
    ]  # fmt: skip
    assert await all_tasks(manager) == []
    assert await store.head() == 0


async def test_a_batch_is_stored_in_its_order(manager: Manager, store: Store) -> None:
    accepted = await manager.submit([Submission("echo", b'{"value":%d}' % place) for place in range(300)], batch=True)
    ids = [id for id, _ in accepted.tasks]
    assert ids == sorted(set(ids))
    assert [found.payload for found in await store.get(ids) if found] == [b'{"value":%d}' % place for place in range(300)]


async def test_others_get_their_turn_while_a_large_batch_is_checked(manager: Manager) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await manager.submit([GOOD] * 2_000, batch=True)
    counting.cancel()
    assert turns >= 9


# -- idempotency keys


async def test_the_same_request_again_is_answered_with_the_same_ids(manager: Manager, clock: Clock) -> None:
    first = await manager.submit([GOOD, GOOD], once=once())
    clock.advance(KEY_KEPT - 1)
    again = await manager.submit([GOOD, GOOD], once=once())
    assert again.tasks == first.tasks
    assert (first.replayed, again.replayed) == (False, True)
    assert len(await all_tasks(manager)) == 2


async def test_a_key_is_forgotten_after_a_day(manager: Manager, clock: Clock) -> None:
    first = await manager.submit([GOOD], once=once())
    clock.advance(KEY_KEPT + 1)
    second = await manager.submit([GOOD], once=once(digest="another"))
    assert not second.replayed
    assert second.tasks != first.tasks


async def test_a_key_used_for_another_body_is_refused(manager: Manager) -> None:
    await manager.submit([GOOD], once=once())
    with pytest.raises(IdempotencyKeyReused, match="'k'"):
        await manager.submit([GOOD], once=once(digest="other"))
    assert len(await all_tasks(manager)) == 1


async def test_keys_of_different_callers_and_paths_have_nothing_to_do_with_each_other(manager: Manager) -> None:
    for scope in ("me POST /tasks", "me POST /tasks/batch", "you POST /tasks"):
        assert not (await manager.submit([GOOD], once=once(scope=scope, digest=scope))).replayed
    assert len(await all_tasks(manager)) == 3


@pytest.mark.parametrize("key", ["", "k" * 10_000, "ключ/../\0", "a/b"])
async def test_a_key_may_be_any_text(manager: Manager, key: str) -> None:
    first = await manager.submit([GOOD], once=once(key))
    assert (await manager.submit([GOOD], once=once(key))).tasks == first.tasks


async def test_of_two_at_once_one_is_stored_and_both_are_told_of_it(manager: Manager) -> None:
    answers = await asyncio.gather(*[manager.submit([GOOD], once=once()) for _ in range(10)])
    assert len({id for answer in answers for id, _ in answer.tasks}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(await all_tasks(manager)) == 1


async def test_a_request_repeated_in_doubt_stores_nothing_twice(memory: Store, clock: Clock) -> None:
    wrapped = Wrapped(memory)
    manager = await a_manager(wrapped.store, clock, ECHO)
    wrapped.hooks["submit"] = at_first(1, lose_the_answer)
    with pytest.raises(StoreUnavailable):
        await manager.submit([GOOD], once=once())
    assert (await manager.submit([GOOD], once=once())).replayed
    assert len(await all_tasks(manager)) == 1


# -- wait


async def end(store: Store, *, times: int = 1) -> None:
    """Somebody runs what is there, well."""
    async with asyncio.timeout(DEADLINE):
        while times:
            for lease in (await claim(store, limit=times)).leases:
                await store.settle([done(lease)])
                times -= 1
            await asyncio.sleep(0)


async def test_submit_and_wait_answers_the_task_once_it_is_final(manager: Manager, store: Store) -> None:
    (accepted, found), _ = await asyncio.gather(manager.submit_and_wait(GOOD, once=None, timeout=DEADLINE), end(store))
    assert found is not None
    assert (found.id, found.status) == (accepted.tasks[0][0], Status.DONE)


async def test_submit_and_wait_answers_no_task_that_is_not_final_in_time(manager: Manager) -> None:
    accepted, found = await manager.submit_and_wait(GOOD, once=once(), timeout=0.01)
    assert found is None
    assert (await manager.get(accepted.tasks[0][0])).status is Status.QUEUED
    again, found = await manager.submit_and_wait(GOOD, once=once(), timeout=0.01)
    assert (again.tasks, again.replayed, found) == (accepted.tasks, True, None)


async def test_a_replayed_request_waits_as_well(manager: Manager, store: Store) -> None:
    first = await manager.submit([GOOD], once=once())
    (again, found), _ = await asyncio.gather(manager.submit_and_wait(GOOD, once=once(), timeout=DEADLINE), end(store))
    assert again.replayed
    assert found is not None
    assert (found.id, found.status) == (first.tasks[0][0], Status.DONE)


async def test_a_replay_of_a_task_that_is_gone_is_answered_all_the_same(manager: Manager, store: Store) -> None:
    first = await manager.submit([GOOD], once=once())
    await end(store)
    await manager.delete(first.tasks[0][0])
    again, found = await manager.submit_and_wait(GOOD, once=once(), timeout=DEADLINE)
    assert (again.tasks, again.replayed, found) == (first.tasks, True, None)


async def test_wait_answers_at_once_what_is_final(manager: Manager, store: Store) -> None:
    lease = await ended(store, Status.FAILED)
    assert (await asyncio.wait_for(manager.wait(lease.id, 60), DEADLINE)).status is Status.FAILED


async def test_wait_answers_when_the_task_becomes_final(manager: Manager, store: Store) -> None:
    (id,) = await submit(store)
    found, _ = await asyncio.gather(manager.wait(id, DEADLINE), end(store))
    assert found.status is Status.DONE


async def test_wait_answers_the_task_as_it_is_when_the_time_is_over(manager: Manager, store: Store) -> None:
    (id,) = await submit(store)
    for timeout in (0.0, 0.01):
        assert (await manager.wait(id, timeout)).status is Status.QUEUED


async def test_wait_until_answers_at_the_change_that_is_enough(manager: Manager, store: Store) -> None:
    (id,) = await submit(store)

    async def enough(task: Task) -> bool:
        return task.status is not Status.QUEUED

    waiting = asyncio.create_task(manager.wait_until(id, DEADLINE, enough))
    await asyncio.sleep(0)
    (lease,) = (await claim(store)).leases
    assert (await asyncio.wait_for(waiting, DEADLINE)).status is Status.IN_PROGRESS
    await store.settle([done(lease)])


async def test_waits_end_as_things_stand_when_the_service_stops(store: Store, clock: Clock) -> None:
    manager = await a_manager(store, clock, ECHO)
    notify: Notify = manager._notify
    (id,) = await submit(store)
    waits = [asyncio.create_task(manager.wait(id, 60)) for _ in range(3)]
    posting = asyncio.create_task(manager.submit_and_wait(GOOD, once=None, timeout=60))
    await asyncio.sleep(0.01)
    notify.close()
    assert {found.status for found in await asyncio.wait_for(asyncio.gather(*waits), DEADLINE)} == {Status.QUEUED}
    assert (await asyncio.wait_for(posting, DEADLINE))[1] is None
    assert (await asyncio.wait_for(manager.wait(id, 60), DEADLINE)).status is Status.QUEUED


async def test_waits_leave_no_watch_behind(manager: Manager, store: Store) -> None:
    (id,) = await submit(store)
    await manager.wait(id, 0.001)
    await manager.submit_and_wait(GOOD, once=None, timeout=0.001)
    with pytest.raises(NotFound):
        await manager.wait("nothing", 1)
    assert not manager._notify._watches


async def test_what_does_not_exist_is_not_found(manager: Manager) -> None:
    for verb in (manager.get, manager.cancel, manager.retry, manager.delete):
        with pytest.raises(NotFound, match="nothing"):
            await verb("nothing")


# -- by hand


async def in_status(store: Store, wanted: Status) -> str:
    if wanted is Status.QUEUED:
        return (await submit(store))[0]
    return (await hold(store)).id if wanted is Status.IN_PROGRESS else (await ended(store, wanted)).id


@pytest.mark.parametrize(("verb", "before", "answer", "after"), [
    ("cancel", Status.QUEUED,      Status.CANCELLED,   Status.CANCELLED),
    ("cancel", Status.IN_PROGRESS, Status.IN_PROGRESS, Status.IN_PROGRESS),
    ("cancel", Status.CANCELLED,   Status.CANCELLED,   Status.CANCELLED),
    ("cancel", Status.DONE,        Conflict,           Status.DONE),
    ("cancel", Status.FAILED,      Conflict,           Status.FAILED),
    ("retry",  Status.QUEUED,      Conflict,           Status.QUEUED),
    ("retry",  Status.IN_PROGRESS, Conflict,           Status.IN_PROGRESS),
    ("retry",  Status.CANCELLED,   Status.QUEUED,      Status.QUEUED),
    ("retry",  Status.DONE,        Conflict,           Status.DONE),
    ("retry",  Status.FAILED,      Status.QUEUED,      Status.QUEUED),
    ("delete", Status.QUEUED,      Conflict,           Status.QUEUED),
    ("delete", Status.IN_PROGRESS, Conflict,           Status.IN_PROGRESS),
    ("delete", Status.CANCELLED,   None,               None),
    ("delete", Status.DONE,        None,               None),
    ("delete", Status.FAILED,      None,               None),
])  # fmt: skip
async def test_by_hand_a_task_goes_where_its_status_allows(
    manager: Manager, store: Store, verb: str, before: Status, answer: Any, after: Status | None
) -> None:
    id = await in_status(store, before)
    if answer is Conflict:
        with pytest.raises(Conflict) as refused:
            await getattr(manager, verb)(id)
        assert before.value in refused.value.detail
    else:
        assert await getattr(manager, verb)(id) == answer
    (found,) = await store.get([id])
    assert (found.status if found else None) == after


async def test_a_running_task_that_is_cancelled_rings_in_this_process(manager: Manager, store: Store) -> None:
    rung = manager.cancels.count
    lease = await hold(store)
    await manager.cancel((await submit(store))[0])
    assert manager.cancels.count == rung
    await manager.cancel(lease.id)
    assert manager.cancels.count == rung + 1
    assert await manager.asked("w1") == [lease.id]


async def test_the_oldest_of_each_queue_has_its_age(manager: Manager, store: Store, clock: Clock) -> None:
    await submit(store, queue="a")
    clock.advance(10)
    await submit(store, queue="b")
    await submit(store, queue="later", delay=60)
    clock.advance(5)
    assert await manager.oldest() == {"a": 15.0, "b": 5.0}
    clock.jump(-3600)
    assert (await manager.oldest())["a"] == 0.0


# -- for workers


def failure(message: str = "a bad day") -> Report:
    return Report(0, Kind.ERROR, error=Fault(ErrorCode.HANDLER_ERROR, message, "ValueError"))


async def test_ends_are_decided_and_written_together(manager: Manager, store: Store) -> None:
    good, bad, stopped, late = [await hold(store) for _ in range(4)]
    await store.settle([done(late)])
    ends = [(good, Report(0, Kind.DONE, b"7")), (bad, failure()), (stopped, Interrupted()), (late, failure())]
    assert list(await manager.settle(ends)) == [True, True, True, False]
    assert (await read(store, good.id)).result == b"7"
    assert [await status(store, lease.id) for lease in (good, bad, stopped, late)] == [
        Status.DONE, Status.FAILED, Status.QUEUED, Status.DONE,
    ]  # fmt: skip


async def test_an_end_that_cannot_be_stored_fails_its_task_alone(
    manager: Manager, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    leases = [await hold(store) for _ in range(3)]
    ends = [
        (lease, failure("half a pair: \ud800") if place == 1 else Report(0, Kind.DONE, b"1"))
        for place, lease in enumerate(leases)
    ]
    no_fault = await hold(store)
    ends.append((no_fault, Report(0, Kind.ERROR)))
    with caplog.at_level(logging.ERROR):
        assert list(await manager.settle(ends)) == [True] * 4
    found = [await read(store, lease.id) for lease in leases]
    assert [task.status for task in found] == [Status.DONE, Status.FAILED, Status.DONE]
    assert found[1].error is not None
    assert "cannot be stored" in found[1].error.message
    assert await status(store, no_fault.id) is Status.FAILED


async def test_nul_in_what_a_handler_raised_keeps_nobody_running(manager: Manager, store: Store) -> None:
    lease = await hold(store)
    assert list(await manager.settle([(lease, failure("a\0b"))])) == [True]
    error = (await read(store, lease.id)).error
    assert error is not None
    assert (error.code, error.message) == (ErrorCode.HANDLER_ERROR, "a\\0b")


async def test_an_outage_is_told_and_not_taken_for_an_end_that_cannot_be_stored(memory: Store, clock: Clock) -> None:
    wrapped = Wrapped(memory)
    manager = await a_manager(wrapped.store, clock, ECHO)
    leases: list[Lease] = [await hold(memory) for _ in range(2)]
    ends = [(lease, Report(0, Kind.DONE, b"1")) for lease in leases]
    wrapped.hooks["settle"] = at_first(1, refuse)
    with pytest.raises(StoreUnavailable):
        await manager.settle(ends)
    assert list(await manager.settle(ends)) == [True, True]
    assert list(await manager.settle(ends)) == [True, True]  # said again in doubt


async def test_given_back_tasks_keep_or_return_their_attempt(manager: Manager, store: Store) -> None:
    begun, unbegun = [await hold(store) for _ in range(2)]
    await manager.give_back([begun], started=True)
    await manager.give_back([unbegun], started=False)
    found = await read(store, begun.id)
    assert (found.attempt, [(one.number, one.outcome) for one in found.history]) == (1, [(1, Outcome.GIVEN_BACK)])
    found = await read(store, unbegun.id)
    assert (found.attempt, found.history, found.status) == (0, (), Status.QUEUED)
