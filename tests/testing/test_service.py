"""`dolgo.testing`: handlers run in this process as they would in a service, with time in hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dolgo import Context, Fail, Retry, SyncContext, Task, task
from dolgo.client import TaskCancelled, TaskFailed, WaitTimeout
from dolgo.errors import BadTaskType, InvalidPayload, InvalidRequest, UnknownType
from dolgo.task.types import Status
from dolgo.testing import Service, Stuck, run

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


@task
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


class Multiply(Task):
    """Multiply two numbers."""

    a: int
    b: int = 2

    async def run(self) -> int:
        return self.a * self.b


@task(retries=2, backoff=[10, 60])
def flaky(ctx: SyncContext, fails: int) -> int:
    """Raise so many times."""
    ctx.log.info("attempt %d", ctx.attempt)
    ctx.progress(ctx.attempt, 3)
    if ctx.attempt <= fails:
        raise ConnectionError("busy")
    return ctx.attempt


@task
async def poll(ctx: Context, times: int) -> int:
    """Ask to be tried again so many times."""
    if ctx.attempt <= times:
        raise Retry(3600)
    return ctx.attempt


@task
def hopeless() -> None:
    """Fail for good."""
    raise Fail("no use") from KeyError("x")


@task
async def split(ctx: Context, numbers: list[int]) -> list[str]:
    """Submit a task for each number, and one that collects."""
    ids = [await ctx.submit("add", {"a": number}) for number in numbers]
    return [*ids, await ctx.submit("collect", depends_on=ids)]


@task
def collect(ctx: SyncContext) -> int:
    """Add up what the tasks before this one have come to."""
    return sum(parent.result for parent in ctx.parents if parent.status == "done")


@task(retries=1, backoff=0)
async def in_steps(ctx: Context) -> list[int]:
    """Fail once between two steps."""
    first = await ctx.step("first", lambda: ctx.attempt)
    if ctx.attempt == 1:
        raise ValueError("between")
    return [first, await ctx.step("second", lambda: ctx.attempt)]


@task(timeout=0.05)
async def slow() -> None:
    """Take too long."""
    await asyncio.sleep(600)


@task(timeout=0.05, retries=1, backoff=0)
async def first_raises(ctx: Context) -> None:
    """Raise, and then take too long."""
    if ctx.attempt == 1:
        raise ValueError("first")
    await asyncio.sleep(600)


@task
async def forever(ctx: Context) -> None:
    """Clean up, once it is told to stop."""
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log.info("cleaned up")


@task
def watchful(ctx: SyncContext) -> None:
    """Look whether it is to stop."""
    while not ctx.cancelled:
        threading.Event().wait(0.005)


BLOCKS = """
import time
from dolgo import task
from dolgo.testing import Service

@task
async def blocks() -> None:
    time.sleep(600)

with Service([blocks], patience=0.3) as service:
    service.result(service.submit(blocks))
"""

TYPES: list[Any] = [add, Multiply, flaky, poll, hopeless, split, collect, in_steps, slow, forever, watchful]


@pytest.fixture
def service() -> Iterator[Service]:
    """A service with all these types."""
    with Service(TYPES, now=BEGIN) as service:
        yield service


def passed(service: Service) -> float:
    return (service.now - BEGIN).total_seconds()


# -- run


def test_a_handler_is_run_with_its_payload() -> None:
    assert (run(add, a=1), run(add, a=1, b=5), run(Multiply, a=4)) == (2, 6, 8)


def test_a_payload_that_does_not_fit_is_refused_as_at_the_door() -> None:
    with pytest.raises(InvalidPayload) as raised:
        run(add, a="x", c=1)
    assert {problem.pointer for problem in raised.value.problems} == {"/payload/a", "/payload/c"}


def test_what_the_handler_raised_is_the_cause_of_the_failure() -> None:
    with pytest.raises(TaskFailed, match="busy") as raised:
        run(flaky, fails=5)
    assert isinstance(raised.value.__cause__, ConnectionError)
    assert len(raised.value.task.attempts) == 3


def test_what_an_earlier_attempt_raised_is_no_cause() -> None:
    with pytest.raises(TaskFailed, match="timeout") as raised:
        run(first_raises)
    assert raised.value.error.code == "timeout"
    assert not isinstance(raised.value.__cause__, ValueError)


def test_what_is_no_task_type_is_refused() -> None:
    with pytest.raises(BadTaskType, match="mark it with @task"):
        run(len)


def test_it_works_where_a_loop_runs_already() -> None:
    async def test() -> int:
        return int(run(Multiply, a=1))

    assert asyncio.run(test()) == 2


# -- time


def test_nothing_runs_and_no_time_passes_unasked(service: Service) -> None:
    id = service.submit(add, {"a": 1})
    assert (service.get(id).status, passed(service)) == (Status.QUEUED, 0)
    service.run_until_idle()
    assert (service.get(id).result, passed(service)) == (2, 0)


def test_retries_wait_as_their_backoff_has_it(service: Service) -> None:
    assert service.result(service.submit(flaky, {"fails": 2})) == 3
    assert passed(service) == 70


def test_an_advance_runs_what_becomes_due_at_its_time(service: Service) -> None:
    early = service.submit(add, {"a": 1}, delay=60)
    late = service.submit(add, {"a": 2}, run_at=BEGIN + timedelta(hours=1))
    service.advance(59)
    assert service.get(early).status is Status.QUEUED
    service.advance(100)
    assert service.get(early).started_at == BEGIN + timedelta(seconds=60)
    assert (service.get(late).status, passed(service)) == (Status.QUEUED, 159)


def test_a_deferral_is_waited_for(service: Service) -> None:
    assert service.result(service.submit("poll", {"times": 3})) == 4
    assert passed(service) == 3 * 3600


def test_a_task_expires(service: Service) -> None:
    id = service.submit(add, {"a": 1}, delay=100, expires_at=BEGIN + timedelta(seconds=50))
    service.advance(51)
    with pytest.raises(TaskCancelled) as raised:
        service.result(id)
    assert raised.value.error.code == "expired"


def test_a_wait_for_more_than_its_time_says_so(service: Service) -> None:
    with pytest.raises(WaitTimeout):
        service.wait(service.submit(add, {"a": 1}, delay=100), timeout=10)
    assert passed(service) == 10


def test_a_task_that_no_time_would_end_says_why(service: Service) -> None:
    service.request("PUT", "queues/default/pause")
    with pytest.raises(Stuck, match="paused"):
        service.result(service.submit(add, {"a": 1}))


# -- what a handler may do


def test_a_handler_submits_and_others_depend_on_it(service: Service) -> None:
    ids = service.result(service.submit(split, {"numbers": [1, 2, 3]}))
    assert service.result(ids[-1]) == 9
    assert len(list(service.list(type="add"))) == 3


def test_tasks_of_a_batch_depend_on_each_other(service: Service) -> None:
    *_, last = service.submit_many(
        [
            {"type": "add", "payload": {"a": 1}, "ref": "x"},
            {"type": hopeless, "ref": "y"},
            {"type": "collect", "depends_on": ["ref:x", "ref:y"], "on_parent_failure": "run"},
        ]
    )
    assert service.result(last) == 2


def test_what_depends_on_a_failure_is_cancelled(service: Service) -> None:
    parent = service.submit(hopeless)
    with pytest.raises(TaskCancelled) as raised:
        service.result(service.submit(collect, depends_on=[parent]))
    assert raised.value.error.code == "dependency_failed"


def test_a_step_is_not_run_again(service: Service) -> None:
    assert service.result(service.submit(in_steps)) == [1, 2]


def test_progress_and_log_are_kept(service: Service) -> None:
    id = service.submit(flaky, {"fails": 1})
    task = service.wait(id)
    assert task.progress is not None
    assert (task.progress.done, task.progress.total) == (2, 3)
    assert [(line.attempt, line.text) for line in service.logs(id)] == [(1, "attempt 1"), (2, "attempt 2")]


def test_a_log_is_followed_by_letting_time_pass(service: Service) -> None:
    id = service.submit(flaky, {"fails": 2})
    assert [line.attempt for line in service.logs(id, follow=True)] == [1, 2, 3]
    assert passed(service) == 70


def test_what_has_happened_can_be_read(service: Service) -> None:
    id = service.submit(flaky, {"fails": 1})
    assert [event.status for event in service.events()] == [Status.QUEUED]
    other = service.submit(add, {"a": 1})
    service.advance(10)
    told = list(service.events(id))
    assert [event.status for event in told if event.event == "task.status"] == ["queued", "in_progress"] * 2 + ["done"]
    assert [event.progress.done for event in told if event.progress] == [1, 2]
    assert {event.id for event in service.events(type="add", status="done")} == {other.id}
    assert list(service.events(id, after=told[-2])) == told[-1:]


def test_a_timeout_is_one_of_real_time(service: Service) -> None:
    with pytest.raises(TaskFailed) as raised:
        service.result(service.submit(slow))
    assert raised.value.error.code == "timeout"


# -- by hand


def test_a_task_that_has_not_begun_is_cancelled_at_once(service: Service) -> None:
    id = service.submit(add, {"a": 1})
    assert service.cancel(id) is Status.CANCELLED
    assert service.wait(id).attempts == ()


@pytest.mark.parametrize("handler", [forever, watchful])
def test_a_handler_that_runs_is_told_to_stop(handler: Any, service: Service) -> None:
    id = service.submit(handler)
    service.begin()
    assert service.get(id).status is Status.IN_PROGRESS
    assert service.cancel(id) is Status.IN_PROGRESS
    assert service.wait(id).status is Status.CANCELLED
    assert [line.text for line in service.logs(id)] == (["cleaned up"] if handler is forever else [])


def test_a_failed_task_is_retried_by_hand(service: Service) -> None:
    id = service.submit(flaky, {"fails": 3})
    assert service.wait(id).status is Status.FAILED
    assert service.retry(id) is Status.QUEUED
    assert service.result(id) == 4


# -- bad use


def test_an_unknown_type_and_a_bad_option_are_refused(service: Service) -> None:
    with pytest.raises(UnknownType, match="Did you mean 'flaky'"):
        service.submit("flacky")
    with pytest.raises(InvalidRequest):
        service.submit(add, {"a": 1}, retries=-1)


def test_a_handler_that_hangs_is_named_by_the_time_it_took() -> None:
    with Service([forever], patience=0.3) as service, pytest.raises(TimeoutError, match=r"more than 0\.3 s"):
        service.result(service.submit(forever))


def test_a_handler_that_holds_up_the_loop_does_not_hold_up_the_tests(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BLOCKS)
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "TimeoutError: A handler has run for more than 0.3 s."


def test_closing_stops_what_runs_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with Service([forever]) as service:
        service.submit(forever)
        service.begin()
    service.close()
    assert threading.active_count() == before
