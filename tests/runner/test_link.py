"""The worker's end of a child: what it hears, and what becomes of both when the other side ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from dolgo.runner import link
from dolgo.runner.link import Hello, Kind, Refused
from dolgo.task.types import ErrorCode
from tests.runner.nest import DEADLINE, HANDLERS, Nest, appears, becomes, is_running

pytestmark = pytest.mark.anyio

Place = tuple[Literal["loop", "single"], str]
PLACES: list[Place] = [("loop", "act_async"), ("single", "act_blocking"), ("single", "act_async")]
places = pytest.mark.parametrize("place", PLACES, ids="-".join)
kinds = pytest.mark.parametrize("kind", ["loop", "single"])


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


# How handlers end


@places
@pytest.mark.parametrize(
    ("how", "type_", "message"),
    [
        ("raise", "ValueError", "a bad day"),
        ("raise nothing", "KeyError", "KeyError"),
        ("raise odd", "handlers.Odd", "Odd"),
        ("raise surrogate", "ValueError", "half a pair: \\ud800"),
        ("SystemExit", "SystemExit", "3"),
        ("KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
        ("GeneratorExit", "GeneratorExit", "GeneratorExit"),
        ("BaseExceptionGroup", "BaseExceptionGroup", "several (2 sub-exceptions)"),
        ("CancelledError", "asyncio.exceptions.CancelledError", "CancelledError"),
        ("recursion", "RecursionError", "maximum recursion depth exceeded"),
    ],
)
async def test_whatever_a_handler_raises_is_its_error_and_nothing_else(
    nest: Nest, place: Place, how: str, type_: str, message: str
) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(place[1], how=how)
    assert (report.kind, report.result) == (Kind.ERROR, None)
    assert report.error is not None
    assert report.error.code == ErrorCode.HANDLER_ERROR
    assert (report.error.type or "").endswith(type_)
    assert report.error.message.startswith(message)
    assert (await ward.run("echo" if place[1] == "act_async" else "echo_blocking", value=1)).kind == Kind.DONE


@places
async def test_a_traceback_starts_in_the_handlers_own_file(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    error = (await ward.run(place[1], how="raise")).error
    assert error is not None
    assert error.traceback is not None
    first, second, *_ = error.traceback.splitlines()
    assert first == "Traceback (most recent call last):"
    assert HANDLERS in second
    assert place[1] in second
    assert error.traceback.endswith("ValueError: a bad day\n")


@places
@pytest.mark.parametrize("how", ["object", "cycle", "NaN", "surrogate"])
async def test_a_result_that_is_not_json_is_an_error(nest: Nest, place: Place, how: str) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(place[1], how=how)
    assert report.error is not None
    assert (report.kind, report.error.code) == (Kind.ERROR, ErrorCode.UNSERIALISABLE_RESULT)


@places
async def test_a_result_that_is_too_large_is_an_error_that_names_its_size(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(place[1], how="large")
    assert report.error is not None
    assert (report.kind, report.error.code) == (Kind.ERROR, ErrorCode.RESULT_TOO_LARGE)
    assert "2,000,002" in report.error.message


# How children end


@places
@pytest.mark.parametrize(("how", "returncode"), [("os._exit", 7), ("segfault", -signal.SIGSEGV), ("SIGKILL", -signal.SIGKILL)])
async def test_the_end_of_a_child_is_seen_with_its_cause(nest: Nest, place: Place, how: str, returncode: int) -> None:
    ward = await nest.hatch(place[0])
    (key,) = ward.send((place[1], {"how": how}))
    assert await ward.exit() == returncode
    assert key not in ward.reports
    assert ward.child.begun == 1


async def test_which_jobs_had_begun_when_a_child_died_is_known_exactly(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", slots=3)
    jobs: list[tuple[str, dict[str, Any]]] = [("nap", {"seconds": 60}), *[("echo", {"value": 1})] * 200]
    jobs += [("nap", {"seconds": 60, "mark": str(tmp_path / "last")})] * 2
    keys = ward.send(*jobs, *[("echo", {"value": 1})] * 50)
    await appears(tmp_path / "last")
    await ward.ended(*keys[1:201])
    ward.child.kill()
    assert await ward.exit() == -signal.SIGKILL
    assert ward.child.begun == 203
    assert set(ward.reports) == set(keys[1:201])


async def test_results_that_ended_before_a_crash_are_not_lost_with_it(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    keys = ward.send(*[("echo", {"value": "x" * 100})] * 500, ("act_async", {"how": "os._exit"}), ("echo", {"value": 1}))
    assert await ward.exit() == 7
    assert sorted(ward.reports) == keys[:500]
    assert ward.child.begun == 501


async def test_reports_that_arrived_are_delivered_even_if_jobs_could_no_longer_be_sent(nest: Nest) -> None:
    ward = await nest.hatch("loop", slots=1)
    ward.send(*[("echo", {"value": 1})] * 10, ("act_async", {"how": "os._exit"}))
    time.sleep(0.5)  # the worker's loop stands still while the child lives and dies
    ward.send(*[("echo", {"value": "x" * 10_000})] * 100)
    assert await ward.exit() == 7
    assert sorted(ward.reports) == list(range(10))
    assert ward.child.begun == 11


@kinds
@pytest.mark.parametrize("type_", ["hold_gil", "block"])
async def test_a_child_that_answers_nothing_can_be_killed(
    nest: Nest, tmp_path: Path, kind: Literal["loop", "single"], type_: str
) -> None:
    ward = await nest.hatch(kind)
    handler = {"hold_gil": {"loop": "hold_gil_async", "single": "hold_gil"}[kind], "block": "block"}[type_]
    payload = {"mark": str(tmp_path / "begun")} | ({"seconds": 60} if type_ == "block" else {})
    ward.send((handler, payload))
    await appears(tmp_path / "begun")
    ward.child.kill()
    ward.child.kill()
    assert await ward.exit() == -signal.SIGKILL
    ward.child.kill()
    ward.child.stop()
    ward.child.cancel([0])


async def test_nothing_can_be_sent_to_a_child_that_has_exited(nest: Nest) -> None:
    ward = await nest.hatch("single")
    ward.child.stop()
    await ward.exit()
    with pytest.raises(RuntimeError, match="exited"):
        ward.send(("echo", {"value": 1}))


@places
async def test_what_a_handler_started_dies_with_its_child(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    sleeper = int((await ward.run(place[1], how="start a sleeper")).result or b"")
    assert is_running(sleeper)
    ward.send((place[1], {"how": "os._exit"}))
    assert await ward.exit() == 7
    await becomes(lambda: not is_running(sleeper))


@places
async def test_a_process_that_holds_the_link_does_not_hide_the_childs_death(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    holder = int((await ward.run(place[1], how="start a holder")).result or b"")
    try:
        begin = time.monotonic()
        ward.send((place[1], {"how": "os._exit"}))
        assert await ward.exit() == 7
        assert time.monotonic() - begin < 2
        assert is_running(holder)
    finally:
        os.kill(holder, signal.SIGKILL)


async def test_death_is_seen_where_the_kernel_has_no_pidfd(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(pid: int) -> int:
        raise OSError("not implemented")

    monkeypatch.setattr(os, "pidfd_open", fails)
    ward = await nest.hatch("loop", slots=1)
    ward.send(*[("echo", {"value": 1})] * 5, ("act_async", {"how": "os._exit"}))
    assert await ward.exit() == 7
    assert len(ward.reports) == 5


# What handlers do to their own process


@places
@pytest.mark.parametrize("how", ["garbage", "endless frame", "hello again"])
async def test_a_child_that_sends_what_is_no_frame_is_killed(
    nest: Nest, place: Place, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    ward = await nest.hatch(place[0])
    ward.send((place[1], {"how": how}))
    assert await ward.exit() == -signal.SIGKILL
    assert [record.levelno for record in caplog.records if "malformed frame" in record.message] == [logging.ERROR]


async def test_a_child_that_lives_on_without_its_link_is_killed(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    ward.send(("act_async", {"how": "close link"}))
    assert await ward.exit() == -signal.SIGKILL


@places
async def test_signals_to_the_whole_group_do_nothing_before_stop(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        os.killpg(ward.child.pid, number)
    assert (await ward.run(place[1], how="interrupt")).result == b'"unmoved"'
    os.killpg(ward.child.pid, signal.SIGINT)
    ward.child.stop()
    assert await ward.exit() == 0


@kinds
async def test_after_stop_a_child_obeys_sigterm(nest: Nest, tmp_path: Path, kind: Literal["loop", "single"]) -> None:
    ward = await nest.hatch(kind)
    ward.send(("nap", {"seconds": 60, "mark": str(tmp_path / "begun")}), ("nap", {"seconds": 60}))
    await appears(tmp_path / "begun")
    ward.child.stop()
    while not ward.exits:  # it may not have read the stop yet
        os.killpg(ward.child.pid, signal.SIGTERM)
        await asyncio.sleep(0.05)
    assert await ward.exit() == -signal.SIGTERM


@places
@pytest.mark.parametrize("how", ["terminate what it started", "terminate a fork"])
async def test_what_a_handler_starts_can_be_terminated(nest: Nest, place: Place, how: str) -> None:
    ward = await nest.hatch(place[0])
    assert (await ward.run(place[1], how=how)).result == str(-signal.SIGTERM).encode()


@places
async def test_a_forked_copy_of_a_child_does_not_speak_for_it(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    assert (await ward.run(place[1], how="fork and return twice")).result == b'"I am one"'
    for _ in range(10):
        assert (await ward.run("echo" if place[1] == "act_async" else "echo_blocking", value=1)).kind == Kind.DONE
    assert ward.child.begun == 11
    ward.child.stop()
    assert await ward.exit() == 0


# How workers end

WORKER = """
import asyncio, sys
from dolgo.runner.link import Child, Job, Setup

async def main():
    kind, type_, handlers, mark = sys.argv[1:]
    loop = asyncio.get_running_loop()
    greeting, reports = loop.create_future(), loop.create_future()
    child = await Child.spawn(kind, Setup((handlers,), 5, 2**20), on_hello=greeting.set_result,
                              on_reports=reports.set_result, on_exit=print)
    await greeting
    act = "act_blocking" if type_ in ("sleep", "hold_gil") else "act_async"
    child.send([Job(0, 1e12, "id", act, "", "default", b'{"how": "start a sleeper"}', 1)])
    print((await reports)[0].result.decode(), flush=True)
    payload = f'{{"mark": "{mark}"' + (', "seconds": 60}' if type_ in ("sleep", "block", "nap") else "}")
    child.send([Job(1, 1e12, "id", type_, "", "default", payload.encode(), 1)])
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("loop", "nap"),
        ("loop", "block"),
        ("loop", "hold_gil_async"),
        ("single", "sleep"),
        ("single", "hold_gil"),
        ("single", "nap"),
    ],
)
async def test_no_child_and_nothing_it_started_outlives_a_kill_9_of_its_worker(tmp_path: Path, kind: str, type_: str) -> None:
    mark = tmp_path / "begun"
    command = [sys.executable, "-c", WORKER, kind, type_, HANDLERS, str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        try:
            pids = [int(worker.stdout.readline()) for _ in range(2)]
            await appears(mark)
            assert all(map(is_running, pids))
        finally:
            worker.kill()
    begin = time.monotonic()
    await becomes(lambda: not any(map(is_running, pids)))
    assert time.monotonic() - begin < 5


@kinds
async def test_a_child_ends_when_its_link_does(nest: Nest, kind: Literal["loop", "single"]) -> None:
    ward = await nest.hatch(kind)
    ward.send(("nap", {"seconds": 60}))
    ward.child._transport.abort()
    ward.child._last.close()
    assert await ward.exit() == 1


# Starting


async def test_two_types_of_one_name_are_refused_with_the_reason(nest: Nest, tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("from dolgo import task\n@task\ndef twin() -> None: ...\n")
    ward = await nest.hatch("loop", paths=(str(tmp_path),))
    assert isinstance(ward.greeting, Refused)
    assert "twin" in ward.greeting.reason
    assert await ward.exit() == 0


async def test_a_broken_file_is_announced_and_harms_no_other(nest: Nest, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(9)\n")
    ward = await nest.hatch("loop", paths=(str(tmp_path), HANDLERS))
    assert isinstance(ward.greeting, Hello)
    assert [Path(broken.file).name for broken in ward.greeting.broken] == ["broken.py"]
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


async def test_a_child_that_dies_while_it_loads_is_seen(nest: Nest, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    ward = await nest.hatch("single", paths=(str(tmp_path),), greeted=False)
    assert await ward.exit() == 9
    assert ward.greeting is None


async def test_a_failed_start_raises_and_leaves_nothing_open(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await _descriptors_after_a_child(nest)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        await nest.hatch("loop")
    await becomes(lambda: _descriptors() == before)


async def test_a_child_leaves_nothing_open_when_it_has_gone(nest: Nest) -> None:
    before = await _descriptors_after_a_child(nest)  # the event loop opens one for itself when it meets its first
    assert await _descriptors_after_a_child(nest) == before
    ward = await nest.hatch("single")
    ward.child.kill()
    await ward.exit()
    await becomes(lambda: _descriptors() == before)


async def test_a_file_in_the_working_directory_takes_no_standard_modules_place(
    nest: Nest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise RuntimeError('the wrong queue')\n")
    monkeypatch.chdir(tmp_path)
    ward = await nest.hatch("single")
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


def test_a_child_imports_no_web_and_no_store() -> None:
    code = "import sys, dolgo.runner.__main__ as m; m.discover.load([]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=DEADLINE
    ).stdout.split()
    assert "dolgo.tasks.long_task" in loaded
    assert not {"starlette", "uvicorn", "click", "rich", "httpx", "sqlite3", "dolgo.store"} & set(loaded)


async def _descriptors_after_a_child(nest: Nest) -> int:
    ward = await nest.hatch("loop")
    ward.child.stop()
    await ward.exit()
    await asyncio.sleep(0)  # transports close one turn later
    await asyncio.sleep(0)
    return _descriptors()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


assert link.LINGER < 5  # or the test of it is no test
