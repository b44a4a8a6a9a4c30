"""A loop child in a process of its own, driven through its link."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import pytest

from dolgo.runner.link import Hello, Kind
from dolgo.task.types import ErrorCode
from tests.runner.nest import Nest, appears, becomes

pytestmark = pytest.mark.anyio


async def test_it_greets_with_its_types_and_says_which_of_them_block(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    assert isinstance(ward.greeting, Hello)
    names = {info.name for info in ward.greeting.types}
    assert {"echo", "echo_blocking", "long_task"} <= names
    assert "echo_blocking" in ward.greeting.blocking
    assert not {"echo", "long_task"} & ward.greeting.blocking


async def test_thousands_of_jobs_end_with_their_own_results(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=100)
    for start in range(0, 5000, 200):
        ward.send(*(("twice", {"number": n}) for n in range(start, start + 200)))
    reports = await ward.ended(*range(5000))
    assert [report.result for report in reports] == [str(2 * n).encode() for n in range(5000)]
    assert ward.child.begun == ward.child.sent == 5000


async def test_reports_travel_in_batches(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=100)
    await ward.ended(*ward.send(*[("echo", {"value": 1})] * 2000))
    assert len(ward.batches) <= 100


async def test_with_one_slot_jobs_begin_in_the_order_sent(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    keys = ward.send(*(("in_turn", {"number": n}) for n in range(100)))
    reports = await ward.ended(*keys)
    assert ward.order == keys
    assert reports[-1].result == str(list(range(100))).replace(" ", "").encode()


async def test_no_more_run_at_once_than_there_are_slots(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=4)
    reports = await ward.ended(*ward.send(*[("crowd", {"seconds": 0.01})] * 30))
    assert reports[-1].result == b"4"


async def test_the_context_tells_a_handler_of_its_task(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    report = await ward.run("about", x=1)
    assert report.result == b'["id-0","about","default",{"x":1},1,["a","b"],false]'


async def test_seconds_are_those_of_the_handler_not_of_the_wait_before_it(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    first, second = await ward.ended(*ward.send(("nap", {"seconds": 0.2}), ("echo", {"value": 1})))
    assert first.seconds >= 0.19
    assert second.seconds < 0.19


async def test_a_job_too_late_because_the_loop_was_blocked_is_never_started(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", slots=1)
    ward.send(("block", {"seconds": 0.5}))
    late = ward.send(*[("nap", {"seconds": 0, "mark": str(tmp_path / "begun")})] * 3, start_by=time.monotonic() + 0.2)
    in_time = ward.send(("echo", {"value": "still"}))
    assert {report.kind for report in await ward.ended(*late)} == {Kind.UNSTARTED}
    assert (await ward.ended(*in_time))[0].kind == Kind.DONE
    assert not (tmp_path / "begun").exists()


async def test_what_waits_too_long_is_given_back_while_the_slots_are_still_taken(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    (nap,) = ward.send(("nap", {"seconds": 60}))
    patient = ward.send(("echo", {"value": 1}))
    hasty = ward.send(*[("echo", {"value": 2})] * 3, start_by=time.monotonic() + 0.3)
    hastier = ward.send(("echo", {"value": 3}), start_by=time.monotonic() + 0.1)
    begin = time.monotonic()
    reports = await ward.ended(*hastier, *hasty)
    assert {report.kind for report in reports} == {Kind.UNSTARTED}
    assert ward.order == [*hastier, *hasty]
    assert time.monotonic() - begin < 5
    assert ward.child.begun == 1
    ward.child.cancel([nap])
    assert (await ward.ended(*patient))[0].kind == Kind.DONE


async def test_a_job_that_is_too_late_on_arrival_is_not_started_in_a_free_slot(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("echo", {"value": 1}), start_by=time.monotonic() - 0.001)
    assert (await ward.ended(key))[0].kind == Kind.UNSTARTED
    assert ward.child.begun == 0


async def test_cancelling_breaks_into_what_runs(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("nap", {"seconds": 60, "mark": str(tmp_path / "begun")}))
    await appears(tmp_path / "begun")
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert (report.kind, report.error, report.result) == (Kind.CANCELLED, None, None)
    assert 0 < report.seconds < 60


async def test_cancelling_gives_back_what_waits(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    nap, first, second, third = ward.send(("nap", {"seconds": 0.3}), *[("echo", {"value": 1})] * 3)
    ward.child.cancel([first, third])
    reports = await ward.ended(first, second, third, nap)
    assert [report.kind for report in reports] == [Kind.UNSTARTED, Kind.DONE, Kind.UNSTARTED, Kind.DONE]


async def test_a_job_cancelled_together_with_its_sending_ends_once_and_runs_no_line(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("nap", {"seconds": 60, "mark": str(tmp_path / "begun")}))
    ward.child.cancel([key])  # arrives with the job: its task is made, but has not had its first step
    assert (await ward.ended(key))[0].kind == Kind.UNSTARTED
    assert not (tmp_path / "begun").exists()


async def test_a_handler_that_ends_well_although_it_was_cancelled_is_done(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("defy", {"mark": str(tmp_path / "begun")}))
    await appears(tmp_path / "begun")
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert (report.kind, report.result) == (Kind.DONE, b'"done anyway"')


async def test_a_second_cancel_does_not_break_into_the_cleaning_up(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    marks = {"mark": str(tmp_path / "begun"), "tidied": str(tmp_path / "tidied")}
    (key,) = ward.send(("tidy", {**marks, "seconds": 0.3}))
    await appears(tmp_path / "begun")
    ward.child.cancel([key])
    await ward.run("nap", seconds=0.1)
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED
    assert (tmp_path / "tidied").exists()


async def test_a_handler_that_fails_to_clean_up_has_failed(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("spill", {"mark": str(tmp_path / "begun")}))
    await appears(tmp_path / "begun")
    ward.child.cancel([key])
    (report,) = await ward.ended(key)
    assert report.error is not None
    assert (report.kind, report.error.message) == (Kind.ERROR, "cannot clean up")


async def test_cancelling_what_has_ended_or_never_was_changes_nothing(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    report = await ward.run("echo", value=1)
    ward.child.cancel([report.key, 99, 2**40])
    assert (await ward.run("echo", value=2)).result == b"2"
    assert ward.order == [0, 1]


async def test_a_payload_that_its_own_code_refuses_is_invalid(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    report = await ward.run("twice", number="two")
    assert report.kind == Kind.ERROR
    assert report.error is not None
    assert report.error.code == ErrorCode.INVALID_PAYLOAD
    assert "number" in report.error.message


async def test_a_job_of_another_version_runs_if_its_payload_fits_and_is_given_back_if_not(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    fits, misfits = ward.send(("twice", {"number": 4}), ("twice", {"name": 4}), hash="another")
    assert (await ward.ended(fits))[0].result == b"8"
    assert (await ward.ended(misfits))[0].kind == Kind.MISMATCH


async def test_a_type_that_is_not_there_or_would_block_the_loop_is_given_back(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    reports = await ward.ended(*ward.send(("nowhere", {}), ("echo_blocking", {"value": 1})))
    assert {report.kind for report in reports} == {Kind.MISMATCH}


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "raise"])
async def test_what_a_task_of_the_handlers_own_raises_ends_neither_the_loop_nor_its_neighbours(nest: Nest, how: str) -> None:
    ward = await nest.hatch("loop")
    (neighbour,) = ward.send(("nap", {"seconds": 0.3}))
    report = await ward.run("ask_inner", how=how)
    assert report.error is not None
    assert report.error.type == how.replace("raise", "ValueError")
    assert (await ward.ended(neighbour))[0].kind == Kind.DONE
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


async def test_a_handler_cannot_stop_the_loop(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    assert (await ward.run("stop_loop")).result == b'"goes on"'
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


async def test_large_results_reach_a_worker_that_is_slow_to_read(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=3, max_result=2**22)
    keys = ward.send(*[("echo", {"value": "x" * 1_000_000})] * 12)
    time.sleep(0.5)  # the worker's loop stands still, the socket fills up
    assert {len(report.result or b"") for report in await ward.ended(*keys)} == {1_000_002}


async def test_stop_lets_what_runs_end_gives_back_what_waits_and_exits(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", slots=2)
    keys = ward.send(*[("nap", {"seconds": 0.3, "mark": str(tmp_path / "begun")})] * 2, *[("echo", {"value": 1})] * 3)
    await appears(tmp_path / "begun")
    ward.child.stop()
    ward.child.stop()
    after = ward.send(("echo", {"value": 1}))
    assert await ward.exit() == 0
    assert [ward.reports[key].kind for key in keys] == [Kind.DONE] * 2 + [Kind.UNSTARTED] * 3
    assert all(ward.reports[key].kind == Kind.UNSTARTED for key in after if key in ward.reports)
    assert ward.child.begun == 2


async def test_an_idle_child_stops_at_once_whatever_handlers_left_behind(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    await ward.run("leave_task")
    ward.child.stop()
    assert await ward.exit() == 0


async def test_an_idle_child_uses_no_processor_time(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=2)
    ward.send(*[("nap", {"seconds": 60})] * 3, start_by=math.inf)
    ward.send(*[("nap", {"seconds": 60})] * 3, start_by=time.monotonic() + 60)
    await becomes(lambda: ward.child.begun == 2)
    before = _ticks(ward.child.pid)
    await asyncio.sleep(0.5)
    assert _ticks(ward.child.pid) - before <= 1


def _ticks(pid: int) -> int:
    """Processor time used so far, in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
