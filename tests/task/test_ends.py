"""Fourteen ways a handler can end, in each isolation: what becomes of the task, of its process, and of those after it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dolgo.task import berth as berth_room
from dolgo.task.manager import Submission
from dolgo.task.types import ErrorCode, Outcome, Status, Task
from dolgo.task.worker import Worker
from tests.task.yard import HANDLERS, Yard, gone, history, pids, until

pytestmark = pytest.mark.anyio

WAYS = str(Path(__file__).with_name("ways.py"))
ISOLATIONS = ["in_loop", "in_single", "in_thread", "in_process"]
GRACE = 0.1  # seconds
DEAF_AFTER = 0.2  # seconds
TIMEOUT = 0.5  # seconds, of what would not end

# By how it ends: status, code of the error, outcomes of the attempts before the last. Each may be tried again after a failure, so
# what is tried once shows that another try was not given.
ENDS = {
    "return": (Status.DONE, None, []),
    "raise": (Status.FAILED, ErrorCode.HANDLER_ERROR, [Outcome.FAILED]),
    "Fail": (Status.FAILED, ErrorCode.HANDLER_ERROR, []),
    "Retry": (Status.DONE, None, [Outcome.RETRY]),
    "SystemExit": (Status.FAILED, ErrorCode.HANDLER_ERROR, [Outcome.FAILED]),
    "KeyboardInterrupt": (Status.FAILED, ErrorCode.HANDLER_ERROR, [Outcome.FAILED]),
    "CancelledError": (Status.FAILED, ErrorCode.HANDLER_ERROR, [Outcome.FAILED]),
    "memory": (Status.FAILED, ErrorCode.HANDLER_ERROR, [Outcome.FAILED]),
    "unserialisable": (Status.FAILED, ErrorCode.UNSERIALISABLE_RESULT, []),
}
DEATHS = {
    "os._exit": "exited with code 7",
    "segfault": "was killed by SIGSEGV",
    "kill": "was killed by SIGKILL",
}
NO_ENDS = ["blocked", "endless"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not stop is killed soon."""
    monkeypatch.setattr(berth_room, "DEAF_AFTER", DEAF_AFTER)


async def started(yard: Yard, **options: float) -> Worker:
    return await yard.start(slots=2, grace=GRACE, paths=(HANDLERS, WAYS), **options)


async def ended(yard: Yard, type: str, how: str, *, timeout: float | None = None, retries: int = 1) -> tuple[Task, list[int]]:
    """The task when it has ended, and the processes it ran in."""
    mark = yard.mark()
    payload = msgspec.json.encode({"how": how, "mark": mark})
    (id,) = await yard.send(Submission(type, payload, timeout=timeout, retries=retries))
    return await yard.end(id), pids(mark)


async def all_is_well(yard: Yard, worker: Worker, type: str) -> None:
    """Nothing is held, every slot is free, and the next task runs."""
    crew = worker._crew
    await until(lambda: (worker.running, len(worker._leases), crew._slots_held(), len(crew._line)) == (0, 0, 0, 0))
    assert (await yard.end(await yard.one(type.replace("in_", "next_in_")))).status is Status.DONE


def code(task: Task) -> ErrorCode | None:
    return task.error.code if task.error else None


@pytest.mark.parametrize("type", ISOLATIONS)
async def test_what_ends_by_itself_harms_nobody(yard: Yard, type: str) -> None:
    worker = await started(yard)
    processes = set()
    for how, (status, error, before) in ENDS.items():
        task, ran_in = await ended(yard, type, how)
        assert (task.status, code(task), [outcome for _, outcome in history(task)]) == (status, error, before), how
        assert (task.attempt, len(ran_in), task.losses) == (len(before) + 1, len(before) + 1, 0), how
        assert (task.result is not None) == (status is Status.DONE), how
        processes.update(ran_in)
    assert len(processes) == 1, "a child has died of a handler that only ended"
    await all_is_well(yard, worker, type)


@pytest.mark.parametrize("type", ISOLATIONS)
async def test_what_takes_its_child_with_it_three_times_is_lost(yard: Yard, type: str) -> None:
    worker = await started(yard)
    for how, said in DEATHS.items():
        task, ran_in = await ended(yard, type, how)
        assert (task.status, code(task), task.attempt, task.failures, task.losses) == (
            Status.FAILED, ErrorCode.WORKER_LOST, 3, 0, 3,
        ), how  # fmt: skip
        assert [outcome for _, outcome in history(task)] == [Outcome.LOST] * 2, how
        assert said in (task.error.message if task.error else ""), how
        assert len(set(ran_in)) == 3, how
        assert all(map(gone, ran_in)), how
    await all_is_well(yard, worker, type)


@pytest.mark.parametrize("type", ISOLATIONS)
async def test_what_does_not_end_is_stopped_when_its_time_is_over(yard: Yard, type: str) -> None:
    worker = await started(yard)
    for how in NO_ENDS:
        task, ran_in = await ended(yard, type, how, timeout=TIMEOUT)
        assert (task.status, code(task), task.attempt, task.failures, task.losses) == (
            Status.FAILED, ErrorCode.TIMEOUT, 2, 2, 0,
        ), how  # fmt: skip
        assert [outcome for _, outcome in history(task)] == [Outcome.TIMEOUT], how
        assert len(set(ran_in)) == 2, how
        await until(lambda ran_in=ran_in: all(map(gone, ran_in)))  # type: ignore[misc]
    await all_is_well(yard, worker, type)
    assert worker._crew._deaths["loop"] == 0


@pytest.mark.parametrize("type", ISOLATIONS)
async def test_what_does_not_end_is_stopped_when_it_is_cancelled(yard: Yard, type: str) -> None:
    worker = await started(yard)
    for how in NO_ENDS:
        mark = yard.mark()
        id = await yard.one(type, how=how, mark=mark)
        ran_in = await yard.begun(mark)
        await yard.manager.cancel(id)
        task = await yard.end(id)
        assert (task.status, code(task), task.attempt, task.history) == (Status.CANCELLED, ErrorCode.CANCELLED, 1, ()), how
        await until(lambda ran_in=ran_in: all(map(gone, ran_in)))  # type: ignore[misc]
    await all_is_well(yard, worker, type)
