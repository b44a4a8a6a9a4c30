"""What goes on for as long as somebody listens: events, and logs that are followed. As operations (see `core`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from dolgo.client.core import Cut, Emit, Pause, Read, Reply, Rules, Send, Stream, decode, each, request
from dolgo.client.errors import NotDolgo
from dolgo.client.options import query
from dolgo.client.records import Event, LogLine, ProgressView
from dolgo.client.verbs import OUTAGE, get, task_path
from dolgo.task.types import FINAL, Status

EVENTS = "text/event-stream"
SILENCE = 30.0  # seconds without a word that are borne, besides those for an answer: a server says something every 15
AGAIN = 0.5  # seconds before a stream that broke off is asked for again, half of it to one and a half times
LONGEST = 1 << 20  # bytes of one event
STATUS, PROGRESS = "task.status", "task.progress"

_PLACE = re.compile(rb"(?:[0-9a-f]{1,32}-)?[0-9]{1,18}")


class Told(Struct, frozen=True):
    """An event as it was sent."""

    name: str
    place: str
    data: bytes  # JSON


class Lost(Struct, frozen=True):
    """The stream broke off. It is asked for again."""

    reason: str


class _Shown(Struct):
    """What an event says."""

    seq: int = 0
    next: int = 0  # of a reset
    id: str = ""
    time: datetime | None = None
    type: str = ""
    queue: str = ""
    status: Status | None = None
    attempt: int = 0
    progress: ProgressView | None = None


class _Named(Struct):
    event: str
    seq: int


class _Page(Struct):
    events: list[Raw]
    next: int
    epoch: str


class _Lines(Struct):
    lines: list[Raw]
    next: str | None


class _Blocks:
    """Events out of the pieces of a stream, as dolgo sends them: each has one line of data."""

    def __init__(self, place: str) -> None:
        self.place = place  # where to go on
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Told]:
        """The events that a piece completes. Raises `NotDolgo`."""
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        if len(self._rest) > LONGEST:
            raise NotDolgo("The stream is not what dolgo would send: an event has no end.", 200)
        for block in blocks:
            parts = (line.partition(b":") for line in block.split(b"\n"))
            fields = {name: value.strip() for name, _, value in parts}
            if _PLACE.fullmatch(id := fields.get(b"id", b"")):
                self.place = id.decode()
            if b"data" in fields:
                yield Told(fields.get(b"event", b"").decode(errors="replace"), self.place, fields[b"data"])


def told(rules: Rules, id: str | None, after: int | str | Event | None, filters: Mapping[str, Any]) -> Stream[Told | Lost]:
    """What happens, of one task until it has ended, else for ever, over as many streams as it takes."""
    path = "events" if id is None else task_path(id, "events")
    params = query({**filters, "after": after.place if isinstance(after, Event) else after})
    patience, place = None, ""
    while True:
        headers = {"Accept": EVENTS} | ({"Last-Event-ID": place} if place else {})
        send = Send("GET", path, params, headers, wait=SILENCE, stream=True)
        reply = yield from request(rules, send, patience=patience)
        if reply.status == 204:  # it had ended, and that was told before
            return
        if reply.source is None:
            raise NotDolgo(f"{rules.url} answered {reply.status} without a stream of events.", reply.status)
        blocks = _Blocks(place)
        while isinstance(piece := (yield Read(reply.source)), bytes) and piece:
            for event in blocks.feed(piece):
                yield Emit(event)
                if id is not None and _ends(event):
                    return
        yield Emit(Lost(piece.reason if isinstance(piece, Cut) else "the stream was ended"))
        patience, place = max(rules.patience, OUTAGE), blocks.place
        yield Pause(AGAIN * (0.5 + rules.random()))


def _ends(event: Told) -> bool:
    return event.name == STATUS and _read(event).status in FINAL


def _read(event: Told) -> _Shown:
    return decode(Reply(200, {}, event.data), _Shown)


def events(rules: Rules, id: str | None, after: int | str | Event | None, filters: Mapping[str, Any]) -> Stream[Event]:
    """The same as records."""
    return each(told(rules, id, after, filters), _event)


def so_far(rules: Rules, id: str | None, after: int | str | Event | None, filters: Mapping[str, Any]) -> Stream[Event]:
    """What has happened by now, as records: from the oldest event there is, if not from behind another."""
    path = "events" if id is None else task_path(id, "events")
    place = "0" if after is None else after.place if isinstance(after, Event) else str(after)
    while True:
        page = decode((yield from request(rules, get(path, query({**filters, "after": place})))), _Page)
        for raw in page.events:
            name = decode(Reply(200, {}, bytes(raw)), _Named)
            yield from _event(Told(name.event, f"{page.epoch}-{name.seq}", bytes(raw)))
        behind = f"{page.epoch}-{page.next}"
        if behind == place:
            return
        place = behind


def _event(found: Told | Lost) -> Stream[Event]:
    if isinstance(found, Told):
        shown = msgspec.structs.asdict(_read(found))
        shown["seq"] = shown["seq"] or shown["next"]
        del shown["next"]
        yield Emit(Event(found.name, found.place, **shown))


def lines(rules: Rules, id: str, attempt: int | None, *, follow: bool) -> Stream[Raw | Lost]:
    """The lines of a task's log as they were sent; with `follow` until it has ended."""
    params = query({"attempt": attempt})

    def written(found: Told | Lost) -> Stream[Raw | Lost]:
        if isinstance(found, Lost):
            yield Emit(found)
        elif found.name != PROGRESS:
            yield from _written(rules, id, params, patience=max(rules.patience, OUTAGE))

    if follow:
        yield from each(told(rules, id, None, {}), written)
    else:
        yield from _written(rules, id, params, patience=rules.patience)


def _written(rules: Rules, id: str, params: dict[str, str], *, patience: float) -> Stream[Raw | Lost]:
    """What was written since `after` of the parameters, which is moved on."""
    while True:
        page = decode((yield from request(rules, get(task_path(id, "logs"), params), patience=patience)), _Lines)
        if not page.lines:
            return
        for line in page.lines:
            yield Emit(line)
        params["after"] = page.next or ""


def logs(rules: Rules, id: str, attempt: int | None, *, follow: bool) -> Stream[LogLine]:
    """The same as records."""
    return each(lines(rules, id, attempt, follow=follow), _line)


def _line(found: Raw | Lost) -> Stream[LogLine]:
    if isinstance(found, Raw):
        yield Emit(decode(Reply(200, {}, bytes(found)), LogLine))
