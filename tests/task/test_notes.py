"""What handlers note, on its way to the store: the newest counts, before the end of the attempt, and never at its cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from dolgo.errors import StoreUnavailable
from dolgo.runner.link import Written
from dolgo.task import notes as notes_room
from dolgo.task.manager import Manager
from dolgo.task.notes import Notes
from dolgo.task.types import EventKind, Lease, Note

pytestmark = pytest.mark.anyio

PROGRESS = b'{"done":1,"total":null,"note":""}'
LINES = b'[[1,0.5,"info","well"]]'


class Hand:
    """A manager that keeps what it is given, or does not."""

    def __init__(self) -> None:
        self.kept: list[list[Note]] = []
        self.away = False
        self.took = True
        self.notes = Notes(cast(Manager, self))

    async def note(self, notes: Sequence[Note]) -> Sequence[bool]:
        if self.away:
            raise StoreUnavailable
        self.kept.append(list(notes))
        return [self.took] * len(notes)

    def wrote(self, name: str, value: bytes = PROGRESS, *, task: int = 0, event: EventKind | None = None) -> None:
        self.notes.wrote(lease(task), Written(0, name, value, event))

    async def send(self) -> None:
        await self.notes.send(self.notes.take([lease(task).token for task in range(3)]))


def lease(number: int) -> Lease:
    return Lease(f"t{number}", f"token-{number}", "echo", "h", "default", b"{}", 2, 0, 0, 1, False)


def progress(done: int) -> bytes:
    return b'{"done":%d,"total":9,"note":"x"}' % done


@pytest.fixture
async def hand() -> Hand:
    return Hand()


async def test_a_note_is_kept_under_its_task_and_token_with_its_event(hand: Hand) -> None:
    hand.wrote("progress")
    hand.wrote("log/00000002/00000000", LINES)
    await hand.send()
    assert hand.kept == [
        [
            Note("t0", "token-0", "progress", PROGRESS, EventKind.PROGRESS),
            Note("t0", "token-0", "log/00000002/00000000", LINES, EventKind.LOG),
        ]
    ]


async def test_the_newest_of_a_name_counts_for_each_attempt(hand: Hand) -> None:
    for done in range(5):
        hand.wrote("progress", progress(done), task=done % 2)
    assert len(hand.notes) == 2
    await hand.send()
    assert [[note.value for note in some] for some in hand.kept] == [[progress(4), progress(3)]]


async def test_only_what_is_asked_for_is_taken(hand: Hand) -> None:
    hand.wrote("progress", task=0)
    hand.wrote("progress", task=1)
    assert [note.id for note in hand.notes.take(["token-1", "token-9"])] == ["t1"]
    assert len(hand.notes) == 1


async def test_what_a_store_that_is_away_refuses_waits_and_gives_way_to_what_is_newer(hand: Hand) -> None:
    hand.wrote("progress", progress(1))
    hand.wrote("log/00000002/00000000", LINES)
    hand.away = True
    taken = hand.notes.take(["token-0"])
    hand.wrote("progress", progress(2))
    await hand.notes.send(taken)
    hand.away = False
    await hand.send()
    ((first, second),) = hand.kept
    assert (first.value, second.value) == (progress(2), LINES)


async def test_what_comes_too_late_is_dropped(hand: Hand) -> None:
    hand.took = False
    hand.wrote("progress")
    await hand.send()
    assert len(hand.notes) == 0


async def test_a_step_sends_all_there_is_and_waits_while_there_is_nothing(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes_room, "SEND_EVERY", 0.0)
    step = asyncio.create_task(hand.notes.step())
    await asyncio.sleep(0.01)
    assert not step.done()
    hand.wrote("progress", task=0)
    hand.wrote("progress", task=1)
    await asyncio.wait_for(step, 5)
    assert [[note.id for note in some] for some in hand.kept] == [["t0", "t1"]]


async def test_many_are_sent_in_parts(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes_room, "AT_ONCE", 2)
    for piece in range(5):
        hand.wrote(f"log/00000002/{piece:08}", LINES)
    await hand.send()
    assert [len(some) for some in hand.kept] == [2, 2, 1]


async def test_all_parts_are_on_their_way_before_what_comes_next(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store keeps the order in which it is asked, and takes its time."""
    monkeypatch.setattr(notes_room, "AT_ONCE", 2)
    asked: list[object] = []
    go = asyncio.Event()

    async def note(notes: Sequence[Note]) -> Sequence[bool]:
        asked.append(len(notes))
        await go.wait()
        return [True] * len(notes)

    async def settle() -> None:
        asked.append("end")
        go.set()

    hand.note = note  # type: ignore[method-assign]
    for piece in range(5):
        hand.wrote(f"log/00000002/{piece:08}", LINES)
    await asyncio.wait_for(asyncio.gather(hand.notes.send(hand.notes.take(["token-0"])), settle()), 5)
    assert asked == [2, 2, 1, "end"]


async def test_a_fault_in_keeping_notes_is_nobody_elses(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    async def note(notes: Sequence[Note]) -> Sequence[bool]:
        raise RuntimeError

    hand.note = note  # type: ignore[method-assign]
    hand.wrote("progress")
    await hand.send()
    assert [record.message for record in caplog.records] == ["1 note(s) could not be kept."]


@pytest.mark.parametrize(("name", "value"), [
    ("step/one", b"1"),
    ("submitted/1", b'"x"'),
    ("log/00000001/00000000", LINES),
    ("log/00000002/" + "0" * 60, LINES),
    ("log/00000002/00000000", b'{"no":"lines"}'),
    ("log/00000002/00000000", b'[[1,0.5,"info","' + b"x" * 2**18 + b'"]]'),
    ("progress", b"not json"),
    ("progress", b'{"done":1,"total":null,"note":"","more":1}'),
    ("progress", b'{"done":NaN,"total":null,"note":""}'),
    ("progress", b'{"done":1,"total":null,"note":"\xff"}'),
])  # fmt: skip
async def test_what_no_child_of_ours_would_note_is_left_out_and_that_is_said_once(
    hand: Hand, caplog: pytest.LogCaptureFixture, name: str, value: bytes
) -> None:
    for _ in range(3):
        hand.wrote(name, value, event=EventKind.STATUS)
    assert len(hand.notes) == 0
    assert len(caplog.records) == 1


async def test_memory_does_not_grow_with_what_a_handler_makes_up(hand: Hand) -> None:
    for piece in range(1_000):
        hand.wrote(f"log/00000002/{piece:08}", LINES)
    assert len(hand.notes) == notes_room.MOST_WAITING
