"""What a route is: an address, who answers there, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from dolgo.api.call import Answer, Call
from dolgo.api.parts import Api
from dolgo.api.query import Param
from dolgo.errors import Refused

Handler = Callable[[Api, Call], Awaitable[Answer]]


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


class Route(Struct, frozen=True):
    """One address and method. The handler's docstring is what people are told of it."""

    method: str
    path: str  # `{…}` stands for one part, which may be anything
    handler: Handler
    replies: dict[int, Reply]
    query: tuple[Param, ...] = ()
    headers: tuple[Header, ...] = ()
    takes: Any = None  # the type of the body; None if it is not read
    refuses: tuple[type[Refused], ...] = ()  # besides what every route may refuse
