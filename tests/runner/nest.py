"""Children for tests, and a worker's view of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from dolgo.runner.link import Answer, Ask, Child, Hello, Job, Refused, Report, Setup, Verb, Written

HANDLERS = str(Path(__file__).with_name("handlers.py"))
TALKERS = str(Path(__file__).with_name("talkers.py"))
DEADLINE = 20.0  # seconds for anything a child does; a machine under load is slow to start processes


class Ward:
    """One child, and all that has been heard of it."""

    def __init__(self) -> None:
        self.child: Child
        self.greeting: Hello | Refused | None = None
        self.batches: list[list[Report]] = []
        self.reports: dict[int, Report] = {}
        self.order: list[int] = []
        self.exits: list[int] = []
        self.after_exit = 0  # frames delivered too late
        self.written: list[Written] = []
        self.asks: list[Ask] = []
        self.answers: Callable[[Ask], bytes | str | None] = _nothing  # bytes; or a str, why it is refused; None: later
        self._news = asyncio.Event()

    def on_hello(self, greeting: Hello | Refused) -> None:
        assert self.greeting is None
        self.greeting = greeting
        self._news.set()

    def on_reports(self, reports: list[Report]) -> None:
        self.after_exit += bool(self.exits)
        self.batches.append(reports)
        self.order.extend(report.key for report in reports)
        for report in reports:
            assert report.key not in self.reports, "reported twice"
            self.reports[report.key] = report
        self._news.set()

    def on_notes(self, notes: list[Written]) -> None:
        self.after_exit += bool(self.exits)
        assert not {note.key for note in notes} & self.reports.keys(), "a note after the report"
        self.written.extend(notes)
        self._news.set()

    def on_asks(self, asks: list[Ask]) -> None:
        self.after_exit += bool(self.exits)
        self.asks.extend(asks)
        for ask in asks:
            said = self.answers(ask)
            if said is not None:
                self.child.answer([Answer(ask.number, said) if isinstance(said, bytes) else Answer(ask.number, None, said)])
        self._news.set()

    def lines(self, key: int) -> list[list[Any]]:
        """The log of a job as the store would have it."""
        pieces = {note.name: note.value for note in self.written if note.key == key and note.name.startswith("log/")}
        return [line for name in sorted(pieces) for line in msgspec.json.decode(pieces[name])]

    def progress(self, key: int) -> list[Any]:
        return [msgspec.json.decode(note.value) for note in self.written if (note.key, note.name) == (key, "progress")]

    def asked(self, verb: Verb) -> list[Ask]:
        return [ask for ask in self.asks if ask.verb == verb]

    def on_exit(self, returncode: int) -> None:
        self.exits.append(returncode)
        self._news.set()

    def send(
        self, *calls: tuple[str, dict[str, Any]], start_by: float = math.inf, hash: str | None = None, attempt: int = 1
    ) -> list[int]:
        """Sends jobs in one batch and answers their keys."""
        hashes = {info.name: info.hash for info in getattr(self.greeting, "types", ())}
        jobs = [
            Job(
                key=self.child.sent + i,
                start_by=start_by,
                id=f"id-{self.child.sent + i}",
                type=type_,
                hash=hash or hashes.get(type_, ""),
                queue="default",
                payload=msgspec.json.encode(payload),
                attempt=attempt,
                tags=("a", "b"),
            )
            for i, (type_, payload) in enumerate(calls)
        ]
        self.child.send(jobs)
        return [job.key for job in jobs]

    async def run(self, type_: str, **payload: Any) -> Report:
        """How one job ended."""
        (key,) = self.send((type_, payload))
        return (await self.ended(key))[0]

    async def ended(self, *keys: int) -> list[Report]:
        await self.until(lambda: all(key in self.reports for key in keys))
        return [self.reports[key] for key in keys]

    async def exit(self) -> int:
        await self.until(lambda: bool(self.exits))
        assert await self.child.closed() == self.exits[0]
        return self.exits[0]

    async def until(self, come_true: Callable[[], bool]) -> None:
        """Waits for news of this child until something is true."""
        async with asyncio.timeout(DEADLINE):
            while not come_true():
                self._news.clear()
                await self._news.wait()


class Nest:
    """Spawns children, and leaves none behind."""

    def __init__(self) -> None:
        self._wards: list[Ward] = []

    async def hatch(
        self,
        kind: Literal["loop", "single"],
        *,
        slots: int = 100,
        max_result: int = 2**20,
        paths: tuple[str, ...] = (HANDLERS, TALKERS),
        grace: float = 5.0,
        greeted: bool = True,
    ) -> Ward:
        ward = Ward()
        setup = Setup(paths=paths, slots=slots, max_result=max_result, grace=grace)
        ward.child = await Child.spawn(
            kind,
            setup,
            on_hello=ward.on_hello,
            on_reports=ward.on_reports,
            on_exit=ward.on_exit,
            on_notes=ward.on_notes,
            on_asks=ward.on_asks,
        )
        self._wards.append(ward)
        if greeted:
            await ward.until(lambda: ward.greeting is not None or bool(ward.exits))
            assert ward.greeting is not None, f"it exited with {ward.exits}"
        return ward

    async def close(self) -> None:
        for ward in self._wards:
            ward.child.kill()
            await ward.exit()
            assert ward.exits == ward.exits[:1], "on_exit was called more than once"
            assert not ward.after_exit, "frames were delivered after on_exit"


def _nothing(ask: Ask) -> bytes | str | None:
    """What a store without tasks, that keeps whatever it is given, answers."""
    return {Verb.STEPS: b"{}", Verb.STEP: b"null", Verb.SUBMIT: f'"new-{ask.name}"'.encode(), Verb.PARENT: b"null"}[ask.verb]


async def appears(file: Path) -> None:
    """Waits for a handler to say, by a file, that it is at work."""
    await becomes(file.exists)


async def becomes(come_true: Callable[[], bool]) -> None:
    """For what nobody announces, such as the end of a process that is not ours."""
    end = time.monotonic() + DEADLINE
    while not come_true():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
