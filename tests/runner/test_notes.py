"""What handlers say while they run reaches the worker: in real children, of both kinds and in threads."""

from __future__ import annotations

import time
from typing import Literal

import pytest

from dolgo.runner.link import Kind
from dolgo.task.types import EventKind
from tests.runner.nest import Nest

pytestmark = pytest.mark.anyio

Place = tuple[Literal["loop", "single"], str]
PLACES: list[Place] = [("loop", "async"), ("loop", "thread"), ("single", "blocking"), ("single", "async")]
places = pytest.mark.parametrize("place", PLACES, ids="-".join)


async def said(nest: Nest, place: Place, how: str) -> list[tuple[str, str]]:
    """Level and text of each line of a handler's log."""
    ward = await nest.hatch(place[0])
    before = time.time()
    report = await ward.run(f"say_{place[1]}", how=how)
    assert report.kind == Kind.DONE, report.error
    lines = ward.lines(report.key)
    assert [line[0] for line in lines] == list(range(1, len(lines) + 1))
    assert all(before - 1 < line[1] < time.time() + 1 for line in lines)
    return [(level, text) for _, _, level, text in lines]


@places
async def test_what_is_logged_is_in_the_log(nest: Nest, place: Place) -> None:
    assert await said(nest, place, "log") == [("info", "half of it")]


@places
async def test_what_libraries_log_is_there_with_its_logger(nest: Nest, place: Place) -> None:
    assert await said(nest, place, "library") == [("warning", "some.library: look out")]


@places
async def test_a_logged_exception_brings_its_traceback(nest: Nest, place: Place) -> None:
    ((level, text),) = await said(nest, place, "traceback")
    assert level == "error"
    assert text.startswith("it went wrong\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: a bad day")


@places
async def test_what_is_printed_is_in_the_log_line_by_line(nest: Nest, place: Place) -> None:
    lines = [("stdout", "one"), ("stdout", "two and a half"), ("stderr", "odd"), ("stdout", "no end")]
    assert await said(nest, place, "print") == lines


async def test_what_is_said_goes_to_stderr_as_well_and_once(nest: Nest, capfd: pytest.CaptureFixture[str]) -> None:
    for how in ("log", "print", "library"):
        await said(nest, ("single", "blocking"), how)
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("half of it", "two and a half", "odd", "look out"):
        assert err.count(text) == 1, text


@places
async def test_a_warning_is_in_the_log(nest: Nest, place: Place) -> None:
    ((level, text),) = await said(nest, place, "warning")
    assert level == "warning"
    assert "UserWarning: soon gone" in text


@places
async def test_what_cannot_be_formatted_is_there_as_it_is(nest: Nest, place: Place) -> None:
    *complaint, line = await said(nest, place, "bad format")
    assert line == ("info", "'%d'")
    assert ("stderr", "TypeError: %d format: a real number is required, not str") in complaint


@places
async def test_characters_that_utf8_cannot_hold_are_told(nest: Nest, place: Place) -> None:
    assert await said(nest, place, "surrogate") == [("info", "half a pair: \\ud800, a NUL: \0")]


@places
async def test_a_long_line_is_clipped(nest: Nest, place: Place) -> None:
    ((_, text),) = await said(nest, place, "long")
    assert "… 1809 characters left out …" in text


@places
async def test_a_thread_of_the_handlers_is_heard_by_the_contexts_logger_alone(nest: Nest, place: Place) -> None:
    assert await said(nest, place, "thread") == [("info", "heard")]


async def test_what_runs_at_once_has_a_log_each(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    keys = ward.send(*(("two_at_once", {"name": name}) for name in "abc"))
    await ward.ended(*keys)
    for key, name in zip(keys, "abc", strict=True):
        assert [line[3] for line in ward.lines(key)] == [f"{name} {number}" for number in range(3)]


@pytest.mark.parametrize("type_", ["say_async", "say_thread"])
async def test_what_waits_for_a_slot_begins_when_one_that_said_something_ends(nest: Nest, type_: str) -> None:
    ward = await nest.hatch("loop", slots=2)
    await ward.ended(*ward.send(*[(type_, {"how": "log"})] * 20))


async def test_pieces_are_named_by_their_attempt_and_bear_an_event(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("say_async", {"how": "log"}), attempt=12)
    await ward.ended(key)
    (note,) = ward.written
    assert (note.name, note.event) == ("log/00000012/00000000", EventKind.LOG)


@places
async def test_the_last_progress_comes_before_the_report(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"say_{place[1]}", how="progress")
    (progress,) = ward.progress(report.key)
    assert progress == {"done": 2.5, "total": None, "note": "n" * 500 + "\n… 1000 characters left out …\n" + "n" * 500}


@places
async def test_progress_that_is_no_number_is_an_error_of_the_handler(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"say_{place[1]}", how="bad progress")
    assert report.error is not None
    assert report.error.message == "progress is told in numbers, not nan"


@places
async def test_progress_beyond_all_numbers_is_an_error_of_the_handler(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"say_{place[1]}", how="large progress")
    assert report.error is not None
    assert report.error.type == "ValueError"
    assert report.error.message.startswith("progress is told in numbers, not 1000")


@places
async def test_progress_may_be_told_in_numbers_of_another_library(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"say_{place[1]}", how="odd progress")
    assert ward.progress(report.key) == [{"done": 2**70, "total": 0.5, "note": ""}]


@places
async def test_what_is_no_text_cannot_be_written_and_the_error_says_so(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"say_{place[1]}", how="no text")
    assert report.error is not None
    assert report.error.type == "TypeError"


@places
async def test_a_stream_that_a_handler_puts_in_place_of_another_takes_nothing_from_the_log(
    nest: Nest, place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await said(nest, place, "another stream") == [("warning", "some.library: still heard")]
    assert "still heard" in capfd.readouterr().err


async def test_progress_is_sent_while_the_handler_runs_and_not_each_time(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("count_up", {"upto": 500, "every": 0.002}))
    await ward.until(lambda: len(ward.progress(key)) >= 2)
    (report,) = await ward.ended(key)
    done = [progress["done"] for progress in ward.progress(key)]
    assert done == sorted(set(done))
    assert done[-1] == 500
    assert len(done) <= report.seconds / 0.2 + 2


async def test_a_handler_that_blocks_its_child_is_heard_all_the_same(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    (key,) = ward.send(("say_and_block", {}))
    await ward.until(lambda: bool(ward.lines(key) and ward.progress(key)))
    assert key not in ward.reports
    ward.child.kill()


async def test_a_flood_costs_little_memory_and_keeps_head_and_tail(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    calm = await ward.run("flood", lines=1)
    report = await ward.run("flood", lines=20_000, size=2000)
    lines = ward.lines(report.key)
    assert lines[0][3].startswith("0 x")
    assert lines[-1][0] == 20_000
    assert [line[2] for line in lines].count("notice") == 1
    assert all(len(note.value) <= 2**16 + 100 for note in ward.written)
    assert int(report.result or b"") - int(calm.result or b"") < 20


async def test_a_worker_that_does_not_read_holds_up_no_handler(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    keys = ward.send(*[("flood", {"lines": 2000, "size": 2000})] * 5)
    time.sleep(1.5)  # the worker's loop stands still, the socket fills up
    for key in keys:
        await ward.ended(key)
        assert ward.lines(key)[-1][0] == 2000
    assert (await ward.run("echo", value=1)).kind == Kind.DONE


async def test_what_a_handler_leaves_behind_is_not_heard_after_its_end(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    await ward.run("leave_a_talker")
    await ward.run("nap", seconds=0.5)  # notes after the report would have failed by now
    assert not ward.asks
