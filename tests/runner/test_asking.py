"""Steps, submits and parents: what handlers ask of their worker and wait for, in real children."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from dolgo.runner.link import Answer, Ask, Kind, Verb
from tests.runner.nest import Nest

pytestmark = pytest.mark.anyio

Place = tuple[Literal["loop", "single"], str]
PLACES: list[Place] = [("loop", "async"), ("loop", "thread"), ("single", "blocking"), ("single", "async")]
places = pytest.mark.parametrize("place", PLACES, ids="-".join)


def body(ask: Ask) -> Any:
    return msgspec.json.decode(ask.body)


# Steps


@places
async def test_a_step_runs_once_is_stored_and_comes_back_as_json_gives_it(nest: Nest, place: Place, tmp_path: Path) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"steps_{place[1]}", mark=str(tmp_path / "ran"))
    assert report.result == b'[["a",1],["b",1],"plain",["a",1]]'
    stored = {ask.name: body(ask) for ask in ward.asked(Verb.STEP)}
    assert stored == {"first": ["a", 1], "second": ["b", 1], "third": "plain"}
    assert (tmp_path / "ran").read_text() == "ab"
    assert not ward.asked(Verb.STEPS)  # there is nothing to be known in a first attempt


@places
async def test_a_later_attempt_skips_what_is_stored(nest: Nest, place: Place, tmp_path: Path) -> None:
    ward = await nest.hatch(place[0])
    ward.answers = lambda ask: b'{"first":["old",{"x":1.50}],"second":null}' if ask.verb == Verb.STEPS else b"null"
    (key,) = ward.send((f"steps_{place[1]}", {"mark": str(tmp_path / "ran")}), attempt=2)
    (report,) = await ward.ended(key)
    assert report.result == b'[["old",{"x":1.5}],null,"plain",["old",{"x":1.5}]]'
    assert not (tmp_path / "ran").exists()
    assert [ask.name for ask in ward.asked(Verb.STEP)] == ["third"]
    assert len(ward.asked(Verb.STEPS)) == 1


async def test_a_handler_waits_until_its_step_is_stored(nest: Nest, tmp_path: Path) -> None:
    ward = await nest.hatch("loop")
    ward.answers = lambda ask: None
    (key,) = ward.send(("steps_async", {"mark": str(tmp_path / "ran")}))
    await ward.until(lambda: bool(ward.asks))
    await ward.run("nap", seconds=0.2)
    assert [ask.name for ask in ward.asks] == ["first"]
    ward.answers = lambda ask: b"null"
    ward.child.answer([Answer(ward.asks[0].number, b"null")])
    assert (await ward.ended(key))[0].kind == Kind.DONE


@places
async def test_a_step_that_is_not_stored_fails_with_the_reason(nest: Nest, place: Place, tmp_path: Path) -> None:
    ward = await nest.hatch(place[0])
    ward.answers = lambda ask: "the task has been taken away"
    report = await ward.run(f"steps_{place[1]}", mark=str(tmp_path / "ran"))
    assert report.error is not None
    assert (report.error.type, report.error.message) == ("dolgo.errors.Refused", "the task has been taken away")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("name", "'a\\nb' is not the name of a step"),
        ("twice", "step `same` runs already"),
        ("large", "the result of step `s` takes 1,048,578 bytes as JSON, 1,048,576 are allowed"),
        ("not JSON", "the result of step `s` is not JSON: "),
        ("raise", "invalid literal for int()"),
    ],
)
async def test_a_step_that_cannot_be_is_an_error_of_the_handler(nest: Nest, how: str, message: str) -> None:
    ward = await nest.hatch("loop")
    report = await ward.run("bad_steps", how=how)
    assert report.error is not None
    assert report.error.message.startswith(message)
    assert [ask.name for ask in ward.asks if ask.name != "same"] == []


# Submits


@places
async def test_submits_are_numbered_by_call_and_within_a_step_by_its_name(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    report = await ward.run(f"submit_{place[1]}")
    assert report.result == b'["new-1","new-s/1","new-2","new-x/1","new-y/1"]'
    first, inside, second = ward.asked(Verb.SUBMIT)[:3]
    assert body(first) == {"type": "echo", "payload": {"value": 1}, "queue": "q", "tags": ["a"]}
    assert body(inside) == {"type": "echo", "payload": {"value": 3}, "delay": 5}
    assert body(second) == {"type": "twice", "payload": {}}


@places
async def test_a_refused_submit_is_an_error_with_the_reason(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    ward.answers = lambda ask: "No worker has announced this task type: echo"
    report = await ward.run(f"submit_{place[1]}")
    assert report.error is not None
    assert (report.error.type, report.error.message) == ("dolgo.errors.Refused", "No worker has announced this task type: echo")


async def test_what_is_not_json_is_not_submitted(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    report = await ward.run("submit_badly")
    assert report.error is not None
    assert report.error.message == "what is submitted is not JSON: it holds NaN or Infinity"
    assert not ward.asks


async def test_thousands_of_questions_at_once_are_answered_each_with_its_own(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    assert (await ward.run("submit_many", count=3000)).result == b"3000"
    assert sorted(int(ask.name) for ask in ward.asks) == list(range(1, 3001))


async def test_an_answer_nobody_waits_for_is_ignored(nest: Nest) -> None:
    ward = await nest.hatch("loop")
    ward.child.answer([Answer(5, b"null"), Answer(2**40, None, "no")])
    assert (await ward.run("submit_async")).kind == Kind.DONE


# Parents


@places
async def test_parents_are_fetched_one_by_one_in_their_order(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    parents = [
        {"id": "a", "ref": "x", "type": "t", "status": "done", "result": {"n": [1]}, "error": None},
        {"id": "b", "ref": None, "type": "t", "status": "failed", "result": None, "error": "a bad day"},
    ]
    ward.answers = lambda ask: msgspec.json.encode(dict(enumerate(parents)).get(int(ask.name)))
    report = await ward.run(f"parents_{place[1]}")
    assert report.result == b'[["a","x","t","done",{"n":[1]},null],["b",null,"t","failed",null,"a bad day"]]'
    assert [(ask.verb, ask.name) for ask in ward.asks] == [(Verb.PARENT, str(place)) for place in range(3)]


@places
async def test_a_task_without_parents_has_none(nest: Nest, place: Place) -> None:
    ward = await nest.hatch(place[0])
    assert (await ward.run(f"parents_{place[1]}")).result == b"[]"
