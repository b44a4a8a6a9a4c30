"""What becomes of a task when an attempt has ended. The only place that decides; pure, so that it can be read as a table."""

from __future__ import annotations

from msgspec import Struct

from dolgo.runner.link import Kind, Report
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

UNSTARTED = Report(0, Kind.UNSTARTED)  # the end of an attempt that no child has begun


def verdict(lease: Lease, end: End, *, max_losses: int) -> Settlement:
    """The settlement for how a child said, or showed by dying, that an attempt ended."""
    if isinstance(end, Loss):
        return _lost(lease, end, max_losses)
    if isinstance(end, Interrupted):
        return given_back(lease, started=True)
    match end.kind:
        case Kind.DONE:
            return Settlement(lease, Status.DONE, Outcome.DONE, end.result, None, 0.0, lease.failures, lease.losses)
        case Kind.ERROR:
            return _failed(lease, end)
        case Kind.CANCELLED:
            error = Error(ErrorCode.CANCELLED, "Cancelled while it ran.", attempt=lease.attempt)
            return Settlement(lease, Status.CANCELLED, Outcome.CANCELLED, None, error, 0.0, lease.failures, lease.losses)
        case Kind.UNSTARTED | Kind.MISMATCH:
            return given_back(lease, started=False)


def given_back(lease: Lease, *, started: bool) -> Settlement:
    """Back to its place in the line: neither a failure nor a loss."""
    return Settlement(lease, Status.QUEUED, Outcome.GIVEN_BACK, failures=lease.failures, losses=lease.losses,
                      suspect=lease.suspect, started=started)  # fmt: skip


def unwritable(lease: Lease, reason: str) -> Settlement:
    """For an end that the store refuses to keep, whatever is tried: better failed with the reason than never ended."""
    error = Error(ErrorCode.HANDLER_ERROR, _clean(f"How it ended cannot be stored: {reason}"), attempt=lease.attempt)
    return Settlement(lease, Status.FAILED, Outcome.FAILED, None, error, 0.0, lease.failures + 1, lease.losses)


def _failed(lease: Lease, end: Report) -> Settlement:
    fault = end.error
    assert fault is not None  # a report of this kind has one
    type, traceback = fault.type and _clean(fault.type), fault.traceback and _clean(fault.traceback)
    error = Error(fault.code, _clean(fault.message), type, traceback, lease.attempt)
    return Settlement(lease, Status.FAILED, Outcome.FAILED, None, error, 0.0, lease.failures + 1, lease.losses)


def _lost(lease: Lease, loss: Loss, max_losses: int) -> Settlement:
    """Alone: a loss, and after the last one it has failed. In company nobody knows whose fault it was, so nobody is charged.

    Either way it runs alone next: it may take its neighbours with it once more."""
    losses = lease.losses + loss.alone
    if not loss.alone or losses < max_losses:
        return Settlement(lease, Status.QUEUED, Outcome.LOST, failures=lease.failures, losses=losses, suspect=True)
    message = f"Its process died {losses} times while it ran alone; the last one {loss.how}."
    error = Error(ErrorCode.WORKER_LOST, message, attempt=lease.attempt)
    return Settlement(lease, Status.FAILED, Outcome.LOST, None, error, 0.0, lease.failures, losses)


def _clean(text: str) -> str:
    """The text without NUL, which no store need keep; a handler can write it into its exception."""
    return text.replace("\0", "\\0")
