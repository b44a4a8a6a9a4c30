"""What has to stop: because its time is over, because somebody asked, because its lease is another's. And that it does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dolgo.task import crew as crew_room
from dolgo.task.manager import Submission
from dolgo.task.types import ErrorCode, Outcome, Status, Task
from dolgo.task.worker import Worker
from tests.task.yard import HANDLERS, Yard, gone, history, pids, until

pytestmark = pytest.mark.anyio

GRACE = 0.3  # seconds
WAYS = str(Path(__file__).with_name("ways.py"))


async def timed(yard: Yard, type: str, timeout: float, *, retries: int = 0, **payload: object) -> str:
    """The id of a task with a timeout."""
    return (await yard.send(Submission(type, msgspec.json.encode(payload), timeout=timeout, retries=retries)))[0]


def outcome(task: Task) -> tuple[Status, ErrorCode | None, int, int]:
    return task.status, task.error.code if task.error else None, task.failures, task.losses


def stopping(worker: Worker) -> int:
    """How many attempts have been asked to stop and run on."""
    return sum(aboard.kill_at is not None for berth in worker._crew._berths for aboard in berth.aboard.values())


# -- timeouts


async def test_what_takes_too_long_has_timed_out_and_hears_of_it_and_its_child_goes_on(yard: Yard) -> None:
    await yard.start(grace=60.0)
    mark = yard.mark()
    task = await yard.end(await timed(yard, "nap", 0.2, seconds=60, mark=mark))
    assert outcome(task) == (Status.FAILED, ErrorCode.TIMEOUT, 1, 0)
    assert task.error is not None
    assert task.error.message == "It took longer than its timeout of 0.2 s."
    assert pids(mark + ".cancelled") == pids(mark)
    again = yard.mark()
    await yard.end(await yard.one("nap", seconds=0, mark=again))
    assert pids(again) == pids(mark)


async def test_a_timeout_is_a_failure_after_which_another_attempt_may_follow(yard: Yard) -> None:
    await yard.start()
    task = await yard.end(await timed(yard, "nap", 0.1, retries=2, seconds=60))
    assert outcome(task) == (Status.FAILED, ErrorCode.TIMEOUT, 3, 0)
    assert history(task) == [(1, Outcome.TIMEOUT), (2, Outcome.TIMEOUT)]


async def test_what_ends_in_time_knows_nothing_of_its_timeout(yard: Yard) -> None:
    await yard.start()
    ids = [await timed(yard, "nap", 60.0, seconds=0.25), await timed(yard, "sleep", 60.0, seconds=0.25)]
    assert {outcome(task) for task in await yard.ends(ids)} == {(Status.DONE, None, 0, 0)}


async def test_a_result_in_the_grace_counts(yard: Yard) -> None:
    await yard.start()
    task = await yard.end(await timed(yard, "finish_quickly", 0.1))
    assert (outcome(task), task.result) == ((Status.DONE, None, 0, 0), b'"in time"')


async def test_an_error_in_the_grace_is_a_timeout_all_the_same(yard: Yard) -> None:
    await yard.start()
    assert outcome(await yard.end(await timed(yard, "stumble", 0.1))) == (Status.FAILED, ErrorCode.TIMEOUT, 1, 0)


async def test_the_time_of_a_task_begins_with_its_handler(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while it waits for a child to be started."""
    worker = await yard.start(slots=1)
    monkeypatch.setattr(crew_room, "RESTART", (0.5,))
    task = await yard.end(await timed(yard, "quick_def", 0.2))
    assert outcome(task) == (Status.DONE, None, 0, 0)
    assert worker.running == 0


# -- killed


async def test_the_neighbours_of_what_had_to_be_killed_run_again_uncharged(yard: Yard) -> None:
    worker = await yard.start(grace=GRACE)
    marks = [yard.mark(), yard.mark()]
    neighbour = await yard.one("nap", seconds=0.5, mark=marks[0])
    await yard.begun(marks[0])
    guilty = await timed(yard, "block", 0.1, mark=marks[1])
    assert outcome(await yard.end(guilty)) == (Status.FAILED, ErrorCode.TIMEOUT, 1, 0)
    task = await yard.end(neighbour)
    assert (outcome(task), history(task), task.suspect) == ((Status.DONE, None, 0, 0), [(1, Outcome.LOST)], False)
    assert pids(marks[0])[0] == pids(marks[1])[0]
    await until(lambda: gone(pids(marks[1])[0]))
    assert worker._crew._deaths["loop"] == 0


async def test_a_lease_that_was_lost_frees_its_slot_even_if_its_handler_holds_out(yard: Yard) -> None:
    worker = await yard.start(grace=GRACE, lease=0.6)
    mark = yard.mark()
    id = await yard.one("hold_out", mark=mark)
    (pid,) = await yard.begun(mark)
    worker.draining = True  # it claims nothing more
    assert await yard.store.reclaim([worker.id], 10) == 1
    await until(lambda: gone(pid))
    await until(lambda: (worker.running, len(worker._leases)) == (0, 0))
    task = await yard.task(id)
    assert (task.status, history(task)) == (Status.QUEUED, [(1, Outcome.LOST)])


async def test_no_handler_runs_on_when_the_store_is_away_for_longer_than_a_lease(yard: Yard) -> None:
    await yard.start(grace=GRACE, lease=0.5)
    mark = yard.mark()
    id = await yard.one("hold_out", mark=mark)
    (pid,) = await yard.begun(mark)
    yard.store.down = True
    await until(lambda: gone(pid))
    yard.store.down = False
    await yard.begun(mark, 2)
    await yard.manager.cancel(id)
    task = await yard.end(id)
    assert (outcome(task)[0], task.losses, history(task)) == (Status.CANCELLED, 0, [(1, Outcome.GIVEN_BACK)])


async def test_what_was_not_asked_to_stop_is_not_killed_with_an_old_child(yard: Yard) -> None:
    """A child that was replaced ends what it runs, however long that takes."""
    worker = await yard.start(grace=0.0)
    file, mark = yard.mark(), yard.mark()
    old = await yard.one("wait_for", file=file, mark=mark)
    await yard.begun(mark)
    worker.reload()
    await yard.end(await yard.one("quick"))
    Path(file).touch()
    assert outcome(await yard.end(old)) == (Status.DONE, None, 0, 0)


async def test_what_was_asked_to_stop_has_stopped_when_the_time_to_drain_is_over(yard: Yard) -> None:
    worker = await yard.start(grace=60.0, drain_timeout=0.2)
    cancelled, late = yard.mark(), yard.mark()
    ids = [await yard.one("hold_out", mark=cancelled), await timed(yard, "hold_out", 0.05, mark=late)]
    for mark in (cancelled, late):
        await yard.begun(mark)
    await yard.manager.cancel(ids[0])
    await until(lambda: stopping(worker) == 2)
    await worker.drain()
    tasks = [await yard.task(id) for id in ids]
    assert [outcome(task)[:3] for task in tasks] == [
        (Status.CANCELLED, ErrorCode.CANCELLED, 0), (Status.FAILED, ErrorCode.TIMEOUT, 1),
    ]  # fmt: skip
    assert len(worker._leases) == 0


async def test_a_child_that_threads_of_handlers_keep_from_ending_is_killed(yard: Yard) -> None:
    worker = await yard.start(grace=GRACE, paths=(HANDLERS, WAYS))
    pid = int((await yard.end(await yard.one("leaves_a_thread"))).result or b"0")
    worker.reload()
    await until(lambda: gone(pid))
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE


# -- with what they started


async def test_a_process_that_a_handler_started_is_gone_with_it_and_the_handler_cleans_up(yard: Yard) -> None:
    worker = await yard.start(grace=60.0, paths=(HANDLERS, WAYS))
    mark = yard.mark()
    task = await yard.end(await timed(yard, "cleans_up", 0.5, mark=mark))
    assert outcome(task) == (Status.FAILED, ErrorCode.TIMEOUT, 1, 0)
    child, other = pids(mark)
    assert pids(mark + ".cleaned") == [child]
    await until(lambda: gone(child) and gone(other))
    assert (await yard.end(await yard.one("quick_def"))).status is Status.DONE
    assert worker._crew._deaths["single"] == 0


async def test_a_thread_that_looks_whether_it_is_to_stop_leaves_its_child_at_work(yard: Yard) -> None:
    worker = await yard.start(grace=60.0, paths=(HANDLERS, WAYS))
    mark = yard.mark()
    id = await yard.one("looks_up", mark=mark)
    (pid,) = await yard.begun(mark)
    await yard.manager.cancel(id)
    assert (await yard.end(id)).status is Status.CANCELLED
    berth = worker._crew._loop_berth
    assert berth is not None
    assert (berth.pid, berth.retired) == (pid, False)


async def test_the_others_in_a_child_with_a_thread_that_holds_out_end_there(yard: Yard) -> None:
    """Nobody is killed for it: the child takes nothing more, and ends with the last of what else it runs."""
    worker = await yard.start(grace=GRACE, slots=2, paths=(HANDLERS, WAYS))
    file, marks = yard.mark(), [yard.mark(), yard.mark()]
    other = await yard.one("wait_for", file=file, mark=marks[0])
    held_out = await timed(yard, "in_thread", 0.1, how="endless", mark=marks[1])
    (pid,) = await yard.begun(marks[0])
    assert outcome(await yard.end(held_out)) == (Status.FAILED, ErrorCode.TIMEOUT, 1, 0)
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE
    assert pids(marks[1]) == [pid]
    Path(file).touch()
    task = await yard.end(other)
    assert (outcome(task), task.history) == ((Status.DONE, None, 0, 0), ())
    await until(lambda: gone(pid))
    await until(lambda: worker.running == 0)
