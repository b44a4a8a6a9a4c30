"""Stopping what runs: `def` handlers in single children and in threads."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from dolgo.runner.link import Kind
from dolgo.runner.outlet import Outlet
from tests.runner.nest import Nest, Ward, appears, becomes, is_running

pytestmark = pytest.mark.anyio


async def begin(ward: Ward, type_: str, mark: Path, **payload: Any) -> int:
    """The key of a job that is at work."""
    (key,) = ward.send((type_, {"mark": str(mark), **payload}))
    await appears(mark)
    return key


# Single children


async def test_a_def_handler_is_broken_into_cleans_up_and_its_process_is_gone(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "tidy_blocking", tmp_path / "begun", tidied=str(tmp_path / "tidied"))
    await becomes(lambda: (tmp_path / "begun").read_text() != "")
    sleeper = int((tmp_path / "begun").read_text())
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert (report.kind, report.error, report.result) == (Kind.CANCELLED, None, None)
    assert await ward.exit() == 0
    assert (tmp_path / "tidied").read_text() == f"{-signal.SIGTERM} True"  # what it had started got the signal too
    assert not is_running(ward.child.pid)
    assert not is_running(sleeper)
    assert [line[3] for line in ward.lines(key)] == ["tidying"]


async def test_a_second_cancel_or_signal_does_not_break_into_the_cleaning_up(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    payload = {"tidied": str(tmp_path / "tidied"), "seconds": 0.5}
    key = await begin(ward, "tidy_blocking", tmp_path / "begun", **payload)
    await becomes(lambda: (tmp_path / "begun").read_text() != "")
    ward.child.cancel([key])
    await ward.until(lambda: bool(ward.lines(key)))  # it is tidying
    ward.child.cancel([key])
    os.kill(ward.child.pid, signal.SIGTERM)
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED
    assert (tmp_path / "tidied").exists()


async def test_a_handler_that_computes_is_broken_into(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "compute", tmp_path / "begun")
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED
    assert await ward.exit() == 0


async def test_a_handler_that_waits_for_an_answer_is_broken_into(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    ward.answers = lambda ask: None
    key = await begin(ward, "ask_for_ever", tmp_path / "begun")
    await ward.until(lambda: bool(ward.asks))
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED


async def test_a_handler_that_asks_all_the_time_leaves_no_half_a_question(
    nest: Nest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for turn in range(8):
        ward = await nest.hatch("single")
        key = await begin(ward, "ask_much", tmp_path / f"begun{turn}")
        await ward.until(lambda ward=ward, turn=turn: len(ward.asks) > turn)  # type: ignore[misc]
        ward.child.cancel([key])
        assert (await ward.ended(key))[0].kind == Kind.CANCELLED
        assert await ward.exit() == 0
    assert "malformed" not in caplog.text


def test_nobody_is_broken_into_in_the_middle_of_a_note() -> None:
    outlet = Outlet(None)  # type: ignore[arg-type] - nothing is sent
    others: list[bool] = []
    with outlet.lock:
        thread = threading.Thread(target=lambda: others.append(outlet.is_held))
        thread.start()
        thread.join()
        assert (outlet.is_held, others) == (True, [False])
    assert not outlet.is_held


async def test_a_def_handler_that_fails_to_clean_up_has_failed(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "spill_blocking", tmp_path / "begun")
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert report.error is not None
    assert (report.kind, report.error.message) == (Kind.ERROR, "cannot clean up")
    assert await ward.exit() == 0


async def test_a_handler_that_defies_the_signal_is_left_to_the_worker(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "defy_blocking", tmp_path / "begun")
    ward.child.cancel([key])
    await becomes(lambda: not _waits_for(ward.child.pid, signal.SIGTERM))
    assert key not in ward.reports
    ward.child.kill()
    assert await ward.exit() == -signal.SIGKILL


async def test_a_job_cancelled_before_it_begins_runs_no_line_and_ends_no_process(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    first, second = ward.send(("sleep", {"seconds": 0.3}), ("sleep", {"seconds": 60, "mark": str(tmp_path / "begun")}))
    ward.child.cancel([second])
    assert [report.kind for report in await ward.ended(first, second)] == [Kind.DONE, Kind.UNSTARTED]
    assert not (tmp_path / "begun").exists()
    assert (await ward.run("pid_blocking")).result == str(ward.child.pid).encode()


async def test_what_waits_behind_a_stopped_handler_is_given_back(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "compute", tmp_path / "begun")
    waiting = ward.send(("pid_blocking", {}), ("pid", {}))
    ward.child.cancel([key])
    reports = await ward.ended(key, *waiting)
    assert [report.kind for report in reports] == [Kind.CANCELLED, Kind.UNSTARTED, Kind.UNSTARTED]
    assert await ward.exit() == 0
    assert ward.child.begun == 1


async def test_a_handler_is_broken_into_even_after_stop(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    key = await begin(ward, "compute", tmp_path / "begun")
    ward.child.stop()
    ward.child.cancel([key])
    assert await ward.exit() == 0
    assert ward.reports[key].kind == Kind.CANCELLED


async def test_cancelling_at_any_moment_ends_a_job_once_and_leaves_nothing_running(nest: Nest) -> None:
    kinds = set()
    for turn in range(12):
        ward = await nest.hatch("single")
        (key,) = ward.send(("sleep", {"seconds": 0.01 * turn}))
        await ward.until(lambda ward=ward, turn=turn: turn < 3 or ward.child.begun == 1)  # type: ignore[misc]
        ward.child.cancel([key])
        (report,) = await ward.ended(key)
        kinds.add(report.kind)
        ward.child.stop()
        assert await ward.exit() in (0, -signal.SIGTERM)
    assert kinds <= {Kind.CANCELLED, Kind.UNSTARTED, Kind.DONE}


async def test_an_async_type_can_have_a_process_to_itself(nest: Nest) -> None:
    single, loop = await nest.hatch("single"), await nest.hatch("loop")
    assert (await single.run("pid_alone")).result == str(single.child.pid).encode()
    assert (await loop.run("pid_alone")).kind == Kind.MISMATCH
    assert "pid_alone" in single.greeting.blocking  # type: ignore[union-attr]
    assert "watch_thread" not in single.greeting.blocking  # type: ignore[union-attr]


# Threads


async def test_threads_run_beside_the_loop_and_each_takes_a_slot(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=3)
    keys = ward.send(*[("crowd_thread", {"seconds": 0.2})] * 7)
    most = [int(report.result or b"") for report in await ward.ended(*keys)]
    assert max(most) <= 3
    assert ward.child.begun == 7


async def test_a_thread_holds_up_nobody(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    key = await begin(ward, "sleep_thread", tmp_path / "begun", seconds=0.5)
    assert (await ward.run("echo", value=1)).kind == Kind.DONE
    assert key not in ward.reports
    assert (await ward.ended(key))[0].result == b'"rested"'


async def test_a_thread_sees_that_it_is_to_stop_and_what_it_returns_then_is_no_result(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    key = await begin(ward, "watch_thread", tmp_path / "begun")
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert (report.kind, report.result) == (Kind.CANCELLED, None)


async def test_a_thread_that_waits_for_an_answer_is_stopped(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    ward.answers = lambda ask: None
    key = await begin(ward, "ask_for_ever_thread", tmp_path / "begun")
    await ward.until(lambda: bool(ward.asks))
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED


async def test_a_thread_that_does_not_stop_is_given_up_and_never_heard_again(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", grace=0.2)
    payload = {"seconds": 1.0, "after": str(tmp_path / "after")}
    key = await begin(ward, "sleep_thread", tmp_path / "begun", **payload)
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert (report.kind, report.result) == (Kind.ABANDONED, None)
    assert (await ward.run("echo", value=1)).kind == Kind.DONE
    await appears(tmp_path / "after")
    await ward.run("nap", seconds=0.3)
    assert ward.order.count(key) == 1
    assert ward.lines(key) == ward.progress(key) == []


async def test_a_child_with_nothing_but_abandoned_threads_exits_when_told_to(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", grace=0.1)
    key = await begin(ward, "sleep_thread", tmp_path / "begun", seconds=60)
    (other,) = ward.send(("nap", {"seconds": 0.5}))
    ward.child.cancel([key])
    await ward.ended(key)
    ward.child.stop()
    assert await ward.exit() == 0
    assert ward.reports[other].kind == Kind.DONE  # it was let finish


async def test_a_thread_cancelled_together_with_its_sending_runs_no_line(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("watch_thread", {"mark": str(tmp_path / "begun")}))
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert report.kind in (Kind.UNSTARTED, Kind.CANCELLED)  # the latter if a busy child has read the first without the other
    assert report.kind == Kind.CANCELLED or not (tmp_path / "begun").exists()


async def test_a_sigterm_is_nothing_to_threads(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    assert (await ward.run("signal_in_thread")).result == b'"unmoved"'


def _waits_for(pid: int, number: int) -> bool:
    """Whether a signal to a process has not been taken by it yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in pending)
