"""What a route is: an address, who answers there, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any

from msgspec import Struct

from dolgo.api.call import Call
from dolgo.api.call import Reply as Given
from dolgo.api.parts import Api
from dolgo.api.query import Param
from dolgo.errors import Refused
from dolgo.task.tokens import Scope

Handler = Callable[[Api, Call], Awaitable[Given]]


class Of(Enum):
    """What a route is about, for callers who may know of some queues or types alone."""

    SERVICE = auto()  # the service as a whole: nothing for them
    OWN = auto()  # whatever is theirs: the handler minds whose it is, or it is of no task
    TASK = auto()  # the task that the path names; one that is not theirs is not there
    TYPE = auto()  # the type it names, alike
    QUEUE = auto()  # the queue it names, alike
    SCHEDULE = auto()  # the schedule it names, alike


class Header(Struct, frozen=True):
    """A header that is read or sent."""

    name: str
    schema: dict[str, Any]
    help: str


class Reply(Struct, frozen=True):
    """One way in which a route answers."""

    help: str
    shows: Any = ()  # the type of the body, or several that it may be; none if there is no body
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"
    streams: str | None = None  # the media type under which the same comes as a stream


class Route(Struct, frozen=True):
    """One address and method. The handler's docstring is what people are told of it."""

    method: str
    path: str  # `{…}` stands for one part, which may be anything
    scope: Scope | None  # what a caller must have; None: anybody is answered
    handler: Handler
    replies: dict[int, Reply]
    query: tuple[Param, ...] = ()
    headers: tuple[Header, ...] = ()
    takes: Any = None  # the type of the body; None if it is not read
    refuses: tuple[type[Refused], ...] = ()  # besides what every route may refuse
    of: Of = Of.SERVICE
