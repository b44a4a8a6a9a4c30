"""Who wants to be told of the end of a task: as it is kept with the task, and as it is kept with each delivery."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

TYPE = "dolgo.callback"  # of the tasks that deliver
QUEUE = "dolgo"  # where they stand, in the way of nobody
HASH = "1"  # of the payload below
End = Literal["done", "failed", "cancelled"]
ENDS: tuple[End, ...] = get_args(End)


class Callback(Struct, frozen=True, omit_defaults=True):
    """A receiver, and the ends it wants to hear of."""

    url: str
    on: tuple[End, ...] = ENDS


class Delivery(Struct, frozen=True, omit_defaults=True):
    """The payload of a task that delivers: with how it ended, as the task may be retried, pruned or deleted meanwhile."""

    task: str  # whose end it is
    status: str  # that it came to
    time: float  # when
    url: str
    type: str = ""  # of the task
    result: Raw | UnsetType = UNSET
    error: str | UnsetType = UNSET
    linked: bool = False  # there is a result, but it is too large


class _Extras(Struct, frozen=True):
    callback: Callback | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Extras).decode


def kept(callback: Callback, beside: bytes | None = None) -> bytes:
    """The extras of a task with this callback, and with what is there already."""
    others: dict[str, Raw] = msgspec.json.decode(beside, type=dict[str, Raw]) if beside else {}
    return _encode({**others, "callback": callback})


def wish_of(extras: bytes | None) -> Callback | None:
    """The callback among the extras of a task."""
    return None if extras is None else _decode(extras).callback
