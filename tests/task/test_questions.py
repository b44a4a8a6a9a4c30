"""What handlers ask while they run: each question is answered once, whatever becomes of store and attempt."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from dolgo.errors import Conflict, StoreUnavailable
from dolgo.runner.link import Answer, Ask, Child, Job, Verb
from dolgo.task import questions as questions_room
from dolgo.task.berth import Berth
from dolgo.task.questions import Questions
from dolgo.task.types import Lease
from tests.task.yard import until

pytestmark = pytest.mark.anyio


class Hand:
    """A child in name only that hears answers, and a store whose answers are let go by hand."""

    def __init__(self) -> None:
        self.sent = self.begun = 0
        self.pid = 4711
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str]] = []
        self.errors: list[Exception] = []  # that come first
        self.go = asyncio.Event()
        self.go.set()
        self.berth = Berth("loop", grace=1.0)
        self.berth.child = cast(Child, self)
        self.questions = Questions(self.berth, self._ask)
        leases = [Lease(f"t{n}", f"token-{n}", "echo", "h", "default", b"{}", 1, 0, 0, 1, False) for n in range(2)]
        self.berth.send([(lease, 0.0) for lease in leases])

    def send(self, jobs: list[Job]) -> None:
        self.sent += len(jobs)

    def answer(self, answers: list[Answer]) -> None:
        self.answers += answers

    async def _ask(self, lease: Lease, ask: Ask) -> bytes:
        self.asked.append((lease.id, ask.name))
        await self.go.wait()
        if self.errors:
            raise self.errors.pop(0)
        return ask.name.encode()

    async def heard(self, number: int) -> list[Answer]:
        await until(lambda: len(self.answers) >= number)
        return sorted(self.answers, key=lambda answer: answer.number)


@pytest.fixture
async def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    monkeypatch.setattr(questions_room, "BACKOFF", (0.001,))
    return Hand()


def asks(*numbers: int, key: int = 0, body: bytes = b"") -> list[Ask]:
    return [Ask(key, number, Verb.STEP, f"s{number}", body) for number in numbers]


async def test_each_is_answered_for_the_task_that_asks(hand: Hand) -> None:
    hand.questions.asked(asks(0, 1) + asks(2, key=1))
    assert await hand.heard(3) == [Answer(0, b"s0"), Answer(1, b"s1"), Answer(2, b"s2")]
    assert hand.asked == [("t0", "s0"), ("t0", "s1"), ("t1", "s2")]


async def test_a_refusal_is_an_answer_with_its_reason(hand: Hand) -> None:
    hand.errors = [Conflict("There is none.")]
    hand.questions.asked(asks(0))
    assert await hand.heard(1) == [Answer(0, None, "There is none.")]


async def test_a_fault_of_the_worker_is_an_answer_as_well(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    hand.errors = [ZeroDivisionError()]
    hand.questions.asked(asks(0))
    (answer,) = await hand.heard(1)
    assert (answer.body, answer.refusal) == (None, "The worker could not answer: ZeroDivisionError.")
    assert "t0" in caplog.text


async def test_a_store_that_is_away_is_waited_for(hand: Hand) -> None:
    hand.errors = [StoreUnavailable(), StoreUnavailable()]
    hand.questions.asked(asks(0))
    assert await hand.heard(1) == [Answer(0, b"s0")]


async def test_an_attempt_that_is_over_is_told_so_and_the_store_is_not_asked(hand: Hand) -> None:
    hand.questions.asked(asks(0, key=7))
    assert await hand.heard(1) == [Answer(0, None, "The attempt is over.")]
    assert not hand.asked


async def test_a_store_that_stays_away_is_not_waited_for_longer_than_the_attempt_runs(hand: Hand) -> None:
    hand.errors = [StoreUnavailable()] * 1_000_000
    hand.questions.asked(asks(0))
    await until(lambda: len(hand.asked) > 2)
    hand.berth.died("exited")
    assert await hand.heard(1) == [Answer(0, None, "The attempt is over.")]


async def test_no_more_are_asked_at_once_than_may_be_and_the_rest_wait_their_turn(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions_room, "AT_ONCE", 3)
    hand.go.clear()
    hand.questions.asked(asks(*range(10)))
    await until(lambda: len(hand.asked) >= 3)
    await asyncio.sleep(0)
    assert len(hand.asked) == 3
    hand.go.set()
    assert [answer.body for answer in await hand.heard(10)] == [b"s%d" % number for number in range(10)]
    assert hand.asked == [("t0", f"s{number}") for number in range(10)]


async def test_more_bytes_than_may_wait_are_refused_at_once(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions_room, "AT_ONCE", 1)
    monkeypatch.setattr(questions_room, "MOST_WAITING", 1_000)
    hand.go.clear()
    hand.questions.asked(asks(0, 1, 2, 3, body=b"x" * 600))
    assert [answer.number for answer in hand.answers] == [2, 3]
    hand.go.set()
    refusals = [answer.refusal for answer in await hand.heard(4)]
    assert refusals == ["", "", *["Too many questions wait for an answer."] * 2]
