"""What becomes of a task: every way an attempt can end, and every count it can have."""

from __future__ import annotations

from typing import Any

import pytest

from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.checks import check_settlement
from dolgo.task.types import ErrorCode, Lease, Outcome, Status
from dolgo.task.verdict import (
    HOPELESS,
    MOST_DEFERRALS,
    UNSTARTED,
    End,
    Interrupted,
    Loss,
    TimedOut,
    given_back,
    unwritable,
    verdict,
)


def lease(**changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "id": "a", "token": "t", "type": "echo", "hash": "h", "queue": "default", "payload": b"{}",
        "attempt": 4, "failures": 2, "losses": 1, "max_attempts": 1, "suspect": False,
    }  # fmt: skip
    return Lease(**(fields | changes))


def pause(lease: Lease, tries: int) -> float:
    """A backoff that tells after how many tries it was asked for."""
    return 100.0 + tries


FAULT = Fault(ErrorCode.HANDLER_ERROR, "a bad day", "ValueError", "Traceback…")
ALONE, IN_COMPANY = Loss("was killed by SIGKILL", alone=True), Loss("exited with code 3", alone=False)

TABLE: list[tuple[End, Status, Outcome, int, int, bool, bool]] = [
    # end                                   status            outcome             failures  losses  suspect  started
    (Report(0, Kind.DONE, b"1"),            Status.DONE,      Outcome.DONE,       2,        1,      False,   True),
    (Report(0, Kind.ERROR, error=FAULT),    Status.FAILED,    Outcome.FAILED,     3,        1,      False,   True),
    (Report(0, Kind.FAIL, error=FAULT),     Status.FAILED,    Outcome.FAILED,     3,        1,      False,   True),
    (Report(0, Kind.RETRY, error=FAULT),    Status.QUEUED,    Outcome.RETRY,      2,        1,      False,   True),
    (TimedOut(),                            Status.FAILED,    Outcome.TIMEOUT,    3,        1,      False,   True),
    (Report(0, Kind.ABANDONED),             Status.CANCELLED, Outcome.CANCELLED,  2,        1,      False,   True),
    (Report(0, Kind.CANCELLED),             Status.CANCELLED, Outcome.CANCELLED,  2,        1,      False,   True),
    (UNSTARTED,                             Status.QUEUED,    Outcome.GIVEN_BACK, 2,        1,      False,   False),
    (Report(0, Kind.MISMATCH),              Status.QUEUED,    Outcome.GIVEN_BACK, 2,        1,      False,   False),
    (Interrupted(),                         Status.QUEUED,    Outcome.GIVEN_BACK, 2,        1,      False,   True),
    (ALONE,                                 Status.QUEUED,    Outcome.LOST,       2,        2,      True,    True),
    (IN_COMPANY,                            Status.QUEUED,    Outcome.LOST,       2,        1,      True,    True),
]  # fmt: skip


@pytest.mark.parametrize(("end", "status", "outcome", "failures", "losses", "suspect", "started"), TABLE)
def test_each_end_has_its_settlement(
    end: End, status: Status, outcome: Outcome, failures: int, losses: int, suspect: bool, started: bool
) -> None:
    made = verdict(lease(), end, max_losses=3, pause=pause)
    check_settlement(made)
    assert (made.status, made.outcome) == (status, outcome)
    assert (made.failures, made.losses, made.suspect, made.started) == (failures, losses, suspect, started)
    assert (made.result is not None) == (status is Status.DONE)
    assert (made.error is not None) == (status in (Status.FAILED, Status.CANCELLED) or outcome in (Outcome.RETRY, Outcome.LOST))
    assert (made.delay > 0) == (outcome is Outcome.RETRY or end is ALONE)


def test_the_table_has_every_kind() -> None:
    assert {end.kind for end, *_ in TABLE if isinstance(end, Report)} == set(Kind)


@pytest.mark.parametrize(("losses", "most", "status"), [
    (0, 1, Status.FAILED), (0, 2, Status.QUEUED), (1, 2, Status.FAILED), (1, 3, Status.QUEUED), (2, 3, Status.FAILED),
    (7, 3, Status.FAILED),
])  # fmt: skip
def test_the_last_loss_fails_the_task_and_says_how_its_child_died(losses: int, most: int, status: Status) -> None:
    made = verdict(lease(losses=losses), ALONE, max_losses=most, pause=pause)
    assert (made.status, made.outcome, made.losses, made.failures) == (status, Outcome.LOST, losses + 1, 2)
    assert made.error is not None
    assert (made.error.code, made.error.attempt) == (ErrorCode.WORKER_LOST, 4)
    assert "was killed by SIGKILL" in made.error.message
    assert status is Status.QUEUED or str(losses + 1) in made.error.message


@pytest.mark.parametrize("losses", [0, 1, 2, 100])
def test_in_company_nobody_is_charged_however_often_it_happens(losses: int) -> None:
    made = verdict(lease(losses=losses), IN_COMPANY, max_losses=1, pause=pause)
    assert (made.status, made.losses, made.suspect) == (Status.QUEUED, losses, True)


def test_an_error_keeps_what_the_handler_said_and_names_the_attempt() -> None:
    error = verdict(lease(), Report(0, Kind.ERROR, error=FAULT), max_losses=3, pause=pause).error
    assert error is not None
    assert (error.code, error.message, error.type, error.traceback) == (FAULT.code, FAULT.message, FAULT.type, FAULT.traceback)
    assert error.attempt == 4


def test_an_error_with_nul_in_it_can_be_stored() -> None:
    fault = Fault(ErrorCode.HANDLER_ERROR, "a\0b", "Odd\0", "line\0\n")
    made = verdict(lease(), Report(0, Kind.ERROR, error=fault), max_losses=3, pause=pause)
    check_settlement(made)
    assert made.error is not None
    assert made.error.message == "a\\0b"
    check_settlement(unwritable(lease(), "what\0ever"))


def test_a_suspect_that_is_given_back_stays_one() -> None:
    for end in (UNSTARTED, Interrupted()):
        assert verdict(lease(suspect=True), end, max_losses=3, pause=pause).suspect
    assert given_back(lease(suspect=True), started=True).suspect
    assert not verdict(lease(suspect=True), Report(0, Kind.DONE, b"1"), max_losses=3, pause=pause).suspect


# -- other attempts


@pytest.mark.parametrize(("end", "outcome", "code"), [
    (Report(0, Kind.ERROR, error=FAULT), Outcome.FAILED, ErrorCode.HANDLER_ERROR),
    (TimedOut(), Outcome.TIMEOUT, ErrorCode.TIMEOUT),
])  # fmt: skip
def test_a_failure_is_tried_again_after_the_pause_of_its_type_until_the_attempts_are_used_up(
    end: End, outcome: Outcome, code: ErrorCode
) -> None:
    for failures in range(3):
        made = verdict(lease(failures=failures, max_attempts=3, timeout=5.0), end, max_losses=3, pause=pause)
        assert (made.outcome, made.failures, made.error and made.error.code) == (outcome, failures + 1, code)
        assert made.status is (Status.QUEUED if failures < 2 else Status.FAILED)
        assert made.delay == (101.0 + failures if failures < 2 else 0.0)


@pytest.mark.parametrize("code", sorted(HOPELESS))
def test_what_would_fail_in_the_same_way_is_not_tried_again(code: ErrorCode) -> None:
    fault = Fault(code, "too much of it")
    made = verdict(lease(failures=0, max_attempts=9), Report(0, Kind.ERROR, error=fault), max_losses=3, pause=pause)
    assert (made.status, made.error and made.error.code) == (Status.FAILED, code)


def test_a_handler_that_says_fail_is_not_tried_again() -> None:
    made = verdict(lease(failures=0, max_attempts=9), Report(0, Kind.FAIL, error=FAULT), max_losses=3, pause=pause)
    assert (made.status, made.failures) == (Status.FAILED, 1)


def test_a_handler_that_asks_for_another_attempt_is_charged_nothing_and_waits_as_long_as_it_says() -> None:
    asked = Report(0, Kind.RETRY, error=FAULT, delay=7.0)
    made = verdict(lease(failures=0, max_attempts=1, deferrals=4), asked, max_losses=3, pause=pause)
    assert (made.status, made.delay, made.failures, made.deferrals) == (Status.QUEUED, 7.0, 0, 5)
    left_open = verdict(lease(deferrals=4), Report(0, Kind.RETRY, error=FAULT), max_losses=3, pause=pause)
    assert left_open.delay == 105.0


def test_but_not_for_ever() -> None:
    asked = Report(0, Kind.RETRY, error=FAULT, delay=7.0)
    last = verdict(lease(deferrals=MOST_DEFERRALS - 1), asked, max_losses=3, pause=pause)
    assert (last.status, last.deferrals) == (Status.QUEUED, MOST_DEFERRALS)
    over = verdict(lease(deferrals=MOST_DEFERRALS), asked, max_losses=3, pause=pause)
    assert over.status is Status.FAILED
    assert over.error is not None
    assert "a bad day" in over.error.message
    assert "1,000" in over.error.message


def test_after_each_loss_it_waits_longer_before_it_runs_again() -> None:
    delays = [verdict(lease(losses=n), ALONE, max_losses=99, pause=pause).delay for n in range(10)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_no_end_loses_count_of_what_was_asked_for_before() -> None:
    for end, *_ in TABLE:
        asks = isinstance(end, Report) and end.kind is Kind.RETRY
        assert verdict(lease(deferrals=8), end, max_losses=3, pause=pause).deferrals == 8 + asks
