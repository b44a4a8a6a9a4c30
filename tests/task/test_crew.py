"""Children that die, block, and are missing: whose fault it was, who is charged, and who goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from dolgo.runner.link import Child
from dolgo.task import crew as crew_room
from dolgo.task.manager import Submission
from dolgo.task.types import ErrorCode, Outcome, Status, Task
from dolgo.task.worker import Worker
from tests.task.yard import HANDLERS, Yard, gone, history, kill, pids, until

pytestmark = pytest.mark.anyio


def lost(task: Task) -> list[int]:
    """The numbers of the attempts that were lost."""
    return [number for number, outcome in history(task) if outcome is Outcome.LOST]


# -- deaths


@pytest.mark.parametrize("type", ["nap", "sleep"])
async def test_a_task_that_ran_alone_in_a_child_that_dies_is_charged_and_runs_again(any_yard: Yard, type: str) -> None:
    await any_yard.start()
    mark = any_yard.mark()
    id = await any_yard.one(type, seconds=0.3, mark=mark)
    kill((await any_yard.begun(mark))[0])
    task = await any_yard.end(id)
    assert (task.status, task.attempt, task.failures, task.losses, lost(task)) == (Status.DONE, 2, 0, 1, [1])


@pytest.mark.parametrize(("type", "how", "said"), [
    ("die", "SIGKILL", "was killed by SIGKILL"),
    ("die", "exit", "exited with code 7"),
    ("die_def", "segfault", "was killed by SIGSEGV"),
    ("die_def", "exit", "exited with code 7"),
])  # fmt: skip
async def test_the_third_child_a_task_takes_with_it_is_the_last(any_yard: Yard, type: str, how: str, said: str) -> None:
    await any_yard.start()
    mark = any_yard.mark()
    task = await any_yard.end(await any_yard.one(type, how=how, mark=mark))
    assert (task.status, task.attempt, task.failures, task.losses) == (Status.FAILED, 3, 0, 3)
    assert task.error is not None
    assert (task.error.code, task.error.attempt) == (ErrorCode.WORKER_LOST, 3)
    assert said in task.error.message
    assert len(set(pids(mark))) == 3
    assert (await any_yard.end(await any_yard.one("quick"))).status is Status.DONE


async def test_fifty_tasks_whose_child_dies_run_each_alone_next_and_none_is_charged(any_yard: Yard) -> None:
    await any_yard.start(slots=50)
    mark = any_yard.mark()
    ids = await any_yard.submit("nap", 50, seconds=0.5, mark=mark)
    (loop,) = set(await any_yard.begun(mark, 50))
    kill(loop)
    await any_yard.come(ids, Status.QUEUED, Status.IN_PROGRESS)
    tasks = await any_yard.ends(ids)
    assert {(task.status, task.attempt, task.failures, task.losses) for task in tasks} == {(Status.DONE, 2, 0, 0)}
    assert {tuple(lost(task)) for task in tasks} == {(1,)}
    assert not any(task.suspect for task in tasks)
    assert loop not in pids(mark)[50:]


async def test_a_task_that_kills_its_child_harms_its_neighbours_once_at_most(any_yard: Yard) -> None:
    await any_yard.start(slots=4)
    mark = any_yard.mark()
    neighbours = await any_yard.submit("nap", 3, seconds=0.4, mark=mark)
    await any_yard.begun(mark, 3)
    guilty = await any_yard.end(await any_yard.one("die", how="exit"))
    assert (guilty.status, guilty.losses) == (Status.FAILED, 3)
    tasks = await any_yard.ends(neighbours)
    assert {(task.status, task.attempt, task.losses) for task in tasks} == {(Status.DONE, 2, 0)}


async def test_a_single_child_that_dies_is_noticed_by_its_task_alone(yard: Yard) -> None:
    await yard.start(slots=3)
    file, marks = yard.mark(), [yard.mark(), yard.mark(), yard.mark()]
    ids = [await yard.one("wait_for_def", file=file, mark=mark) for mark in marks[:2]] + [
        await yard.one("wait_for", file=file, mark=marks[2])
    ]
    for mark in marks:
        await yard.begun(mark)
    kill(pids(marks[0])[0])
    await yard.begun(marks[0], 2)
    Path(file).touch()
    tasks = await yard.ends(ids)
    assert [(task.status, task.attempt, task.losses) for task in tasks] == [
        (Status.DONE, 2, 1), (Status.DONE, 1, 0), (Status.DONE, 1, 0),
    ]  # fmt: skip


async def test_what_had_not_begun_in_a_child_that_dies_is_not_suspected(yard: Yard) -> None:
    """Jobs wait in the child behind the slots; only those that had begun can have been its end."""
    worker = await yard.start(slots=2)
    await yard.ends(await yard.submit("quick", 200))
    mark = yard.mark()
    submissions = [Submission("die_once", b'{"mark":"%s"}' % mark.encode(), priority=9)] + [Submission("quick")] * 300
    ids = await yard.send(*submissions)
    tasks = await yard.ends(ids)
    assert {task.status for task in tasks} == {Status.DONE}
    assert tasks[0].attempt == 2
    neighbours = [task for task in tasks[1:] if history(task)]
    assert len(neighbours) <= 1, "more were taken for begun than there are slots"
    assert all(task.losses == 0 for task in tasks[1:])
    await until(lambda: worker.running == 0)


async def test_slots_stay_true_whatever_dies(yard: Yard) -> None:
    worker = await yard.start(slots=3)
    for how in ("exit", "SIGKILL"):
        await yard.ends([await yard.one("die", how=how), await yard.one("die_def", how=how)])
    assert {task.status for task in await yard.ends(await yard.submit("quick", 50))} == {Status.DONE}
    await until(
        lambda: (worker.running, len(worker._leases), worker._crew._slots_held(), len(worker._crew._line)) == (0, 0, 0, 0)
    )


async def test_a_child_that_was_killed_while_idle_is_replaced(yard: Yard) -> None:
    worker = await yard.start()
    await yard.end(await yard.one("quick_def"))
    for berth in list(worker._crew._berths):
        assert berth.child is not None
        kill(berth.child.pid)
    for type in ("quick", "quick_def"):
        task = await yard.end(await yard.one(type))
        assert (task.status, task.losses) == (Status.DONE, 0)


async def test_a_worker_that_is_killed_has_its_tasks_taken_up_by_another(any_yard: Yard) -> None:
    """As upkeep does it when it finds the process gone; what the dead one still says changes nothing."""
    first = await any_yard.start()
    file, mark = any_yard.mark(), any_yard.mark()
    ids = await any_yard.submit("wait_for", 3, file=file, mark=mark)
    await any_yard.begun(mark, 3)
    first.draining = True
    await any_yard.start()
    assert await any_yard.store.reclaim([first.id], 100) == 3
    await any_yard.begun(mark, 6)
    Path(file).touch()
    tasks = await any_yard.ends(ids)
    assert {(task.status, task.attempt, task.losses, task.worker) for task in tasks} == {(Status.DONE, 2, 0, "worker-2")}


# -- blocked


async def test_a_blocked_loop_keeps_nobody_waiting_for_long_and_still_ends_its_own(any_yard: Yard) -> None:
    await any_yard.start(slots=4)
    file, mark = any_yard.mark(), any_yard.mark()
    blocking = await any_yard.one("block", file=file, mark=mark)
    (blocked,) = await any_yard.begun(mark)
    tasks = await any_yard.ends(await any_yard.submit("quick", 10))
    assert {(task.status, task.attempt, task.losses, task.history) for task in tasks} == {(Status.DONE, 1, 0, ())}
    assert (await any_yard.task(blocking)).status is Status.IN_PROGRESS
    Path(file).touch()
    task = await any_yard.end(blocking)
    assert (task.status, task.attempt, task.result) == (Status.DONE, 1, b'"rested"')
    await until(lambda: gone(blocked))


async def test_every_loop_can_be_blocked_and_the_slots_hold(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_room, "START_WITHIN", 0.2)
    worker = await yard.start(slots=3)
    file, marks, ids = yard.mark(), [yard.mark() for _ in range(3)], []
    for mark in marks:
        ids += await yard.submit("block", file=file, mark=mark)
        await yard.begun(mark)
    waiting = await yard.one("quick")
    assert worker.running == 3
    assert len({pid for mark in marks for pid in pids(mark)}) == 3
    Path(file).touch()
    assert {task.status for task in await yard.ends([*ids, waiting])} == {Status.DONE}


async def test_a_blocked_child_is_killed_when_the_time_to_drain_is_over(yard: Yard) -> None:
    worker = await yard.start(drain_timeout=0.1)
    mark = yard.mark()
    id = await yard.one("block", mark=mark)
    (pid,) = await yard.begun(mark)
    await worker.drain()
    assert gone(pid)
    assert (await yard.task(id)).status is Status.QUEUED


# -- children that do not come


async def test_single_children_that_cannot_be_started_are_not_tried_without_a_pause(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await yard.start(slots=2)
    spawn, tries = Child.spawn, []

    async def refuse(kind: str, *args: Any, **kwargs: Any) -> Child:
        if kind == "single":
            tries.append(time.monotonic())
            raise OSError("no processes left")
        return await spawn(kind, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Child, "spawn", refuse)
    id = await yard.one("quick_def")
    await until(lambda: len(tries) >= 2)
    await asyncio.sleep(0.5)
    assert len(tries) <= 4
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE
    monkeypatch.setattr(Child, "spawn", spawn)
    assert (await yard.end(id)).attempt == 1


async def test_a_fault_in_starting_a_child_does_not_leave_the_worker_idle(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_room, "RESTART", (0.0, 0.01))
    worker = await yard.start()
    spawn, faults = Child.spawn, iter(range(2))

    async def broken(*args: Any, **kwargs: Any) -> Child:
        if next(faults, None) is not None:
            raise ZeroDivisionError
        return await spawn(*args, **kwargs)

    monkeypatch.setattr(Child, "spawn", broken)
    berth = worker._crew._loop_berth
    assert berth is not None
    assert berth.child is not None
    kill(berth.child.pid)
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE


async def test_def_handlers_go_on_while_the_loop_child_is_away(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await yard.start()
    await yard.end(await yard.one("quick_def"))
    monkeypatch.setattr(crew_room, "RESTART", (60.0,))
    berth = worker._crew._loop_berth
    assert berth is not None
    assert berth.child is not None
    kill(berth.child.pid)
    await until(lambda: not worker._crew.ready)
    waiting = await yard.one("quick")
    assert {task.status for task in await yard.ends(await yard.submit("quick_def", 30))} == {Status.DONE}
    assert (await yard.task(waiting)).status is Status.QUEUED


async def test_a_child_that_dies_young_again_and_again_is_restarted_ever_later(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = yard.folder / "later_poison.py"
    poison.write_text("")
    worker: Worker = await yard.start(paths=(HANDLERS, str(poison)))
    monkeypatch.setattr(crew_room, "RESTART", (0.0, 0.05, 60.0))
    poison.write_text("import os\nos._exit(3)\n")
    berth = worker._crew._loop_berth
    assert berth is not None
    assert berth.child is not None
    kill(berth.child.pid)
    await until(lambda: worker._crew._deaths["loop"] >= 2)
    assert not worker._crew.ready
    poison.write_text("")
    worker.reload()  # somebody has mended it: no pause any more
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE


async def test_children_of_a_reload_are_not_held_against_the_next_ones(yard: Yard) -> None:
    worker = await yard.start(slots=3)
    await yard.ends(await yard.submit("sleep", 3, seconds=0.05))
    worker.reload()
    await until(lambda: len(worker._crew._berths) == 1)
    assert set(worker._crew._deaths.values()) == {0}


async def test_of_two_loop_children_that_load_at_once_the_one_started_last_stays(yard: Yard) -> None:
    """Here the one in charge dies while another loads the files anew, and is replaced before that has been done."""
    hold, go, slow = yard.folder / "hold", yard.folder / "go", yard.folder / "slow.py"
    slow.write_text(f"""
import pathlib, time
try:
    pathlib.Path({str(hold)!r}).unlink()
    while not pathlib.Path({str(go)!r}).exists():
        time.sleep(0.005)
except FileNotFoundError:
    pass
""")
    worker = await yard.start(paths=(HANDLERS, str(slow)))
    crew = worker._crew
    hold.touch()
    worker.reload()
    await until(lambda: not hold.exists())
    first = crew._loop_berth
    assert first is not None
    kill(int(first.pid))
    await until(lambda: crew._loop_berth is not first and crew.ready)
    last = crew._loop_berth
    go.touch()
    await until(lambda: crew._berths == {last})
    assert crew._loop_berth is last
    assert (await yard.end(await yard.one("quick"))).status is Status.DONE


async def test_single_children_without_work_end(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await yard.start()
    await yard.end(await yard.one("quick_def"))
    assert len(worker._crew._berths) == 2
    monkeypatch.setattr(crew_room, "IDLE_SINGLES", 0.0)
    await until(lambda: len(worker._crew._berths) == 1)
    assert (await yard.end(await yard.one("quick_def"))).status is Status.DONE


async def test_there_are_no_more_single_children_than_may_be(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_room, "MOST_SINGLES", 2)
    worker = await yard.start(slots=8)
    file, mark = yard.mark(), yard.mark()
    blocking = await yard.submit("wait_for_def", 6, file=file, mark=mark)
    await yard.begun(mark, 2)
    assert {task.status for task in await yard.ends(await yard.submit("quick", 50))} == {Status.DONE}

    async def two_of_them_run() -> bool:  # what was claimed ahead with the short ones is given back
        return sorted(await yard.statuses(blocking)) == ["in_progress"] * 2 + ["queued"] * 4

    await until(two_of_them_run)
    assert len(worker._crew._berths) == 3
    Path(file).touch()
    assert {task.status for task in await yard.ends(blocking)} == {Status.DONE}
    assert len(set(pids(mark))) == 2


async def test_a_drained_crew_replaces_nobody(yard: Yard) -> None:
    worker = await yard.start(slots=2)
    file, mark = yard.mark(), yard.mark()
    id = await yard.one("wait_for", file=file, mark=mark)
    (pid,) = await yard.begun(mark)
    draining = asyncio.create_task(worker.drain())
    await until(lambda: worker._crew._draining)
    kill(pid)
    await asyncio.wait_for(draining, 5)
    task = await yard.task(id)
    assert (task.status, task.losses) == (Status.QUEUED, 1)
    assert not worker._crew._berths
