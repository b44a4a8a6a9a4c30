"""What a worker and its children say to each other: length-prefixed msgpack frames, each a batch.

A frame is four bytes of length, big-endian, then one of the structs below as a msgpack array that starts with its tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from dolgo.task.types import BrokenFile, ErrorCode, EventKind, TypeInfo

HEAD = 4  # bytes of length before each frame
SPLIT = 4 * 2**20  # bytes; a batch longer than this is sent as several frames
CHUNK = 2**18  # bytes read at once
LINK_LOST = 1  # exit code of a child whose worker is gone
GREETING = 64 * 2**20  # bytes at most for all announced types together


class Kind(StrEnum):
    """How a job ended in its child."""

    DONE = "done"  # has a result
    ERROR = "error"  # has a fault
    FAIL = "fail"  # has a fault, and no further attempt would help: the handler said so
    RETRY = "retry"  # the handler asks for another attempt, which is no failure; its fault says why
    ABANDONED = "abandoned"  # it was asked to stop and did not: its thread runs on in the child, which is of no more use
    CANCELLED = "cancelled"  # stopped because the worker asked
    UNSTARTED = "unstarted"  # too late, or asked to stop before it began: no line of the handler ran
    MISMATCH = "mismatch"  # this child's code is not the code the payload was checked by, and cannot read it


class Setup(Struct, array_like=True, tag="setup", frozen=True):
    """The first frame to a child."""

    paths: tuple[str, ...]  # files, folders and modules to find task types in
    slots: int  # handlers at once, in a loop child
    max_result: int  # bytes
    reload: bool = False  # files may change while the service runs: a name taken twice makes a broken file, and stops nothing
    log_format: str = "text"  # or "json": how what handlers log is written to stderr
    grace: float = 5.0  # seconds between asking a handler to stop and making it


class Job(Struct, array_like=True, frozen=True, gc=False):
    """One attempt to run."""

    key: int  # 0, 1, 2, … for each child, in the order sent
    start_by: float  # by time.monotonic(), which is the same in all processes; not started later than this
    id: str
    type: str
    hash: str  # of the announcement the payload was checked by
    queue: str
    payload: bytes  # JSON
    attempt: int
    tags: tuple[str, ...] = ()
    extras: bytes | None = None  # JSON


class Run(Struct, array_like=True, tag="run", frozen=True):
    """Jobs to run, in this order."""

    jobs: list[Job]


class Cancel(Struct, array_like=True, tag="cancel", frozen=True):
    """Jobs to stop. Asking again, or for what has ended, changes nothing."""

    keys: list[int]


class Stop(Struct, array_like=True, tag="stop", frozen=True):
    """Finish what runs, give back what waits, and exit."""


class Hello(Struct, array_like=True, tag="hello", frozen=True):
    """The child has loaded its task types and takes jobs."""

    types: list[TypeInfo]
    broken: list[BrokenFile]
    blocking: frozenset[str]  # names of the types that need a single child: a plain `def`, unless in a thread, and "process"
    built_in: frozenset[str] = frozenset()  # names of the types that came with dolgo


class Refused(Struct, array_like=True, tag="refused", frozen=True):
    """The child cannot start, and exits."""

    reason: str


class Fault(Struct, array_like=True, frozen=True, gc=False):
    """Why a job has no result."""

    code: ErrorCode
    message: str
    type: str | None = None  # class of the exception
    traceback: str | None = None


class Report(Struct, array_like=True, frozen=True, gc=False):
    """How one job ended."""

    key: int
    kind: Kind
    result: bytes | None = None  # JSON
    error: Fault | None = None
    seconds: float = 0.0  # from its beginning to its end
    delay: float | None = None  # seconds until the attempt that RETRY asks for; None: as after a failure


class Ended(Struct, array_like=True, tag="ended", frozen=True):
    """Jobs that have ended."""

    reports: list[Report]


class Written(Struct, array_like=True, frozen=True, gc=False):
    """A note of a job: the newest of one name counts, and nobody waits for it. It is sent before the job's report."""

    key: int
    name: str  # "progress", "log/ATTEMPT/PIECE"
    value: bytes  # JSON
    event: EventKind | None = None


class Wrote(Struct, array_like=True, tag="wrote", frozen=True):
    """Notes of jobs that run."""

    notes: list[Written]


class Verb(StrEnum):
    """What a handler can ask of its worker while it runs."""

    STEPS = "steps"  # every result of a step that is stored: a JSON object by name
    STEP = "step"  # store the result `body` of the step `name`; null
    SUBMIT = "submit"  # submit the task `body`, once for each `name` in a generation; its id
    PARENT = "parent"  # the parent at the place `name`, from 0; null past the last one


class Ask(Struct, array_like=True, frozen=True, gc=False):
    """A question of a job; the handler waits for its answer."""

    key: int
    number: int  # 0, 1, 2, … for each child
    verb: Verb
    name: str = ""
    body: bytes = b""  # JSON
    extras: bytes | None = None  # JSON, of the task that is to be submitted: where it comes from


class Asks(Struct, array_like=True, tag="asks", frozen=True):
    """Questions of jobs that run."""

    asks: list[Ask]


class Answer(Struct, array_like=True, frozen=True, gc=False):
    """What one question is answered."""

    number: int
    body: bytes | None  # JSON; None: it was refused
    refusal: str = ""  # why


class Answers(Struct, array_like=True, tag="answers", frozen=True):
    """Answers to questions, in any order."""

    answers: list[Answer]


ToChild = Setup | Run | Cancel | Stop | Answers
ToParent = Hello | Refused | Ended | Wrote | Asks

Item = TypeVar("Item")

_encoder = msgspec.msgpack.Encoder()


class BadFrame(ValueError):
    """The other side sent what is not a frame of this protocol."""


def pack(frame: ToChild | ToParent) -> bytes:
    """One frame as bytes."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(HEAD, "big") + body


def pack_run(jobs: list[Job]) -> bytes:
    """Jobs as one frame, or as several if they are long."""
    return _pack_split(Run, jobs)


def pack_answers(answers: list[Answer]) -> bytes:
    """Answers as one frame, or as several if they are long."""
    return _pack_split(Answers, answers)


def pack_ended(reports: list[Report]) -> bytes:
    """Reports as one frame, or as several if they are long."""
    return _pack_split(Ended, reports)


def pack_wrote(notes: list[Written]) -> bytes:
    """Notes as one frame, or as several if they are long."""
    return _pack_split(Wrote, notes)


def _pack_split(frame: Callable[[list[Item]], ToChild | ToParent], items: list[Item]) -> bytes:
    data = pack(frame(items))
    if len(data) <= SPLIT or len(items) == 1:
        return data
    half = len(items) // 2
    return _pack_split(frame, items[:half]) + _pack_split(frame, items[half:])


def from_parent() -> Frames[ToChild]:
    """A reader for the child's end."""
    return Frames(msgspec.msgpack.Decoder(ToChild))


def from_child(max_result: int) -> Frames[ToParent]:
    """A reader for the parent's end. Handlers can write to their link as well, so it gathers no more than a child would send."""
    return Frames(msgspec.msgpack.Decoder(ToParent), limit=max(GREETING, max_result + SPLIT))


Frame = TypeVar("Frame")


class Frames(Generic[Frame]):
    """Bytes as they arrive, cut into frames. A frame longer than `limit` bytes is refused before it is gathered."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Frame], *, limit: int = 2**32) -> None:
        self._decoder = decoder
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete. Raises `BadFrame` at the first that is none; nothing can be read after it."""
        self._rest += data
        start = 0
        with memoryview(self._rest) as view:
            while len(view) - start >= HEAD:
                end = start + HEAD + int.from_bytes(view[start : start + HEAD], "big")
                if end - start > self._limit:
                    raise BadFrame(f"a frame of {end - start} bytes, {self._limit} is the limit")
                if end > len(view):
                    break
                yield self._decode(view[start + HEAD : end])
                start = end
        del self._rest[:start]

    def _decode(self, body: memoryview) -> Frame:
        try:
            return self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadFrame(str(error)) from error
