"""A single child in a process of its own, driven through its link."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dolgo.runner.link import Hello, Kind
from dolgo.task.types import ErrorCode
from tests.runner.nest import Nest, appears

pytestmark = pytest.mark.anyio


async def test_it_greets_with_the_same_types_as_a_loop_child(nest: Nest) -> None:
    single, loop = await nest.hatch("single"), await nest.hatch("loop")
    assert isinstance(single.greeting, Hello)
    assert single.greeting == loop.greeting


async def test_handlers_of_both_kinds_run_one_after_the_other_in_one_warm_process(nest: Nest) -> None:
    ward = await nest.hatch("single")
    keys = ward.send(*[("pid_blocking", {}), ("pid", {})] * 20)
    reports = await ward.ended(*keys)
    assert {report.result for report in reports} == {str(ward.child.pid).encode()}
    assert ward.order == keys
    assert ward.child.begun == 40


@pytest.mark.parametrize("type_", ["about", "about_blocking"])
async def test_the_context_tells_a_handler_of_its_task(nest: Nest, type_: str) -> None:
    ward = await nest.hatch("single")
    report = await ward.run(type_, x=1)
    assert report.result == f'["id-0","{type_}","default",{{"x":1}},1,["a","b"],false]'.encode()


async def test_what_a_handler_prints_goes_to_stderr(nest: Nest, capfd: pytest.CaptureFixture[str]) -> None:
    ward = await nest.hatch("single")
    await ward.run("echo_blocking", value="hello there")
    assert capfd.readouterr() == ("", "echoes hello there\n")


async def test_a_job_that_is_too_late_when_its_turn_comes_is_never_started(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    late = time.monotonic() + 0.2
    ward.send(("sleep", {"seconds": 0.5}))
    (key,) = ward.send(("sleep", {"seconds": 0, "mark": str(tmp_path / "begun")}), start_by=late)
    assert (await ward.ended(key))[0].kind == Kind.UNSTARTED
    assert ward.child.begun == 1
    assert not (tmp_path / "begun").exists()


async def test_cancelling_breaks_into_an_async_handler(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    for turn in range(3):  # the first makes the loop, the others find it there
        (key,) = ward.send(("nap", {"seconds": 60, "mark": str(tmp_path / f"begun{turn}")}))
        await appears(tmp_path / f"begun{turn}")
        ward.child.cancel([key])
        assert (await ward.ended(key))[0].kind == Kind.CANCELLED
    assert (await ward.run("nap", seconds=0)).kind == Kind.DONE


async def test_a_second_cancel_does_not_break_into_the_cleaning_up(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    marks = {"mark": str(tmp_path / "begun"), "tidied": str(tmp_path / "tidied")}
    (key,) = ward.send(("tidy", {**marks, "seconds": 0.3}))
    await appears(tmp_path / "begun")
    ward.child.cancel([key])
    time.sleep(0.1)
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.CANCELLED
    assert (tmp_path / "tidied").exists()


@pytest.mark.parametrize("type_", ["sleep", "nap"])
async def test_cancelling_gives_back_what_waits(nest: Nest, tmp_path: Path, type_: str) -> None:
    ward = await nest.hatch("single")
    running, waiting = ward.send(("sleep", {"seconds": 0.3}), (type_, {"seconds": 60, "mark": str(tmp_path / "begun")}))
    ward.child.cancel([waiting])
    assert [report.kind for report in await ward.ended(running, waiting)] == [Kind.DONE, Kind.UNSTARTED]
    assert ward.child.begun == 1
    assert not (tmp_path / "begun").exists()


async def test_a_payload_that_its_own_code_refuses_is_invalid(nest: Nest) -> None:
    ward = await nest.hatch("single")
    report = await ward.run("sleep", seconds="long")
    assert report.error is not None
    assert report.error.code == ErrorCode.INVALID_PAYLOAD


async def test_jobs_this_child_has_no_code_for_are_given_back(nest: Nest) -> None:
    ward = await nest.hatch("single")
    reports = await ward.ended(*ward.send(("nowhere", {}), ("sleep", {"minutes": 1}), hash="another"))
    assert {report.kind for report in reports} == {Kind.MISMATCH}


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "raise"])
async def test_what_a_task_of_the_handlers_own_raises_is_the_handlers_error(nest: Nest, how: str) -> None:
    ward = await nest.hatch("single")
    report = await ward.run("ask_inner", how=how)
    assert report.error is not None
    assert report.error.type == how.replace("raise", "ValueError")
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


async def test_a_handler_cannot_stop_the_loop(nest: Nest) -> None:
    ward = await nest.hatch("single")
    assert (await ward.run("stop_loop")).result == b'"goes on"'


async def test_stop_lets_what_runs_end_gives_back_what_waits_and_exits(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("single")
    running, waiting = ward.send(("sleep", {"seconds": 0.3, "mark": str(tmp_path / "begun")}), ("echo", {"value": 1}))
    await appears(tmp_path / "begun")
    ward.child.stop()
    ward.child.stop()
    assert await ward.exit() == 0
    assert ward.reports[running].kind == Kind.DONE
    assert ward.reports[waiting].kind == Kind.UNSTARTED
    assert ward.child.begun == 1


async def test_it_stops_whatever_handlers_left_behind(nest: Nest) -> None:
    ward = await nest.hatch("single")
    await ward.run("leave_task")
    await ward.run("act_blocking", how="leave a thread")
    ward.child.stop()
    assert await ward.exit() == 0
