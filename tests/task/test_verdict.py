"""What becomes of a task: every way an attempt can end, and every count it can have."""

from __future__ import annotations

from typing import Any

import pytest

from dolgo.runner.link import Fault, Kind, Report
from dolgo.store.checks import check_settlement
from dolgo.task.types import ErrorCode, Lease, Outcome, Status
from dolgo.task.verdict import UNSTARTED, End, Interrupted, Loss, given_back, unwritable, verdict


def lease(**changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "id": "a", "token": "t", "type": "echo", "hash": "h", "queue": "default", "payload": b"{}",
        "attempt": 4, "failures": 2, "losses": 1, "max_attempts": 1, "suspect": False,
    }  # fmt: skip
    return Lease(**(fields | changes))


FAULT = Fault(ErrorCode.HANDLER_ERROR, "a bad day", "ValueError", "Traceback…")
ALONE, IN_COMPANY = Loss("was killed by SIGKILL", alone=True), Loss("exited with code 3", alone=False)

TABLE: list[tuple[End, Status, Outcome, int, int, bool, bool]] = [
    # end                                   status            outcome             failures  losses  suspect  started
    (Report(0, Kind.DONE, b"1"),            Status.DONE,      Outcome.DONE,       2,        1,      False,   True),
    (Report(0, Kind.ERROR, error=FAULT),    Status.FAILED,    Outcome.FAILED,     3,        1,      False,   True),
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
    made = verdict(lease(), end, max_losses=3)
    check_settlement(made)
    assert (made.status, made.outcome) == (status, outcome)
    assert (made.failures, made.losses, made.suspect, made.started) == (failures, losses, suspect, started)
    assert (made.result is not None) == (status is Status.DONE)
    assert (made.error is not None) == (status in (Status.FAILED, Status.CANCELLED))
    assert made.delay == 0


def test_the_table_has_every_kind() -> None:
    assert {end.kind for end, *_ in TABLE if isinstance(end, Report)} == set(Kind)


@pytest.mark.parametrize(("losses", "most", "status"), [
    (0, 1, Status.FAILED), (0, 2, Status.QUEUED), (1, 2, Status.FAILED), (1, 3, Status.QUEUED), (2, 3, Status.FAILED),
    (7, 3, Status.FAILED),
])  # fmt: skip
def test_the_last_loss_fails_the_task_and_says_how_its_child_died(losses: int, most: int, status: Status) -> None:
    made = verdict(lease(losses=losses), ALONE, max_losses=most)
    assert (made.status, made.outcome, made.losses, made.failures) == (status, Outcome.LOST, losses + 1, 2)
    if made.error is not None:
        assert (made.error.code, made.error.attempt) == (ErrorCode.WORKER_LOST, 4)
        assert "was killed by SIGKILL" in made.error.message
        assert str(losses + 1) in made.error.message


@pytest.mark.parametrize("losses", [0, 1, 2, 100])
def test_in_company_nobody_is_charged_however_often_it_happens(losses: int) -> None:
    made = verdict(lease(losses=losses), IN_COMPANY, max_losses=1)
    assert (made.status, made.losses, made.suspect) == (Status.QUEUED, losses, True)


def test_an_error_keeps_what_the_handler_said_and_names_the_attempt() -> None:
    error = verdict(lease(), Report(0, Kind.ERROR, error=FAULT), max_losses=3).error
    assert error is not None
    assert (error.code, error.message, error.type, error.traceback) == (FAULT.code, FAULT.message, FAULT.type, FAULT.traceback)
    assert error.attempt == 4


def test_an_error_with_nul_in_it_can_be_stored() -> None:
    fault = Fault(ErrorCode.HANDLER_ERROR, "a\0b", "Odd\0", "line\0\n")
    made = verdict(lease(), Report(0, Kind.ERROR, error=fault), max_losses=3)
    check_settlement(made)
    assert made.error is not None
    assert made.error.message == "a\\0b"
    check_settlement(unwritable(lease(), "what\0ever"))


def test_a_suspect_that_is_given_back_stays_one() -> None:
    for end in (UNSTARTED, Interrupted()):
        assert verdict(lease(suspect=True), end, max_losses=3).suspect
    assert given_back(lease(suspect=True), started=True).suspect
    assert not verdict(lease(suspect=True), Report(0, Kind.DONE, b"1"), max_losses=3).suspect
