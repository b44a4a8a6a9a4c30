"""The ways a handler can end, in every kind of place, and that what comes next runs all the same."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Literal

import pytest

from dolgo.runner.link import Kind, Report
from dolgo.runner.signals import Fail, Retry
from dolgo.task.types import ErrorCode
from tests.runner.nest import Nest, Ward, appears

pytestmark = pytest.mark.anyio

Place = tuple[Literal["loop", "single"], str]
PLACES: list[Place] = [("loop", "async"), ("loop", "thread"), ("single", "blocking"), ("single", "async")]
places = pytest.mark.parametrize("place", PLACES, ids="-".join)


async def end(nest: Nest, place: Place, handler: str, how: str) -> Report:
    """How a handler ended in a child that then runs the next one."""
    ward = await nest.hatch(place[0])
    report = await ward.run(f"{handler}_{place[1]}", how=how)
    assert (await ward.run("pid" if place[1] != "blocking" else "pid_blocking")).result == str(ward.child.pid).encode()
    return report


@places
@pytest.mark.parametrize(
    ("how", "type_"),
    [
        ("raise", "ValueError"),
        ("SystemExit", "SystemExit"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("CancelledError", "asyncio.exceptions.CancelledError"),
    ],
)
async def test_what_it_raises_is_a_failure(nest: Nest, place: Place, how: str, type_: str) -> None:
    report = await end(nest, place, "act", how)
    assert report.error is not None
    assert (report.kind, report.error.code, report.error.type) == (Kind.ERROR, ErrorCode.HANDLER_ERROR, type_)
    assert "act" in (report.error.traceback or "")


@places
async def test_fail_ends_it_for_good_with_its_reason(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Fail")
    assert report.error is not None
    assert (report.kind, report.error.message, report.error.type) == (Kind.FAIL, "no such page", "dolgo.Fail")


@places
async def test_retry_asks_for_another_attempt_and_keeps_its_cause(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Retry")
    assert report.error is not None
    assert (report.kind, report.delay, report.error.message) == (Kind.RETRY, 2.0, "not there yet")
    assert "OSError: no answer" in (report.error.traceback or "")


@places
async def test_a_plain_retry_leaves_the_delay_to_the_type(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Retry plain")
    assert (report.kind, report.delay) == (Kind.RETRY, None)


@places
async def test_a_retry_with_an_impossible_delay_is_a_failure(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Retry badly")
    assert report.error is not None
    assert (report.kind, report.error.type) == (Kind.ERROR, "ValueError")


@places
async def test_a_retry_of_the_handlers_own_kind_needs_no_delay(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Retry of its own")
    assert report.error is not None
    assert (report.kind, report.delay, report.error.message) == (Kind.RETRY, None, "soon")


@places
async def test_a_retry_of_the_handlers_own_kind_with_an_impossible_delay_is_a_failure(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "Retry of its own, badly")
    assert report.error is not None
    assert (report.kind, report.error.message) == (Kind.ERROR, "the delay is in seconds, not 'some time'")


@places
async def test_what_it_sets_in_its_context_is_not_seen_by_the_next_one(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0], slots=1)
    keys = ward.send(*((f"paint_{place[1]}", {"name": name}) for name in ("red", "green", "blue")))
    assert [report.result for report in await ward.ended(*keys)] == [b'"none"'] * 3


@places
async def test_out_of_memory_is_a_failure(nest: Nest, place: Place) -> None:
    report = await end(nest, place, "end", "memory")
    assert report.error is not None
    assert (report.kind, report.error.type) == (Kind.ERROR, "MemoryError")


@places
@pytest.mark.parametrize(("how", "code"), [("object", ErrorCode.UNSERIALISABLE_RESULT), ("large", ErrorCode.RESULT_TOO_LARGE)])
async def test_a_result_that_cannot_be_kept_is_a_failure_with_its_code(
    nest: Nest, place: Place, how: str, code: ErrorCode
) -> None:
    report = await end(nest, place, "act", how)
    assert report.error is not None
    assert (report.kind, report.error.code) == (Kind.ERROR, code)


@places
@pytest.mark.parametrize(("how", "returncode"), [("os._exit", 7), ("segfault", -signal.SIGSEGV), ("SIGKILL", -signal.SIGKILL)])
async def test_the_end_of_the_process_is_seen_with_its_cause(nest: Nest, place: Place, how: str, returncode: int) -> None:
    ward = await nest.hatch(place[0])
    (key,) = ward.send((f"act_{place[1]}", {"how": how}))
    assert await ward.exit() == returncode
    assert key not in ward.reports
    assert ward.child.begun == 1


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("loop", "block"), ("loop", "compute_async"), ("single", "block"), ("single", "compute_async"), ("single", "defy_blocking")],
)
async def test_what_never_ends_and_cannot_be_stopped_can_be_killed(
    nest: Nest, tmp_path: Path, kind: Literal["loop", "single"], type_: str
) -> None:
    ward = await nest.hatch(kind)
    key = await _begin(ward, type_, mark=str(tmp_path / "begun"), **({"seconds": 60} if type_ == "block" else {}))
    ward.child.cancel([key])
    assert key not in ward.reports
    ward.child.kill()
    assert await ward.exit() == -signal.SIGKILL


async def test_a_thread_that_never_waits_holds_up_nobody_for_long(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop", grace=0.2)
    key = await _begin(ward, "compute_thread", mark=str(tmp_path / "begun"))
    assert (await ward.run("echo", value=1)).kind == Kind.DONE
    ward.child.cancel([key])
    assert (await ward.ended(key))[0].kind == Kind.ABANDONED
    ward.child.stop()
    assert await ward.exit() == 0


async def _begin(ward: Ward, type_: str, *, mark: str, **payload: Any) -> int:
    (key,) = ward.send((type_, {"mark": mark, **payload}))
    await appears(Path(mark))
    return key


def test_retry_and_fail_say_what_they_were_given() -> None:
    assert (str(Retry()), Retry().delay, Retry().reason) == ("asked for another attempt", None, "")
    assert (str(Retry(1, "soon")), Retry(1).delay) == ("soon", 1.0)
    assert (str(Fail()), str(Fail("never"))) == ("failed for good", "never")


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True, "5"])
def test_a_delay_is_a_number_of_seconds(delay: Any) -> None:
    with pytest.raises(ValueError, match="the delay is"):
        Retry(delay)
