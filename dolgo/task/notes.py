"""What handlers note while they run, on its way to the store: how far they are, and their log. It holds up no task and no end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence

import msgspec
from msgspec import Struct

from dolgo.errors import Refused
from dolgo.logs import SELDOM
from dolgo.runner.link import Written
from dolgo.task.manager import Manager
from dolgo.task.types import EventKind, Lease, Note

log = logging.getLogger("dolgo.worker")

SEND_EVERY = 0.2  # seconds
AT_ONCE = 200  # notes sent together
LONGEST_NAME = 64  # characters
MOST_BYTES = 2**18  # of one note
MOST_WAITING = 100  # notes of one attempt that wait while the store is away: more than its log has pieces between two sendings


class Progress(Struct, forbid_unknown_fields=True):
    """The value of a note of that name."""

    done: int | float
    total: int | float | None
    note: str


Line = tuple[int, float, str, str]  # number, time, level, text

_progress = msgspec.json.Decoder(Progress)
_lines = msgspec.json.Decoder(list[Line])


class Notes:
    """The newest of each name for every attempt, until it is sent. A child runs foreign code, so what it sends is looked at."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._waiting: dict[str, dict[str, Note]] = {}  # by token, by key
        self._some = asyncio.Event()
        self._warned = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def wrote(self, lease: Lease, written: Written) -> None:
        """A handler has noted something."""
        note = _checked(lease, written)
        if note is None:
            self._warn("%r is no note: it is left out, as all that are none will be (task %s).", written.name, lease.id)
        else:
            self._keep([note], newer=True)

    def take(self, tokens: Iterable[str]) -> list[Note]:
        """What waits under these tokens, taken out: it has to be sent before the ends of their attempts."""
        if not self._waiting:
            return []
        return [note for token in tokens for note in self._waiting.pop(token, {}).values()]

    def send(self, notes: Sequence[Note]) -> Awaitable[object]:
        """Have these kept. They are on their way before anything that is asked of the store from now on: the end of their
        attempt may be next, so no part of many waits for the one before it."""
        return asyncio.gather(*(self._send(notes[at : at + AT_ONCE]) for at in range(0, len(notes), AT_ONCE)))

    async def step(self) -> None:
        """Send what there is, as soon as there is any; the next time not at once."""
        await self._some.wait()
        self._some.clear()
        await self.send(self.take(list(self._waiting)))
        await asyncio.sleep(SEND_EVERY)

    async def _send(self, notes: Sequence[Note]) -> None:
        """If the store is away they wait for the next time, or until the attempt ends. No task pays for any other fault."""
        try:
            took = await self._manager.note(notes)
        except Refused as error:
            log.info("%d note(s) wait for the store: %s", len(notes), error, extra=SELDOM)
            self._keep(notes, newer=False)
        except Exception:
            log.exception("%d note(s) could not be kept.", len(notes))
        else:
            if not all(took):
                log.info("%d note(s) came too late: their attempts were over.", took.count(False))

    def _keep(self, notes: Iterable[Note], *, newer: bool) -> None:
        for note in notes:
            held = self._waiting.setdefault(note.token, {})
            if note.key not in held and len(held) >= MOST_WAITING:
                self._warn("More than %d notes of task %s wait; some are left out.", MOST_WAITING, note.id)
            elif newer or note.key not in held:
                held[note.key] = note
                self._some.set()

    def _warn(self, message: str, *args: object) -> None:
        """Once: a handler can make as many of these as it likes."""
        if not self._warned:
            self._warned = True
            log.warning(message, *args)


def _checked(lease: Lease, written: Written) -> Note | None:
    """The note to keep; None for what no child of ours would send."""
    name, value = written.name, written.value
    if len(name) > LONGEST_NAME or len(value) > MOST_BYTES:
        return None
    try:
        if name == "progress":
            _progress.decode(value)
            return Note(lease.id, lease.token, name, value, EventKind.PROGRESS)
        if name.startswith(f"log/{lease.attempt:08}/"):
            _lines.decode(value)
            return Note(lease.id, lease.token, name, value, EventKind.LOG)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return None
