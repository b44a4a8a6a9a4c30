"""The checker of histories catches each kind of fault, and finds none where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.blackbox.checker import History


def task(key: str, status: str = "done", *, id: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id or f"id-{key}", "tags": [key], "status": status, "result": 1 if status == "done" else None, **more}


@pytest.fixture
def history() -> History:
    """Tasks a and b were acknowledged, c was tried, and a was seen to end."""
    history = History()
    for key in "abc":
        history.attempt(key)
    for key in "ab":
        history.acknowledge(key, f"id-{key}")
    history.saw({"id": "id-a", "status": "queued"})
    history.saw({"id": "id-a", "status": "done", "result": 1})
    return history


def test_what_is_as_it_should_be_is_not_wrong(history: History) -> None:
    assert not history.judge([task("a"), task("b", "failed", error={"message": "x"})]).wrong


def test_a_task_without_an_answer_may_exist(history: History) -> None:
    verdict = history.judge([task("a"), task("b"), task("c")])
    assert not verdict.wrong
    assert verdict.recovered == 1


def test_an_acknowledged_task_that_is_not_there_is_lost(history: History) -> None:
    assert history.judge([task("a")]).wrong == {"lost": ["b"]}


def test_a_task_that_nobody_submitted_is_unexpected(history: History) -> None:
    assert history.judge([task("a"), task("b"), task("z")]).wrong == {"unexpected": ["z"]}


def test_a_task_that_has_not_ended_is_stuck(history: History) -> None:
    assert history.judge([task("a"), task("b", "in_progress")]).wrong == {"stuck": ["b"]}


@pytest.mark.parametrize("later", [{"status": "failed"}, {"status": "queued"}, {"result": 2}])
def test_an_outcome_that_is_another_one_later_is_changed(history: History, later: dict[str, Any]) -> None:
    wrong = history.judge([{**task("a"), **later}, task("b")]).wrong
    assert wrong["changed"] == ["id-a"]


def test_an_outcome_that_changed_and_changed_back_is_changed(history: History) -> None:
    history.saw({"id": "id-a", "status": "in_progress"})
    assert history.judge([task("a"), task("b")]).wrong == {"changed": ["id-a"]}


def test_an_error_that_reads_otherwise_later_is_changed(history: History) -> None:
    history.saw({"id": "id-b", "status": "failed", "error": "one"})
    assert not history.judge([task("a"), task("b", "failed", error={"message": "one"}, result=None)]).wrong
    assert history.judge([task("a"), task("b", "failed", error={"message": "two"})]).wrong == {"changed": ["id-b"]}


def test_two_tasks_of_one_key_are_doubled(history: History) -> None:
    assert history.judge([task("a"), task("b"), task("b", id="other")]).wrong == {"doubled": ["b"]}


def test_another_id_for_the_same_key_must_be_there_as_well(history: History) -> None:
    history.acknowledge("a", "another")
    assert history.judge([task("a"), task("b")]).wrong == {"lost": ["a as another"]}


def test_a_retry_may_change_an_outcome_and_nothing_else_may(history: History) -> None:
    history.saw({"id": "id-b", "status": "failed", "error": "one"}, 1, 2)
    history.retry("id-b", 3, 4)
    history.saw({"id": "id-b", "status": "failed", "error": "one"}, 3.5, 3.6)  # nobody knows whether that was before
    history.saw({"id": "id-b", "status": "queued"}, 5, 6)
    assert not history.judge([task("a"), task("b")]).wrong
    history.saw({"id": "id-b", "status": "failed", "error": "two"}, 7, 8)
    assert history.judge([task("a"), task("b")]).wrong == {"changed": ["id-b"]}


def test_the_retry_of_a_parent_may_change_what_depends_on_it(history: History) -> None:
    history.saw({"id": "id-b", "status": "cancelled", "error": "its parent"}, 1, 2)
    history.retry("id-a", 3, 4)
    tasks = [task("a", dependents=["between"]), task("b")]
    assert "id-b" in history.judge(tasks).wrong["changed"]
    history.attempt("between")
    assert "id-b" not in history.judge([*tasks, task("between", id="between", dependents=["id-b"])]).wrong.get("changed", [])


def test_an_answer_that_was_under_way_when_the_outcome_was_seen_changes_nothing(history: History) -> None:
    history.saw({"id": "id-b", "status": "done", "result": 1}, 2, 3)
    history.saw({"id": "id-b", "status": "in_progress"}, 1, 4)
    assert not history.judge([task("a"), task("b")]).wrong
