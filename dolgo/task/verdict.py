"""What becomes of a task when an attempt has ended. The only place that decides; pure, so that it can be read as a table."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from dolgo.runner.link import Kind, Report
from dolgo.task.backoff import after_loss
from dolgo.task.types import Error, ErrorCode, Lease, Outcome, Settlement, Status


class Loss(Struct, frozen=True):
    """The child that ran an attempt has died."""

    how: str  # "was killed by SIGKILL", "exited with code 3"
    alone: bool  # no other attempt had begun in it, so this one is to blame


class Interrupted(Struct, frozen=True):
    """The worker stopped the attempt because it was not sure of the lease any more; nobody asked for a cancel."""


class TimedOut(Struct, frozen=True):
    """The attempt took longer than it may, and was stopped."""


End = Report | Loss | Interrupted | TimedOut
Ended = tuple[Lease, End]
Pause = Callable[[Lease, int], float]  # seconds to wait after so many tries, by the backoff of the lease's type

UNSTARTED = Report(0, Kind.UNSTARTED)  # the end of an attempt that no child has begun
MOST_DEFERRALS = 1_000  # times a handler may ask for another attempt: past it something will never come true
HOPELESS = frozenset({ErrorCode.UNSERIALISABLE_RESULT, ErrorCode.RESULT_TOO_LARGE, ErrorCode.INVALID_PAYLOAD})  # the same again


def verdict(lease: Lease, end: End, *, max_losses: int, pause: Pause) -> Settlement:
    """The settlement for how a child said, or showed by dying, that an attempt ended."""
    if isinstance(end, Report) and end.kind is Kind.DONE:  # first, because nearly all are
        return Settlement(lease, Status.DONE, Outcome.DONE, end.result, None, 0.0, lease.failures, lease.losses, False, True,
                          lease.deferrals)  # fmt: skip
    match end:
        case Loss():
            return _lost(lease, end, max_losses)
        case Interrupted():
            return given_back(lease, started=True)
        case TimedOut():
            return _timed_out(lease, pause)
    match end.kind:
        case Kind.DONE:
            return _final(lease, Status.DONE, Outcome.DONE, result=end.result)
        case Kind.ERROR:
            return _failed(lease, _error(lease, end), pause)
        case Kind.FAIL:
            return _final(lease, Status.FAILED, Outcome.FAILED, error=_error(lease, end), failures=lease.failures + 1)
        case Kind.RETRY:
            return _deferred(lease, end, pause)
        case Kind.CANCELLED | Kind.ABANDONED:
            error = Error(ErrorCode.CANCELLED, "Cancelled while it ran.", attempt=lease.attempt)
            return _final(lease, Status.CANCELLED, Outcome.CANCELLED, error=error)
        case Kind.UNSTARTED | Kind.MISMATCH:
            return given_back(lease, started=False)


def is_made_of_stopping(report: Report) -> bool:
    """Whether it is an error that most likely comes of being told to stop, if the handler was."""
    return report.kind is Kind.ERROR and (report.error is None or report.error.code is ErrorCode.HANDLER_ERROR)


def stopped(report: Report, *, timed_out: bool) -> End:
    """The end of an attempt that was asked to stop: as it says, if it came to a result or a reason of its own."""
    obeyed = report.kind in (Kind.CANCELLED, Kind.ABANDONED)
    if timed_out and (obeyed or is_made_of_stopping(report)):
        return TimedOut()
    return Report(0, Kind.CANCELLED) if obeyed else report


def given_back(lease: Lease, *, started: bool) -> Settlement:
    """Back to its place in the line: neither a failure nor a loss."""
    return Settlement(lease, Status.QUEUED, Outcome.GIVEN_BACK, failures=lease.failures, losses=lease.losses,
                      suspect=lease.suspect, started=started, deferrals=lease.deferrals)  # fmt: skip


def unwritable(lease: Lease, reason: str) -> Settlement:
    """For an end that the store refuses to keep, whatever is tried: better failed with the reason than never ended."""
    error = Error(ErrorCode.HANDLER_ERROR, _clean(f"How it ended cannot be stored: {reason}"), attempt=lease.attempt)
    return _final(lease, Status.FAILED, Outcome.FAILED, error=error, failures=lease.failures + 1)


def _final(
    lease: Lease, status: Status, outcome: Outcome, *, result: bytes | None = None, error: Error | None = None,
    failures: int | None = None, losses: int | None = None,
) -> Settlement:  # fmt: skip
    failures = lease.failures if failures is None else failures
    losses = lease.losses if losses is None else losses
    return Settlement(lease, status, outcome, result, error, 0.0, failures, losses, deferrals=lease.deferrals)


def _again(lease: Lease, outcome: Outcome, error: Error, delay: float, *, failures: int = 0, deferrals: int = 0) -> Settlement:
    return Settlement(lease, Status.QUEUED, outcome, None, error, delay, lease.failures + failures, lease.losses,
                      deferrals=lease.deferrals + deferrals)  # fmt: skip


def _failed(lease: Lease, error: Error, pause: Pause, outcome: Outcome = Outcome.FAILED) -> Settlement:
    """Another attempt if there is one left and it could help."""
    failures = lease.failures + 1
    if failures < lease.max_attempts and error.code not in HOPELESS:
        return _again(lease, outcome, error, pause(lease, failures), failures=1)
    return _final(lease, Status.FAILED, outcome, error=error, failures=failures)


def _timed_out(lease: Lease, pause: Pause) -> Settlement:
    error = Error(ErrorCode.TIMEOUT, f"It took longer than its timeout of {lease.timeout or 0.0:g} s.", attempt=lease.attempt)
    return _failed(lease, error, pause, Outcome.TIMEOUT)


def _deferred(lease: Lease, end: Report, pause: Pause) -> Settlement:
    """The handler asked for another attempt, which is no failure: but not for ever."""
    deferrals, error = lease.deferrals + 1, _error(lease, end)
    if deferrals > MOST_DEFERRALS:
        reason = f"It asked to be tried again more than {MOST_DEFERRALS:,} times; the last reason: {error.message}"
        error = replace(error, message=reason)
        return _final(lease, Status.FAILED, Outcome.FAILED, error=error, failures=lease.failures + 1)
    delay = pause(lease, deferrals) if end.delay is None else end.delay
    return _again(lease, Outcome.RETRY, error, delay, deferrals=1)


def _error(lease: Lease, end: Report) -> Error:
    fault = end.error
    assert fault is not None  # a report of these kinds has one
    type, traceback = fault.type and _clean(fault.type), fault.traceback and _clean(fault.traceback)
    return Error(fault.code, _clean(fault.message), type, traceback, lease.attempt)


def _lost(lease: Lease, loss: Loss, max_losses: int) -> Settlement:
    """Alone: a loss, and after the last one it has failed. In company nobody knows whose fault it was, so nobody is charged.

    Either way it runs alone next: it may take its neighbours with it once more."""
    losses = lease.losses + loss.alone
    again = not loss.alone or losses < max_losses
    message = f"Its process {loss.how}, with {'no other task' if loss.alone else 'others'} in it."
    if not again:
        message = f"Its process died {losses} times while it ran alone; the last one {loss.how}."
    error = Error(ErrorCode.WORKER_LOST, message, attempt=lease.attempt)
    if again:
        delay = after_loss(losses) if loss.alone else 0.0
        return Settlement(lease, Status.QUEUED, Outcome.LOST, None, error, delay, lease.failures, losses,
                          suspect=True, deferrals=lease.deferrals)  # fmt: skip
    return _final(lease, Status.FAILED, Outcome.LOST, error=error, losses=losses)


def _clean(text: str) -> str:
    """The text without NUL, which no store need keep; a handler can write it into its exception."""
    return text.replace("\0", "\\0")
