"""A worker with real children: it claims, has run, settles, renews, hears cancels, survives its store, and goes in peace."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from dolgo.errors import BadTaskType, StoreUnavailable
from dolgo.task import crew as crew_room
from dolgo.task import presence as presence_room
from dolgo.task import worker as worker_room
from dolgo.task.fleet import Fleet
from dolgo.task.manager import Submission
from dolgo.task.types import ErrorCode, Outcome, Status
from tests.task.wrapped import Step, at_first, lose_the_answer, refuse
from tests.task.yard import DEADLINE, HANDLERS, Yard, gone, history, kill, most_at_once, pids, until

pytestmark = pytest.mark.anyio


# -- the ordinary way


@pytest.mark.parametrize("type", ["quick", "quick_def"])
async def test_a_task_is_done_and_has_its_result(any_yard: Yard, type: str) -> None:
    worker = await any_yard.start()
    task = await any_yard.end(await any_yard.one(type, value=7))
    assert (task.status, task.result, task.error) == (Status.DONE, b"7", None)
    assert (task.attempt, task.failures, task.losses, task.worker) == (1, 0, 0, worker.id)


async def test_a_handler_that_raises_fails_its_task(any_yard: Yard) -> None:
    await any_yard.start()
    task = await any_yard.end(await any_yard.one("fail", text="a\0 bad day"))
    assert (task.status, task.failures) == (Status.FAILED, 1)
    assert task.error is not None
    assert (task.error.code, task.error.type, task.error.attempt) == (ErrorCode.HANDLER_ERROR, "ValueError", 1)
    assert "bad day" in task.error.message


async def test_many_tasks_of_many_types_all_end_each_as_its_own(any_yard: Yard) -> None:
    await any_yard.start(slots=4)
    submissions = [
        Submission(("quick", "quick_def", "seen_def")[n % 3], b'{"value":%d}' % n if n % 3 < 2 else b"{}") for n in range(300)
    ]
    ids = await any_yard.send(*submissions)
    tasks = await any_yard.ends(ids)
    assert {task.status for task in tasks} == {Status.DONE}
    assert [task.result for task in tasks] == [b"%d" % n if n % 3 < 2 else b"1" for n in range(300)]
    assert {(task.attempt, task.failures, task.losses) for task in tasks} == {(1, 0, 0)}


async def test_a_delayed_task_runs_when_its_time_has_come_and_a_waiting_worker_wakes_for_it(any_yard: Yard) -> None:
    await any_yard.start()
    ((id, _),) = (await any_yard.manager.submit([Submission("quick", delay=0.3)])).tasks
    task = await any_yard.end(id, within=5)
    assert task.started_at is not None
    assert task.run_at <= task.started_at < task.run_at + 1


async def test_a_worker_wakes_when_a_rate_lets_go_the_next_task_of_a_type_known_as_short(any_yard: Yard) -> None:
    await any_yard.start(slots=2)
    await any_yard.ends(await any_yard.submit("quick", 50))
    await any_yard.manager.limit("default", {"rate": 5.0})
    await any_yard.ends(await any_yard.submit("quick", 5), within=10)


async def test_a_task_that_is_there_before_the_worker_is_run(any_yard: Yard) -> None:
    first = await any_yard.start()
    await first.drain()
    ids = await any_yard.submit("quick", 20)
    await any_yard.start()
    assert {task.status for task in await any_yard.ends(ids)} == {Status.DONE}


async def test_of_two_workers_none_runs_a_task_twice(any_yard: Yard) -> None:
    await any_yard.start(slots=3)
    await any_yard.start(slots=3)
    log = any_yard.mark()
    tasks = await any_yard.ends(await any_yard.submit("stay", 60, seconds=0.01, log=log))
    assert len(Path(log).read_text().splitlines()) == 60
    assert {task.attempt for task in tasks} == {1}
    assert {task.worker for task in tasks} == {"worker-1", "worker-2"}


# -- slots


async def test_slots_are_never_exceeded_and_always_used(yard: Yard) -> None:
    """`async def` and `def` handlers together, short enough for tasks to be claimed ahead of free slots."""
    slots = 4
    await yard.start(slots=slots)
    log = yard.mark()
    warm = await yard.submit("stay", 100, seconds=0.001, log=log) + await yard.submit("stay_def", 40, seconds=0.001, log=log)
    await yard.ends(warm)
    submissions = []
    for n in range(400):
        type = "stay_def" if n % 5 == 0 else "stay"
        submissions.append(Submission(type, b'{"seconds":0.002,"log":"%s"}' % log.encode()))
    ids = await yard.send(*submissions)
    ids += await yard.submit("stay", 8, seconds=0.2, log=log) + await yard.submit("stay_def", 8, seconds=0.2, log=log)
    ids += await yard.submit("stay", 200, seconds=0.001, log=log)
    assert {task.status for task in await yard.ends(ids)} == {Status.DONE}
    assert most_at_once(log) == slots


async def test_a_long_task_gets_a_slot_though_short_ones_never_end(any_yard: Yard) -> None:
    """What is claimed ahead must not keep out what stands before it."""
    await any_yard.start(slots=2)
    await any_yard.ends(await any_yard.submit("quick", 200))
    await any_yard.submit("quick", 8_000)
    mark = any_yard.mark()
    ((id, _),) = (
        await any_yard.manager.submit([Submission("nap", b'{"seconds":0.01,"mark":"%s"}' % mark.encode(), priority=9)])
    ).tasks
    blocking = (await any_yard.manager.submit([Submission("sleep", b'{"seconds":0.01}', priority=9)])).tasks[0][0]
    await any_yard.end(id)
    await any_yard.end(blocking)
    counts = await any_yard.manager.counts()
    assert sum(line.counts.get(Status.QUEUED, 0) for line in counts) > 0


async def test_short_types_that_become_slow_are_not_claimed_ahead_again_and_again(yard: Yard) -> None:
    slots = 3
    await yard.start(slots=slots)
    file = yard.mark()
    await yard.ends(await yard.submit("sometimes_slow", 300, slow=False, file=file))
    slow = await yard.submit("sometimes_slow", slots, slow=True, file=file)
    await yard.come(slow, Status.IN_PROGRESS)
    rest = await yard.submit("sometimes_slow", 300, slow=False, file=file)

    async def are_left_alone() -> bool:
        head = await yard.store.head()
        await asyncio.sleep(0.5)
        return await yard.store.head() == head

    await until(are_left_alone)  # they would go out and come back for as long as no slot comes free
    assert set(await yard.statuses(rest)) == {Status.QUEUED}
    Path(file).touch()
    assert {task.status for task in await yard.ends(slow + rest)} == {Status.DONE}
    assert {task.attempt for task in await yard.ends(slow + rest)} == {1}


async def test_an_idle_worker_makes_no_store_calls_but_heartbeats(any_yard: Yard) -> None:
    await any_yard.start(slots=1_000)
    await any_yard.end(await any_yard.one("quick"))
    await any_yard.end(await any_yard.one("quick_def"))

    async def makes_none() -> bool:
        any_yard.store.calls.clear()
        await asyncio.sleep(0.8)
        return any_yard.store.calls.total() <= 1  # the claim that waits in the store

    await until(makes_none)


# -- cancel


async def test_a_running_task_that_is_cancelled_stops_and_its_handler_hears_of_it(any_yard: Yard) -> None:
    await any_yard.start()
    mark = any_yard.mark()
    id = await any_yard.one("nap", seconds=60, mark=mark)
    await any_yard.begun(mark)
    assert await any_yard.manager.cancel(id) is Status.IN_PROGRESS
    task = await any_yard.end(id)
    assert (task.status, task.error and task.error.code) == (Status.CANCELLED, ErrorCode.CANCELLED)
    assert pids(mark + ".cancelled")


async def test_a_cancel_in_another_process_is_heard(any_yard: Yard) -> None:
    await any_yard.start()
    mark = any_yard.mark()
    id = await any_yard.one("nap", seconds=60, mark=mark)
    await any_yard.begun(mark)
    await any_yard.another_manager().cancel(id)  # its bell rings elsewhere
    assert (await any_yard.end(id)).status is Status.CANCELLED


async def test_a_queued_task_that_is_cancelled_never_runs(yard: Yard) -> None:
    await yard.start(slots=1)
    file, mark = yard.mark(), yard.mark()
    first = await yard.one("wait_for", file=file)
    await yard.come([first], Status.IN_PROGRESS)
    second = await yard.one("nap", seconds=0, mark=mark)
    assert await yard.manager.cancel(second) is Status.CANCELLED
    Path(file).touch()
    await yard.end(first)
    await yard.end(await yard.one("quick"))
    assert not pids(mark)


async def test_a_task_that_waits_for_a_child_of_its_own_can_be_cancelled(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await yard.start(slots=2)
    crew = worker._crew
    monkeypatch.setattr(crew, "_spawn", lambda *args, **kwargs: None)  # no single child will ever come
    mark = yard.mark()
    id = await yard.one("sleep", seconds=0, mark=mark)
    await yard.come([id], Status.IN_PROGRESS)
    await yard.manager.cancel(id)
    task = await yard.end(id)
    assert (task.status, task.attempt) == (Status.CANCELLED, 0)
    assert not pids(mark)


async def test_a_suspect_that_runs_alone_can_be_cancelled(yard: Yard) -> None:
    await yard.start()
    mark = yard.mark()
    id = await yard.one("nap", seconds=60, mark=mark)
    (first,) = await yard.begun(mark)
    kill(first)
    await yard.begun(mark, 2)
    await yard.manager.cancel(id)
    assert (await yard.end(id)).status is Status.CANCELLED
    assert pids(mark + ".cancelled")


# -- drain


async def test_draining_lets_what_runs_end_and_gives_the_rest_back(any_yard: Yard) -> None:
    worker = await any_yard.start(slots=2)
    file, marks = any_yard.mark(), [any_yard.mark(), any_yard.mark()]
    running = [
        await any_yard.one("wait_for", file=file, mark=marks[0]),
        await any_yard.one("wait_for_def", file=file, mark=marks[1]),
    ]
    for mark in marks:
        await any_yard.begun(mark)
    queued = await any_yard.submit("quick", 5)
    draining = asyncio.create_task(worker.drain())
    await until(lambda: worker._crew._draining)
    Path(file).touch()
    await asyncio.wait_for(draining, 5)
    assert await any_yard.statuses(running + queued) == [Status.DONE] * 2 + [Status.QUEUED] * 5
    assert {(await any_yard.task(id)).attempt for id in queued} == {0}
    await worker.drain()


async def test_a_worker_without_work_drains_at_once(any_yard: Yard) -> None:
    worker = await any_yard.start()
    await any_yard.end(await any_yard.one("quick"))
    await until(lambda: not len(worker._leases))
    await asyncio.wait_for(worker.drain(), 5)
    (seen,) = await Fleet(any_yard.store.store).all()
    assert seen.info.state in ("running", "draining")
    await worker.stop()
    assert await Fleet(any_yard.store.store).all() == []


async def test_what_does_not_end_in_time_is_given_back_uncounted_with_its_attempt_on_the_record(any_yard: Yard) -> None:
    worker = await any_yard.start(slots=3, drain_timeout=0.2)
    marks = [any_yard.mark() for _ in range(3)]
    ids = [await any_yard.one("nap", seconds=60, mark=marks[0]), await any_yard.one("sleep", seconds=60, mark=marks[1])]
    ids.append(await any_yard.one("block", mark=marks[2]))
    for mark in marks:
        await any_yard.begun(mark)
    await worker.drain()
    await worker.stop()
    for id in ids:
        task = await any_yard.task(id)
        assert (task.status, task.failures, task.losses, task.suspect) == (Status.QUEUED, 0, 0, False)
        assert (task.attempt, history(task)) == (1, [(1, Outcome.GIVEN_BACK)])


async def test_a_task_sent_to_a_child_that_never_began_it_returns_its_number(yard: Yard) -> None:
    worker = await yard.start(slots=2, drain_timeout=0.1)
    mark = yard.mark()
    blocked = await yard.one("block", mark=mark)
    await yard.begun(mark)
    unbegun = await yard.one("quick")
    await yard.come([unbegun], Status.IN_PROGRESS)
    await worker.drain()
    task = await yard.task(unbegun)
    assert (task.status, task.attempt, task.history) == (Status.QUEUED, 0, ())
    assert (await yard.task(blocked)).attempt == 1


async def test_a_claim_under_way_when_the_worker_drains_gives_its_tasks_back(any_yard: Yard) -> None:
    worker = await any_yard.start(slots=2)
    go = asyncio.Event()
    made = asyncio.Event()

    async def slowly(step: Step) -> Any:
        answer = await step()
        if answer.leases:
            made.set()
            await go.wait()
        return answer

    any_yard.store.hooks["claim"] = slowly
    worker._look_anew()
    (id,) = await any_yard.submit("quick")
    await asyncio.wait_for(made.wait(), DEADLINE)
    draining = asyncio.create_task(worker.drain())
    await until(lambda: worker.draining)
    go.set()
    await asyncio.wait_for(draining, 8)
    await worker.stop()
    task = await any_yard.task(id)
    assert (task.status, task.attempt, task.history) == (Status.QUEUED, 0, ())


async def test_a_handler_that_finishes_as_the_time_runs_out_is_not_run_again(yard: Yard) -> None:
    worker = await yard.start(slots=1, drain_timeout=0.0)
    mark = yard.mark()
    id = await yard.one("nap", seconds=0.0, mark=mark)
    await yard.begun(mark)
    await worker.drain()
    await worker.stop()
    task = await yard.task(id)
    assert (task.status, task.attempt) in ((Status.DONE, 1), (Status.QUEUED, 1), (Status.QUEUED, 0))
    assert len(pids(mark)) == 1


async def test_stopping_without_draining_ends_in_time_and_leaves_no_child(yard: Yard) -> None:
    worker = await yard.start()
    mark = yard.mark()
    await yard.one("sleep", seconds=60, mark=mark)
    (pid,) = await yard.begun(mark)
    await worker.stop()
    await worker.stop()
    await until(lambda: gone(pid))


async def test_a_worker_can_be_stopped_before_it_has_started(yard: Yard) -> None:
    worker = yard.worker()
    starting = asyncio.create_task(worker.start())
    await asyncio.sleep(0.01)
    await asyncio.wait_for(worker.drain(), 5)
    await asyncio.wait_for(worker.stop(), 5)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


# -- leases and the store


async def test_a_task_that_outlasts_its_lease_is_renewed(any_yard: Yard) -> None:
    await any_yard.start(lease=0.6)
    id = await any_yard.one("sleep", seconds=1.2)
    await any_yard.come([id], Status.IN_PROGRESS)
    while (await any_yard.task(id)).status is Status.IN_PROGRESS:
        await asyncio.sleep(0.02)
        assert await any_yard.store.reclaim([], 10) == 0
    task = await any_yard.end(id)
    assert (task.status, task.attempt) == (Status.DONE, 1)


async def test_a_lease_that_was_taken_away_stops_the_handler_and_its_late_end_is_refused(any_yard: Yard) -> None:
    worker = await any_yard.start(lease=0.6)
    marks = [any_yard.mark(), any_yard.mark()]
    ids = [await any_yard.one("nap", seconds=30, mark=marks[0]), await any_yard.one("sleep", seconds=0.8, mark=marks[1])]
    for mark in marks:
        await any_yard.begun(mark)
    worker.draining = True  # it claims nothing more, so that the tasks stay where they are put
    assert await any_yard.store.reclaim([worker.id], 10) == 2
    await until(lambda: bool(pids(marks[0] + ".cancelled")))
    await until(lambda: not len(worker._leases))
    for id in ids:
        task = await any_yard.task(id)
        assert (task.status, history(task)) == (Status.QUEUED, [(1, Outcome.LOST)])


async def test_a_claim_whose_answer_was_lost_costs_nobody_anything(any_yard: Yard) -> None:
    worker = await any_yard.start(slots=3)
    any_yard.store.hooks["claim"] = at_first(2, lose_the_answer)
    worker._look_anew()
    ids = await any_yard.submit("quick", 7)
    tasks = await any_yard.ends(ids, within=10)
    assert {(task.status, task.attempt, task.history) for task in tasks} == {(Status.DONE, 1, ())}


async def test_a_claim_whose_answer_is_overtaken_by_a_renewal_is_run_once(yard: Yard) -> None:
    """The beat sees a lease that the claim has not brought yet, and must leave it alone."""
    worker = await yard.start(slots=2, lease=0.3)
    mark, file, log = yard.mark(), yard.mark(), yard.mark()
    first = await yard.one("wait_for", file=file, mark=mark)
    await yard.begun(mark)

    async def slowly(step: Step) -> Any:
        answer = await step()
        if answer.leases:
            for _ in range(2):
                await worker._leases.beat()
        return answer

    yard.store.hooks["claim"] = slowly
    worker._look_anew()
    second = await yard.end(await yard.one("stay", seconds=0.0, log=log))
    assert (second.status, second.attempt) == (Status.DONE, 1)
    assert len(Path(log).read_text().splitlines()) == 1
    Path(file).touch()
    await yard.end(first)


async def test_of_two_claims_made_together_one_may_fail(yard: Yard) -> None:
    worker = await yard.start(slots=2)
    await yard.ends(await yard.submit("quick", 100))
    turns = 0

    async def every_second(step: Step) -> Any:
        nonlocal turns
        turns += 1
        return await (step() if turns % 2 else refuse(step))

    yard.store.hooks["claim"] = every_second
    worker._look_anew()
    ids = await yard.submit("quick", 40)
    await asyncio.sleep(0.3)
    yard.store.hooks.clear()
    tasks = await yard.ends(ids)
    assert {(task.status, task.attempt) for task in tasks} == {(Status.DONE, 1)}


async def test_an_outage_of_the_store_is_survived_and_nothing_is_lost(any_yard: Yard) -> None:
    worker = await any_yard.start(slots=4)
    file, mark = any_yard.mark(), any_yard.mark()
    running = await any_yard.submit("wait_for", 2, file=file, mark=mark)
    await any_yard.begun(mark, 2)
    any_yard.store.down = True
    Path(file).touch()
    await until(lambda: not worker.claims or worker.running == 0)
    worker._look_anew()
    await until(lambda: not worker.claims)
    await asyncio.sleep(0.5)
    any_yard.store.down = False
    ids = running + await any_yard.submit("quick", 20) + await any_yard.submit("quick_def", 5)
    tasks = await any_yard.ends(ids, within=10)
    assert {(task.status, task.attempt, task.losses) for task in tasks} == {(Status.DONE, 1, 0)}
    await until(lambda: worker.claims)


async def test_an_outage_longer_than_a_lease_cancels_nothing(any_yard: Yard) -> None:
    """The handlers are stopped, because others may run their tasks by then; but they have not been cancelled by anybody."""
    await any_yard.start(lease=0.5)
    mark = any_yard.mark()
    id = await any_yard.one("nap", seconds=0.8, mark=mark)
    await any_yard.begun(mark)
    any_yard.store.down = True
    await until(lambda: bool(pids(mark + ".cancelled")))
    any_yard.store.down = False
    task = await any_yard.end(id)
    assert (task.status, task.attempt, task.failures, task.losses) == (Status.DONE, 2, 0, 0)
    assert history(task) == [(1, Outcome.GIVEN_BACK)]


async def test_a_settlement_that_fails_some_times_is_written_in_the_end(any_yard: Yard) -> None:
    await any_yard.start()
    any_yard.store.hooks["settle"] = at_first(3, refuse)
    ids = [await any_yard.one("quick"), await any_yard.one("quick_def")]
    assert {task.status for task in await any_yard.ends(ids)} == {Status.DONE}


async def test_a_settlement_whose_answer_is_lost_counts_once(any_yard: Yard) -> None:
    worker = await any_yard.start()
    any_yard.store.hooks["settle"] = at_first(2, lose_the_answer)
    task = await any_yard.end(await any_yard.one("quick", value=3))
    assert (task.status, task.result, task.attempt) == (Status.DONE, b"3", 1)
    await until(lambda: not len(worker._leases))


async def test_no_fault_ends_a_loop_of_the_worker(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_room, "AFTER_A_FAULT", 0.01)

    async def broken(step: Step) -> Any:
        raise ZeroDivisionError

    worker = await yard.start(lease=0.3)
    mark = yard.mark()
    running = await yard.one("nap", seconds=60, mark=mark)
    await yard.begun(mark)
    verbs = ("claim", "renew", "asked", "put")
    with caplog.at_level(logging.CRITICAL + 1, "dolgo.worker"):
        for verb in verbs:
            yard.store.hooks[verb] = at_first(3, broken)
        worker._look_anew()
        ids = await yard.submit("quick", 3)
        await until(lambda: all(yard.store.calls[verb] > 4 for verb in verbs))
        assert {task.status for task in await yard.ends(ids)} == {Status.DONE}
        await yard.manager.cancel(running)
        assert (await yard.end(running)).status is Status.CANCELLED


async def test_ends_that_pile_up_stop_the_claims_until_they_are_written(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "MOST_UNSETTLED", 3)
    await yard.start(slots=2)
    yard.store.hooks["settle"] = refuse
    ids = await yard.submit("nap", 30, seconds=0.015)
    await until(lambda: yard.store.calls["settle"] > 5)

    async def held() -> int:
        return (await yard.statuses(ids)).count(Status.IN_PROGRESS)

    many = await held()
    assert many <= 3 + 2 + 2
    await asyncio.sleep(0.2)
    assert await held() == many
    yard.store.hooks.clear()
    assert {task.status for task in await yard.ends(ids, within=10)} == {Status.DONE}


# -- starting and being known


async def test_a_worker_is_announced_with_its_types_when_it_has_started(any_yard: Yard) -> None:
    await any_yard.start(slots=7)
    (seen,) = await Fleet(any_yard.store.store).all()
    assert (seen.info.slots, seen.info.state, seen.info.queues) == (7, "running", None)
    assert {"quick", "quick_def", "long_task"} <= {name for name, _ in seen.info.types}
    assert (await any_yard.manager.types.find("quick")).name == "quick"


async def test_types_are_announced_as_soon_as_the_store_can_be_written(yard: Yard) -> None:
    yard.store.hooks["put"] = at_first(3, refuse)
    await yard.start()
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE


async def test_a_store_that_stays_away_fails_the_start(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_room, "START_PATIENCE", 0.1)
    yard.store.hooks["put"] = refuse
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(yard.worker().start(), DEADLINE)


async def test_task_files_that_cannot_be_served_fail_the_start_with_the_reason(yard: Yard) -> None:
    (yard.folder / "again.py").write_text("from dolgo import task\n\n@task\nasync def quick() -> None: ...\n")
    with pytest.raises(BadTaskType, match="two task types are named `quick`"):
        await yard.start(paths=(HANDLERS, str(yard.folder / "again.py")))


async def test_task_files_that_end_the_child_fail_the_start_with_how(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_room, "RESTART", (0.0, 0.0))
    (yard.folder / "poison.py").write_text("import os\nos._exit(3)\n")
    with pytest.raises(BadTaskType, match="exited with code 3"):
        await yard.start(paths=(str(yard.folder / "poison.py"),))


# -- rollouts


def write(folder: Path, source: str) -> str:
    path = folder / "changing.py"
    path.write_text("from dolgo import task\n" + source)
    return str(path)


OLD = "@task\nasync def changing(value: int) -> str:\n    return 'old'\n"
NEW = "@task\nasync def changing(value: int, more: int = 1) -> str:\n    return 'new'\n"
STRICT = "@task\nasync def changing(other: str) -> str:\n    return 'strict'\n"


@pytest.mark.parametrize("suffix", ["async def", "def"])
async def test_a_task_of_an_older_hash_that_still_decodes_runs_and_one_that_does_not_is_left_alone(
    any_yard: Yard, suffix: str
) -> None:
    def version(source: str) -> str:
        return write(any_yard.folder, source.replace("async def", suffix))

    worker = await any_yard.start(paths=(version(OLD), HANDLERS))
    await worker.drain()
    await worker.stop()
    old = await any_yard.submit("changing", 2, value=1)
    worker = await any_yard.start(paths=(version(NEW), HANDLERS))
    assert [task.result for task in await any_yard.ends(old)] == [b'"new"'] * 2
    await worker.drain()
    await worker.stop()
    newer = await any_yard.submit("changing", 3, value=1, more=2)
    worker = await any_yard.start(paths=(version(STRICT), HANDLERS), slots=2)
    strict = await any_yard.one("changing", other="x")
    assert (await any_yard.end(strict)).result == b'"strict"'
    await any_yard.come(newer, Status.QUEUED)
    head = await any_yard.store.head()
    await any_yard.end(await any_yard.one("quick"))
    assert await any_yard.store.head() == head + 3, "they are claimed again and again"
    for id in newer:
        task = await any_yard.task(id)
        assert (task.status, task.attempt, task.history, task.failures) == (Status.QUEUED, 0, (), 0)


async def test_reloaded_types_take_over_while_what_runs_ends_in_the_old_ones(any_yard: Yard) -> None:
    path = write(any_yard.folder, OLD)
    worker = await any_yard.start(paths=(path, HANDLERS), slots=3)
    file, marks = any_yard.mark(), [any_yard.mark(), any_yard.mark()]
    running = [
        await any_yard.one("wait_for", file=file, mark=marks[0]),
        await any_yard.one("wait_for_def", file=file, mark=marks[1]),
    ]
    for mark in marks:
        await any_yard.begun(mark)
    write(any_yard.folder, STRICT)
    worker.reload()

    async def knows_it() -> bool:
        info = await any_yard.manager.types.find("changing")
        return any_yard.manager.types.shape(info).description != {} and "other" in str(info.payload)

    await until(knows_it)
    assert (await any_yard.end(await any_yard.one("changing", other="x"))).result == b'"strict"'
    Path(file).touch()
    assert {(task.status, task.attempt) for task in await any_yard.ends(running)} == {(Status.DONE, 1)}


async def test_a_worker_that_waits_for_work_takes_up_a_new_type_at_once(any_yard: Yard) -> None:
    """The claim that waits in the store must not go on asking for the types there were before."""
    path = write(any_yard.folder, OLD)
    worker = await any_yard.start(paths=(path, HANDLERS))
    await any_yard.end(await any_yard.one("quick"))
    (any_yard.folder / "changing.py").write_text("from dolgo import task\n" + OLD + OLD.replace("changing", "added"))
    worker.reload()

    async def knows_it() -> bool:
        return "added" in {info.name for info in await any_yard.manager.types.all()}

    await until(knows_it)
    assert (await any_yard.end(await any_yard.one("added", value=1), within=5)).status is Status.DONE


async def test_two_reloads_in_a_row_end_with_the_files_as_they_are_last(yard: Yard) -> None:
    path = write(yard.folder, OLD)
    worker = await yard.start(paths=(path, HANDLERS))
    write(yard.folder, NEW)
    worker.reload()
    await asyncio.sleep(0.02)
    write(yard.folder, STRICT)
    worker.reload()

    async def knows_it() -> bool:
        return "other" in str((await yard.manager.types.find("changing")).payload)

    await until(knows_it)
    assert (await yard.end(await yard.one("changing", other="x"))).result == b'"strict"'
    await until(lambda: len([berth for berth in worker._crew._berths if berth.kind == "loop"]) == 1)


async def test_a_reload_that_cannot_be_loaded_leaves_the_old_types_at_work(yard: Yard) -> None:
    path = write(yard.folder, OLD)
    worker = await yard.start(paths=(path, HANDLERS))
    Path(path).write_text("import os\nos._exit(3)\n")
    worker.reload()
    await until(lambda: len(worker._crew._berths) == 2)
    await until(lambda: len(worker._crew._berths) == 1)
    assert (await yard.end(await yard.one("changing", value=1))).result == b'"old"'


# -- gates


async def test_a_limit_holds_over_all_workers_and_is_used_whatever_else_there_is_to_do(any_yard: Yard) -> None:
    """Among more short tasks than can be claimed ahead."""
    for _ in range(2):
        await any_yard.start(slots=3)
    log = any_yard.mark()
    await any_yard.ends(await any_yard.submit("quick", 200))
    await any_yard.manager.limit("few", {"max_running": 2})
    payload = b'{"seconds":0.02,"log":"%s"}' % log.encode()
    submissions = [Submission("stay", payload, queue="few"), Submission("stay_def", payload, queue="few")] * 10
    ids = await any_yard.send(*submissions, *[Submission("quick")] * 500)
    tasks = await any_yard.ends(ids)
    assert {(task.status, task.attempt) for task in tasks} == {(Status.DONE, 1)}
    assert most_at_once(log) == 2


async def test_what_a_rate_holds_back_is_run_in_its_time_beside_types_that_are_claimed_ahead(any_yard: Yard) -> None:
    await any_yard.start(slots=3)
    await any_yard.ends(await any_yard.submit("quick", 20))  # measured as short: so there are two claims at a time from now on
    await any_yard.manager.limit("slow", {"rate": 4.0})
    ids = await any_yard.send(*[Submission("stay", b'{"seconds":0.0,"log":"/dev/null"}', queue="slow")] * 4)
    assert {task.status for task in await any_yard.ends(ids, within=10)} == {Status.DONE}
