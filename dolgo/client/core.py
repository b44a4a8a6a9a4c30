"""A request and its repetitions, as steps for a driver that knows a network: the same for the client that waits and the one that
awaits.

An operation is a generator. It yields what is to be done next, is sent what came of it, and returns its answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from dolgo.client.errors import NotDolgo, Unanswered
from dolgo.errors import Problem, Refused

S = TypeVar("S")
T = TypeVar("T")

BACKOFF = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries, half of it to one and a half times; the last one stays
NOT_MODIFIED = 304
TOO_MANY = 429  # refused before anything was looked at, so it can always be asked again
AWAY = frozenset({502, 503, 504})  # the store, or the server behind a proxy, cannot be reached: it may have been done


class Send(Struct, frozen=True):
    """A request to be made; a `Reply` or a `Cut` comes of it."""

    method: str
    path: str
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    wait: float = 0.0  # seconds that the server was asked to hold the answer back
    repeatable: bool = True  # sent twice it does no more than once
    stream: bool = False  # an answer that is one is not read yet: see `Read`


class Read(Struct, frozen=True):
    """The next piece of a stream; bytes come of it, none at its end, or a `Cut`."""

    source: Any  # of the `Reply` that began it


class Pause(Struct, frozen=True):
    """Nothing is to be done for so many seconds."""

    seconds: float


class Emit(Struct, Generic[T], frozen=True):
    """One of many things that an operation finds."""

    value: T


Step = Send | Read | Pause
Op = Generator[Step, Any, T]
Stream = Generator[Step | Emit[T], Any, None]


class Reply(NamedTuple):
    """An answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    source: Any = None  # of a stream: what `Read` takes, instead of a body


class Cut(NamedTuple):
    """There is no answer."""

    reason: str
    sent: bool  # the server may have got the request
    hopeless: bool = False  # the same again would come to the same


class Rules(NamedTuple):
    """How long a client tries, and what it goes by."""

    url: str  # without a password, for messages
    patience: float  # seconds
    clock: Callable[[], float]  # monotonic
    random: Callable[[], float]  # in [0, 1)


class _Wrong(Struct):
    pointer: str = ""
    detail: str = ""


class _Refusal(Struct):
    """Problem details (RFC 9457) as dolgo sends them."""

    error: str
    type: str = ""
    errors: list[_Wrong] = []


_read_refusal = msgspec.json.Decoder(_Refusal).decode


def request(rules: Rules, send: Send, *, patience: float | None = None) -> Op[Reply]:
    """The answer, tried for again for `patience` seconds where that is safe. Raises `Refused`, `Unanswered` and `NotDolgo`."""
    deadline = rules.clock() + (rules.patience if patience is None else patience)
    for tried in itertools.count():
        came: Reply | Cut = yield send
        if isinstance(came, Reply) and (200 <= came.status < 300 or came.status == NOT_MODIFIED):
            return came
        pause = BACKOFF[min(tried, len(BACKOFF) - 1)] * (0.5 + rules.random())
        if isinstance(came, Reply):
            pause = max(pause, _retry_after(came))
        if not _worth_another(send, came) or rules.clock() + pause > deadline:
            _fail(rules, came)
        yield Pause(pause)
    raise AssertionError  # count() has no end


def each(stream: Stream[S], turn: Callable[[S], Stream[T]]) -> Stream[T]:
    """What `turn` finds for each thing that a stream finds."""
    came: Any = None
    while True:
        try:
            step = stream.send(came)
        except StopIteration:
            return
        came = None
        if isinstance(step, Emit):
            yield from turn(step.value)
        else:
            came = yield step


def decode(reply: Reply, type: type[T]) -> T:
    """The body as data. Raises `NotDolgo`."""
    try:
        return msgspec.json.decode(reply.body, type=type)
    except msgspec.MsgspecError as error:
        raise NotDolgo(f"The answer is not what dolgo would send: {error}.", reply.status) from None


def anything(reply: Reply) -> Any:
    """The body as what it says it is: data if that is JSON, else text; None if there is none. Raises `NotDolgo`."""
    if not reply.body:
        return None
    if reply.headers.get("content-type", "").startswith("text/"):
        return reply.body.decode(errors="replace")
    return decode(reply, Any)


def path_of(what: str, name: str, verb: str = "") -> str:
    """The path of a thing that has a name, or of one of its verbs, whatever the name holds."""
    # A dot would be taken for a step in the path, and lead from the thing to the list of all.
    return f"{what}/{quote(name, safe='').replace('.', '%2E')}" + (f"/{verb}" if verb else "")


def _worth_another(send: Send, came: Reply | Cut) -> bool:
    if isinstance(came, Cut):
        return not came.hopeless and (send.repeatable or not came.sent)
    return came.status == TOO_MANY or (came.status in AWAY and send.repeatable)


def _retry_after(reply: Reply) -> float:
    """Seconds the server wants to be left alone. A date, which HTTP allows as well, dolgo never sends."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _fail(rules: Rules, came: Reply | Cut) -> NoReturn:
    if isinstance(came, Cut):
        raise Unanswered(f"{rules.url} does not answer: {came.reason}")
    if 300 <= came.status < 400:
        where = came.headers.get("location", "elsewhere")
        raise NotDolgo(f"{rules.url} sends us to {where}", came.status, where)
    try:
        said = _read_refusal(came.body)
    except msgspec.MsgspecError:
        raise NotDolgo(f"{rules.url} answered {came.status}, and not as dolgo does.", came.status) from None
    raise _refused(came, said)


def _refused(reply: Reply, said: _Refusal) -> Refused:
    """The error that the server raised, with what it said. Of a kind that this version does not know: `Refused` itself."""
    slug = said.type.rpartition("#")[2]
    kind = next((kind for kind in _kinds(Refused) if kind.slug == slug), Refused)
    error = kind(said.error, [Problem(wrong.pointer, wrong.detail) for wrong in said.errors])
    error.status, error.slug, error.retry_after = reply.status, slug, int(_retry_after(reply)) or None
    error.challenge = reply.headers.get("www-authenticate")
    return error


def _kinds(of: type[Refused]) -> Iterator[type[Refused]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)
