"""What a berth knows of its child: when an attempt has had its time, when a child is deaf, and how those aboard end with it."""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import pytest

from dolgo.runner.link import Child, Fault, Job, Kind, Report
from dolgo.task import berth as berth_room
from dolgo.task.berth import DEAF_AFTER, UNSOUND, Berth
from dolgo.task.types import ErrorCode, Lease
from dolgo.task.verdict import UNSTARTED, Loss, TimedOut

GRACE = 2.0
CANCELLED = Report(0, Kind.CANCELLED)
HANDLER = Fault(ErrorCode.HANDLER_ERROR, "boom")


class Hand:
    """A child in name only, and the time, moved by hand."""

    def __init__(self, kind: Literal["loop", "single"]) -> None:
        self.now = 1_000.0
        self.begun = self.sent = 0
        self.pid = 4711
        self.cancelled: list[int] = []
        self.stopped = self.killed = False
        self.berth = Berth(kind, grace=GRACE)
        self.berth.child = cast(Child, self)
        self.berth.ready = True

    def monotonic(self) -> float:
        return self.now

    def send(self, jobs: list[Job]) -> None:
        self.sent += len(jobs)

    def cancel(self, keys: list[int]) -> None:
        self.cancelled += keys

    def stop(self) -> None:
        self.stopped = True

    def kill(self) -> None:
        self.killed = True

    def aboard(self, *timeouts: float | None, begun: int | None = None) -> list[Lease]:
        """So many attempts, with these timeouts, of which so many have begun."""
        leases = [lease(number, timeout) for number, timeout in enumerate(timeouts)]
        self.berth.send([(lease, self.now + 1) for lease in leases])
        self.begun = len(leases) if begun is None else begun
        return leases

    def mind(self, after: float) -> float:
        self.now += after
        return self.berth.mind(self.now)

    def is_deaf(self) -> bool:
        return bool(self.berth.deaf(self.now))


def lease(number: int, timeout: float | None) -> Lease:
    return Lease(f"t{number}", f"token-{number}", "echo", "h", "default", b"{}", 1, 0, 0, 1, False, timeout=timeout)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(kind: Literal["loop", "single"] = "loop") -> Hand:
        made = Hand(kind)
        monkeypatch.setattr(berth_room, "time", made)
        return made

    return make


# -- timeouts


def test_an_attempt_is_asked_to_stop_when_its_time_is_over_counted_from_its_beginning(hand: Any) -> None:
    loop = hand()
    loop.aboard(5.0, None, begun=0)
    assert loop.mind(60.0) == math.inf
    loop.begun = 2
    assert loop.mind(1.0) == loop.now + 5.0
    assert loop.mind(4.9) == pytest.approx(loop.now + 0.1)
    assert not loop.cancelled
    assert loop.mind(0.2) == math.inf
    assert loop.cancelled == [0]


def test_it_is_asked_once_and_the_child_killed_only_after_the_grace(hand: Any) -> None:
    loop = hand()
    loop.aboard(1.0)
    loop.mind(0.0)
    loop.mind(1.0)
    loop.berth.cancel({"token-0"})
    loop.mind(GRACE)
    assert (loop.cancelled, loop.is_deaf()) == ([0], False)
    loop.mind(DEAF_AFTER + 0.01)
    assert loop.is_deaf()
    loop.berth.kill()
    assert not loop.is_deaf(), "it would be killed again and again"


def test_a_cancel_asked_before_the_time_was_over_is_no_timeout(hand: Any) -> None:
    loop = hand()
    (one,) = loop.aboard(1.0)
    loop.mind(0.0)
    loop.berth.cancel({"token-0"})
    loop.mind(1.5)
    assert loop.berth.ended([Report(0, Kind.CANCELLED)]) == [(one, CANCELLED)]


def test_what_has_not_begun_is_no_reason_to_kill_a_child(hand: Any) -> None:
    loop = hand()
    loop.aboard(None, None, begun=1)
    loop.berth.cancel({"token-1"})
    loop.mind(GRACE + 1)
    assert not loop.is_deaf()


# -- reports


@pytest.mark.parametrize(("report", "end"), [
    (Report(0, Kind.CANCELLED), TimedOut()),
    (Report(0, Kind.ABANDONED), TimedOut()),
    (Report(0, Kind.ERROR, error=HANDLER), TimedOut()),
    (Report(0, Kind.DONE, b"1"), None),
    (Report(0, Kind.FAIL, error=HANDLER), None),
    (Report(0, Kind.RETRY, error=HANDLER), None),
    (Report(0, Kind.UNSTARTED), None),
    (Report(0, Kind.ERROR, error=Fault(ErrorCode.RESULT_TOO_LARGE, "large")), None),
], ids=lambda value: getattr(value, "kind", ""))  # fmt: skip
def test_after_its_time_an_attempt_ends_as_timed_out_unless_it_came_to_something(
    hand: Any, report: Report, end: TimedOut | None
) -> None:
    loop = hand()
    (one,) = loop.aboard(1.0)
    loop.mind(0.0)
    loop.mind(1.0)
    assert loop.berth.ended([report]) == [(one, end or report)]


@pytest.mark.parametrize(("report", "sound"), [
    (Report(0, Kind.DONE, '{"é":[1,null]}'.encode()), True),
    (Report(0, Kind.DONE, b"[" * 1_500 + b"]" * 1_500), True),
    (Report(0, Kind.DONE, b"1 2"), False),
    (Report(0, Kind.DONE, b'{"a":'), False),
    (Report(0, Kind.DONE, b'"\xff"'), False),
    (Report(0, Kind.DONE, b""), False),
    (Report(0, Kind.DONE), False),
    (Report(0, Kind.ERROR), False),
    (Report(0, Kind.ERROR, error=Fault(ErrorCode.CANCELLED, "by nobody")), False),
    (Report(0, Kind.ERROR, error=Fault(ErrorCode.INVALID_PAYLOAD, "it does not fit")), True),
    (Report(0, Kind.RETRY, error=HANDLER, delay=0.0), True),
    (Report(0, Kind.RETRY, error=HANDLER, delay=-1.0), False),
    (Report(0, Kind.RETRY, error=HANDLER, delay=math.nan), False),
    (Report(0, Kind.RETRY, error=HANDLER, delay=math.inf), False),
])  # fmt: skip
def test_what_no_child_of_ours_would_report_is_an_error_of_the_handler(hand: Any, report: Report, sound: bool) -> None:
    loop = hand()
    (one,) = loop.aboard(None)
    assert loop.berth.ended([report]) == [(one, report if sound else Report(0, Kind.ERROR, error=UNSOUND))]


@pytest.mark.parametrize("asked", [True, False])
def test_an_abandoned_thread_has_stopped_as_far_as_its_task_goes_and_spoils_its_child(hand: Any, asked: bool) -> None:
    loop = hand()
    (one,) = loop.aboard(None)
    if asked:
        loop.berth.cancel({"token-0"})
    assert loop.berth.ended([Report(0, Kind.ABANDONED)]) == [(one, CANCELLED)]
    assert loop.berth.spoilt
    assert loop.berth.ended([Report(0, Kind.DONE, b"1")]) == []


def test_an_error_after_a_cancel_stays_one(hand: Any) -> None:
    loop = hand()
    (one,) = loop.aboard(None)
    loop.berth.cancel({"token-0"})
    report = Report(0, Kind.ERROR, error=HANDLER)
    assert loop.berth.ended([report]) == [(one, report)]


def test_a_single_child_that_was_asked_to_stop_gets_no_more_and_is_told_to_end_after_its_report(hand: Any) -> None:
    single = hand("single")
    single.aboard(None)
    single.berth.cancel({"token-0"})
    assert (single.berth.retired, single.stopped) == (True, False)
    single.berth.ended([Report(0, Kind.CANCELLED)])
    assert single.stopped


def test_a_loop_child_goes_on_when_one_of_its_attempts_is_asked_to_stop(hand: Any) -> None:
    loop = hand()
    loop.aboard(None, None)
    loop.berth.cancel({"token-0"})
    loop.berth.ended([Report(0, Kind.CANCELLED)])
    assert not loop.berth.retired


# -- death


def test_when_a_child_dies_those_asked_to_stop_have_and_the_others_are_lost(hand: Any) -> None:
    loop = hand()
    late, asked, other, unbegun = loop.aboard(1.0, None, None, None, begun=3)
    loop.mind(0.0)
    loop.mind(1.0)
    loop.berth.cancel({"token-1"})
    assert loop.berth.died("was killed by SIGKILL") == [
        (late, TimedOut()), (asked, CANCELLED), (other, Loss("was killed by SIGKILL", alone=False)), (unbegun, UNSTARTED),
    ]  # fmt: skip
    assert not loop.berth.aboard


@pytest.mark.parametrize("why", ["abandoned", "killed"])
def test_one_that_was_the_last_in_a_child_that_others_have_spoilt_is_not_to_blame(hand: Any, why: str) -> None:
    """The other may still run in it as a thread; or it ended in the moment in which its child was killed for it."""
    loop = hand()
    _, other = loop.aboard(None, None)
    loop.berth.cancel({"token-0"})
    if why == "killed":
        loop.berth.kill()
    loop.berth.ended([Report(0, Kind.ABANDONED if why == "abandoned" else Kind.DONE, b"1")])
    assert loop.berth.died("was killed") == [(other, Loss("was killed", alone=False))]


def test_a_child_that_was_told_to_end_and_has_nothing_to_end_lingers_after_the_grace(hand: Any) -> None:
    loop = hand()
    loop.aboard(None)
    loop.now += 60.0
    assert not loop.berth.lingers(loop.now)
    loop.berth.retire()
    loop.now += 60.0
    assert not loop.berth.lingers(loop.now), "it has something to end"
    loop.berth.ended([Report(0, Kind.DONE, b"1")])
    assert not loop.berth.lingers(loop.now + GRACE + DEAF_AFTER - 0.01)
    assert loop.berth.lingers(loop.now + GRACE + DEAF_AFTER + 0.01)
    loop.berth.kill()
    assert not loop.berth.lingers(loop.now + 60.0)


def test_one_that_was_alone_in_its_child_is_to_blame(hand: Any) -> None:
    loop = hand()
    one, unbegun = loop.aboard(None, None, begun=1)
    assert loop.berth.died("exited") == [(one, Loss("exited", alone=True)), (unbegun, UNSTARTED)]
