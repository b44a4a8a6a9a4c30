"""`dolgo cancel` and `retry`: by ids, and by filters."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run, Stub

QUEUED = {"id": "a", "status": "queued"}


def test_cancel_says_what_became_of_each(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/a/cancel", {"id": "a", "status": "cancelled"})
    stub.answer("POST /tasks/b/cancel", {"id": "b", "status": "in_progress"}, 202)
    stub.refuse("POST /tasks/c/cancel", 409, "The task is done.")
    ran = run("cancel", "a", "b", "c")
    assert ran == (5, "a  cancelled\nb  in_progress  (asked to stop)\n", "dolgo: c: The task is done.\n")


def test_retry_says_where_the_task_stands(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/a/retry", QUEUED, 202)
    assert run("retry", "a") == (0, "a  queued\n", "")
    assert run("retry", "a", "--json").out == '{"id":"a","status":"queued"}\n'


def test_filters_are_sent_and_what_became_of_the_tasks_is_said(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/cancel", {"matched": 3, "changed": 2, "more": False})
    filters = ["--type", "t", "--queue", "q", "--tag", "x y", "--created-before", "2026-01-31T12:00:00Z"]
    assert run("cancel", *filters) == (0, "3 found, 2 changed\n", "")
    (made,) = stub.asked("POST /tasks/cancel")
    assert made.query == {"type": "t", "queue": "q", "tag": "x y", "created_before": "2026-01-31T12:00:00Z"}


def test_a_change_of_many_goes_on_until_none_is_left(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/retry", {"matched": 10_000, "changed": 9_999, "more": True})
    stub.answer("POST /tasks/retry", {"matched": 2, "changed": 2, "more": False})
    assert run("retry", "--status", "failed", "--json").out == '{"matched":10002,"changed":10001,"more":false}\n'
    assert len(stub.asked("POST /tasks/retry")) == 2


def test_a_change_that_changes_nothing_more_comes_to_an_end(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/retry", {"matched": 10_000, "changed": 0, "more": True})
    assert run("retry", "--type", "t") == (0, "more than 10000 found, 0 changed\n", "")


def test_a_dry_run_counts_once(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/cancel", {"matched": 10_000, "changed": 0, "more": True})
    assert run("cancel", "--type", "t", "--dry-run") == (0, "more than 10000 found\n", "")
    (made,) = stub.asked("POST /tasks/cancel")
    assert made.query == {"type": "t", "dry_run": "true"}


def test_a_retry_of_many_is_not_repeated_when_its_answer_is_lost(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks/retry", b"", 0)
    assert run("retry", "--type", "t").code == 7
    assert len(stub.asked("POST /tasks/retry")) == 1


@pytest.mark.parametrize("arguments", [[], ["a", "--type", "t"], ["--dry-run"], ["a", "--dry-run"]])
@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_ids_or_filters_are_needed_and_not_both(verb: str, arguments: list[str], run: Run, stub: Stub) -> None:
    ran = run(verb, *arguments)
    assert (ran.code, ran.out, stub.requests) == (2, "", [])
