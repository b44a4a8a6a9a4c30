"""The queue seam: a broker carries notices, "this task stands in that line", and nothing that may not be lost.

Tasks are in the store before anybody is told of them. A worker that hears of one makes an ordinary claim, so priorities, pauses,
limits and delays are the store's as ever. A notice that is lost costs the time until a worker looks for itself; one that comes
twice, late, or for a task that is gone costs a claim that finds nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct

LARGEST = 4096  # bytes of a notice; what is larger is none of ours
HERE = ("localhost", "127.0.0.1", "::1")  # hosts that nobody else is on the way to
PREFETCH = 100  # notices at most that one connection may hold


class Notice(Struct, frozen=True):
    """There is a task, and it stands in this line."""

    id: str
    queue: str
    type: str


class Outcome(StrEnum):
    """What became of a notice."""

    RANG = "rang"
    OTHERS = "others"  # its line is not for this worker
    MALFORMED = "malformed"
    GIVEN_BACK = "given_back"  # no slot was free


class Gone(Exception):
    """The broker cannot be used now. Its message says why, without a full stop."""


class Audience(Struct, frozen=True):
    """Workers that can run the same tasks: each notice goes to one of them."""

    types: Mapping[str, str]  # name → hash
    queues: frozenset[str] | None = None  # None: all

    @property
    def name(self) -> str:
        """The same for equal audiences, on every machine; letters and digits."""
        said = msgspec.json.encode([sorted(self.types.items()), None if self.queues is None else sorted(self.queues)])
        return hashlib.sha256(said).hexdigest()[:16]

    def wants(self, notice: Notice) -> bool:
        return notice.type in self.types and (self.queues is None or notice.queue in self.queues)


class Delivery(ABC):
    """A notice as the broker hands it out. One of the two is called, once; if the connection has ended it does nothing."""

    body: bytes

    @abstractmethod
    def take(self) -> None:
        """The broker may forget it."""

    @abstractmethod
    def give_back(self) -> None:
        """Somebody else is to have it."""


class Subscription:
    """Takes notices for one worker: as many as it has slots free, and none is kept from others while it has none.

    The worker says `room`; a driver says `arrived` and `emptied`, and looks at `has_room` and `is_full`."""

    def __init__(
        self, audience: Audience, *, ring: Callable[[], None], count: Callable[[Outcome], None] = lambda outcome: None
    ) -> None:
        self.audience = audience
        self._ring = ring
        self._count = count
        self._free = 0  # slots free, less the notices taken since the worker said so
        self._held: deque[Delivery] = deque()  # neither taken nor given back: the next `room` decides
        self._shut = True  # nobody is to hand out any
        self._open = asyncio.Event()
        self._full = asyncio.Event()
        self._full.set()

    def room(self, free: int) -> None:
        """So many slots are free now; what is held is taken for them. With none free, it goes to others."""
        self._free = free
        while self._held and self._free > 0:
            self._take(self._held.popleft())
        if free > 0:
            self._shut = False
            self._full.clear()
            self._open.set()
        else:
            self._open.clear()
            if self._held:
                self._full.set()

    async def has_room(self) -> int:
        """For how many notices there is room, once there is room for one."""
        await self._open.wait()
        return max(1, min(PREFETCH, self._free))

    async def is_full(self) -> None:
        """Returns when a notice has come for which there is no room. Until then none need be kept from coming."""
        await self._full.wait()

    def arrived(self, delivery: Delivery) -> None:
        """The broker has handed one out."""
        if (outcome := self._unwanted(delivery)) is not None:
            delivery.take()
            self._count(outcome)
        elif self._free > 0:
            self._take(delivery)
        elif self._shut:
            self._give_back(delivery)
        else:
            self._held.append(delivery)  # the claim under way tells whether there is room for it
            if not self._open.is_set():
                self._full.set()

    def emptied(self) -> None:
        """The driver has asked for no more: what is held goes back, and so does what still comes."""
        self._shut = not self._open.is_set()
        while self._held:
            self._give_back(self._held.popleft())

    def _give_back(self, delivery: Delivery) -> None:
        self._count(Outcome.GIVEN_BACK)
        delivery.give_back()

    def _take(self, delivery: Delivery) -> None:
        """Taken before the claim: whatever becomes of that, the broker neither counts tries nor delivers again."""
        self._free -= 1
        delivery.take()
        self._count(Outcome.RANG)
        self._ring()

    def _unwanted(self, delivery: Delivery) -> Outcome | None:
        notice = read(delivery.body)
        if notice is None:
            return Outcome.MALFORMED
        return None if self.audience.wants(notice) else Outcome.OTHERS


class Queue(ABC):
    """A broker. Use from one event loop. It may come and go: whoever uses it goes on without."""

    @abstractmethod
    async def publish(self, notices: Sequence[Notice]) -> None:
        """Return when the broker has all of them. Raises Gone if it may not have them."""

    @abstractmethod
    def subscribe(self, subscription: Subscription) -> None:
        """Have notices arrive there from now on, over every outage, in place of the subscription before."""

    @property
    @abstractmethod
    def trouble(self) -> str | None:
        """Why it cannot be used now; None if nothing is known to be wrong."""

    @abstractmethod
    def open(self) -> None:
        """Begin to connect. Whoever uses it need not wait for that."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of it. Calling it twice is harmless."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Notice).decode


def write(notice: Notice) -> bytes:
    """As it travels: a JSON object."""
    return _encode(notice)


def read(body: bytes) -> Notice | None:
    """The notice; None if it is none."""
    try:
        return _decode(body) if len(body) <= LARGEST else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
