"""The rules over the lives of tasks find what breaks them, each of them, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.blackbox.checker import History
from tests.blackbox.life import broken, doubled_ticks, miscounted, over_limit, steps_again

Tasks = dict[str, dict[str, Any]]

CODES = {"failed": {"code": "handler_error"}, "cancelled": {"code": "dependency_failed"}}


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def attempt(number: int, outcome: str, begun: float, ended: float) -> dict[str, Any]:
    return {"number": number, "outcome": outcome, "started_at": at(begun), "finished_at": at(ended), "error": None}


def task(id: str, status: str = "done", **more: Any) -> dict[str, Any]:
    error = CODES[status] | {"message": "it broke"} if status in CODES else None
    return {
        "id": id, "status": status, "queue": "default", "attempts": [], "attempt": 0, "max_attempts": 2, "error": error,
        "parents": [], "dependents": [], "on_parent_failure": "cancel", "finished_at": at(9), **more,
    }  # fmt: skip


@pytest.fixture
def tasks() -> Tasks:
    """One that is done after a failure and a loss, one that has failed, and one dependent of each that ended as it should."""
    lived = {
        "attempts": [attempt(1, "failed", 1, 2), attempt(2, "lost", 2, 3), attempt(3, "done", 3, 4)],
        "attempt": 3,
        "finished_at": at(4),
    }
    failed = {"attempts": [attempt(1, "failed", 1, 2), attempt(2, "failed", 2, 3)], "attempt": 2, "finished_at": at(3)}
    after = {"attempts": [attempt(1, "done", 5, 6)], "attempt": 1}
    made = [
        task("done", dependents=["after", "any"], **lived),
        task("after", parents=["done"], **after),
        task("failed", "failed", dependents=["cancelled", "any"], **failed),
        task("cancelled", "cancelled", parents=["failed"]),
        task("any", parents=["done", "failed"], on_parent_failure="run", **after),
    ]
    return {task["id"]: task for task in made}


def test_what_is_as_it_should_be_breaks_no_rule(tasks: Tasks) -> None:
    assert broken(tasks.values()) == {}


def left_waiting(tasks: Tasks) -> None:
    tasks["after"].update(status="waiting", attempts=[], attempt=0, finished_at=None)


def never_ended(tasks: Tasks) -> None:
    tasks["done"].update(status="queued")


def lost_its_parent(tasks: Tasks) -> None:
    del tasks["done"]


def forgot_its_parent(tasks: Tasks) -> None:
    tasks["after"].update(parents=[])


def ran_though_its_parent_failed(tasks: Tasks) -> None:
    tasks["cancelled"].update(status="done", error=None, attempts=[attempt(1, "done", 5, 6)], attempt=1)


def was_cancelled_though_its_parents_are_done(tasks: Tasks) -> None:
    tasks["after"].update(status="cancelled", error={"code": "dependency_failed"}, attempts=[], attempt=0)


def was_cancelled_though_it_was_to_run(tasks: Tasks) -> None:
    tasks["any"].update(status="cancelled", error={"code": "dependency_failed"}, attempts=[], attempt=0)


def had_begun_before_it_was_cancelled(tasks: Tasks) -> None:
    tasks["cancelled"].update(attempts=[attempt(1, "cancelled", 5, 6)], attempt=1)


def began_too_early(tasks: Tasks) -> None:
    tasks["after"].update(attempts=[attempt(1, "done", 3.5, 6)])


def failed_too_often(tasks: Tasks) -> None:
    tasks["failed"]["attempts"].append(attempt(3, "failed", 4, 5))
    tasks["failed"].update(attempt=3)


def ran_after_it_was_done(tasks: Tasks) -> None:
    tasks["done"]["attempts"].append(attempt(4, "done", 5, 6))
    tasks["done"].update(attempt=4)


def used_a_number_twice(tasks: Tasks) -> None:
    tasks["done"]["attempts"][1].update(number=1)


def is_done_by_a_lost_attempt(tasks: Tasks) -> None:
    tasks["after"].update(attempts=[attempt(1, "lost", 5, 6)])


def has_failed_without_an_error(tasks: Tasks) -> None:
    tasks["failed"].update(error=None)


def had_two_attempts_at_once(tasks: Tasks) -> None:
    tasks["done"]["attempts"][2].update(started_at=at(2.5))


def failed_for_one_loss(tasks: Tasks) -> None:
    tasks["failed"].update(error={"code": "worker_lost"}, attempts=[attempt(1, "lost", 1, 2)], attempt=1)


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (left_waiting, "unfinished"),
        (never_ended, "unfinished"),
        (lost_its_parent, "unlinked"),
        (forgot_its_parent, "unlinked"),
        (ran_though_its_parent_failed, "against_parents"),
        (was_cancelled_though_its_parents_are_done, "against_parents"),
        (was_cancelled_though_it_was_to_run, "against_parents"),
        (had_begun_before_it_was_cancelled, "against_parents"),
        (began_too_early, "against_parents"),
        (failed_too_often, "against_attempts"),
        (ran_after_it_was_done, "against_attempts"),
        (used_a_number_twice, "against_attempts"),
        (is_done_by_a_lost_attempt, "against_attempts"),
        (has_failed_without_an_error, "against_attempts"),
        (had_two_attempts_at_once, "overlapping_attempts"),
        (failed_for_one_loss, "too_many_losses"),
    ],
)
def test_each_rule_finds_what_breaks_it(spoil: Callable[[Tasks], None], rule: str, tasks: Tasks) -> None:
    spoil(tasks)
    assert rule in broken(tasks.values())


def test_a_final_body_that_changes_is_found(tasks: Tasks) -> None:
    history = History()
    for one in tasks.values():
        one.update(tags=[one["id"]])
        history.attempt(one["id"])
        history.saw(one)
    assert not history.judge(tasks.values()).wrong
    tasks["failed"].update(status="done", result=1, error=None)
    assert history.judge(tasks.values()).wrong == {"changed": ["failed"]}
    del tasks["any"]
    assert history.judge(tasks.values()).wrong == {"changed": ["failed"]}  # it was attempted, nobody said that it was taken up
    history.acknowledge("any", "any")
    assert history.judge(tasks.values()).wrong == {"changed": ["failed"], "lost": ["any"]}


def id_of(seconds: float) -> str:
    return f"{int(seconds * 1000):012x}-7000-8000-000000000000"


def test_ticks_that_are_doubled_or_from_nowhere_are_found() -> None:
    ids = [id_of(1000.25), id_of(1002.25), id_of(1008.25)]
    assert list(doubled_ticks(ids, first=1000.25, every=2)) == []
    assert len(list(doubled_ticks([*ids, id_of(1002.25)], first=1000.25, every=2))) == 1
    assert len(list(doubled_ticks([*ids, id_of(1003.25)], first=1000.25, every=2))) == 1


def test_a_step_that_runs_after_it_was_stored_is_found() -> None:
    before = ["ran a/1", "ran a/1", "stored a/1", "ran a/2", "ran b/1", "stored a/1"]
    assert list(steps_again(before)) == []
    assert len(list(steps_again([*before, "ran a/1"]))) == 1


def test_more_at_once_than_may_is_found_and_the_killed_do_not_count() -> None:
    right = ["begin a", "begin killed", "begin b", "end a", "begin c", "end b", "end c"]
    assert list(over_limit(right, 2)) == []
    assert len(list(over_limit([*right[:3], "begin d", *right[3:], "end d"], 2))) >= 1


def test_counts_that_do_not_fit_the_list_are_found(tasks: Tasks) -> None:
    right = {"name": "default", "counts": {"done": 3, "failed": 1, "cancelled": 1, "queued": 0}}
    assert list(miscounted(list(tasks.values()), [right])) == []
    wrong = {"name": "default", "counts": {"done": 4, "failed": 1, "cancelled": 1, "queued": 0}}
    assert len(list(miscounted(list(tasks.values()), [wrong]))) == 1
