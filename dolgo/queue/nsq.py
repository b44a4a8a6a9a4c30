"""NSQ: one topic, and in it a channel for each audience, which its workers share.

Topic and channels are ephemeral: they hold what nsqd has room for in memory, and go when nobody listens any more. Nothing is lost
by that, for the store has the tasks.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qs

import httpx
from msgspec import Struct

from dolgo.errors import BadSetting
from dolgo.logs import SELDOM
from dolgo.queue.base import Delivery, Gone, Notice, Queue, Subscription, write
from dolgo.queue.keeper import Keeper, put_an_end_to
from dolgo.queue.nsq_wire import ANSWERS_WITHIN, Address, Wire, connect
from dolgo.setting_kinds import masked

log = logging.getLogger("dolgo.queue")

TOPIC = "dolgo"
PORT = 4150
LOOKUP_PORT = 4161
NAME = re.compile(r"[.a-zA-Z0-9_-]{1,54}")  # with #ephemeral behind it 64 characters, which is what NSQ takes
AT_ONCE = 1_000  # notices in one command
ASK_AGAIN = 15.0  # seconds between two questions which nsqds there are
URL = re.compile(r"nsq://(?P<hosts>[^/?]+)(?:/(?P<topic>[^/?]*))?(?:\?(?P<query>.*))?")
EXAMPLE = "nsq://HOST:4150/dolgo?lookupd=HOST:4161"


class Place(Struct, frozen=True):
    """What a URL names."""

    nsqds: tuple[Address, ...]
    topic: str
    lookupds: tuple[Address, ...]


def parse(url: str) -> Place:
    """`nsq://HOST:PORT,…/TOPIC?lookupd=HOST:PORT,…`. Raises BadSetting."""
    found = URL.fullmatch(url)
    query = parse_qs(found["query"] or "") if found else {}
    topic = (found["topic"] if found else "") or TOPIC
    if found is None or query.keys() - {"lookupd"} or not NAME.fullmatch(topic):
        raise BadSetting(f"The queue {masked(url)} cannot be used: give {EXAMPLE}.")
    try:
        nsqds = tuple(_address(each, PORT) for each in found["hosts"].split(","))
        lookupds = tuple(_address(each, LOOKUP_PORT) for named in query.get("lookupd", ()) for each in named.split(","))
    except ValueError:
        raise BadSetting(f"The queue {masked(url)} cannot be used: give {EXAMPLE}.") from None
    return Place(nsqds, f"{topic}#ephemeral", lookupds)


def _address(text: str, port: int) -> Address:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@ ]+)(?::(\d{1,5}))?", text)
    if found is None or not 0 < int(found[2] or port) < 65_536:
        raise ValueError(text)
    return Address(found[1].strip("[]"), int(found[2] or port))


class NsqQueue(Queue):
    """Publishes to the first nsqd of the URL that answers; listens to all of them, and to those that nsqlookupd knows."""

    def __init__(self, url: str) -> None:
        self._place = parse(url)
        self._wire: Wire | None = None
        self._turn = 0  # which nsqd is next
        self._sender = Keeper(self._send, what="tell of tasks", shown=masked(url))
        self._listeners: _Listeners | None = None
        self._following = set[asyncio.Task[None]]()

    def open(self) -> None:
        self._sender.start()

    async def close(self) -> None:
        await put_an_end_to(*self._following)
        if self._listeners is not None:
            await self._listeners.stop()
        await self._sender.stop()

    @property
    def trouble(self) -> str | None:
        return self._sender.trouble or (self._listeners.trouble if self._listeners else None)

    async def publish(self, notices: Sequence[Notice]) -> None:
        wire = self._wire
        if wire is None:
            raise Gone(self._sender.trouble or "it is not connected")
        for first in range(0, len(notices), AT_ONCE):
            await wire.publish(self._place.topic, [write(notice) for notice in notices[first : first + AT_ONCE]])

    def subscribe(self, subscription: Subscription) -> None:
        before, self._listeners = self._listeners, _Listeners(self._place, subscription)
        replacing = asyncio.create_task(_replaced(before, self._listeners), name="queue")
        self._following.add(replacing)
        replacing.add_done_callback(self._following.discard)

    async def _send(self, up: Callable[[], None]) -> None:
        address = self._place.nsqds[self._turn % len(self._place.nsqds)]
        self._turn += 1  # if it fails another is tried
        wire = await connect(address)
        self._wire = wire
        up()
        try:
            await wire.ended()
        finally:
            self._wire = None
            await wire.close()


async def _replaced(before: _Listeners | None, after: _Listeners) -> None:
    if before is not None:
        await before.stop()
    after.start()


class _Listeners:
    """Listens to every nsqd there is on behalf of one subscription."""

    def __init__(self, place: Place, subscription: Subscription) -> None:
        self._place = place
        self._subscription = subscription
        self._keepers: dict[Address, Keeper] = {}
        self._finder: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        if not self._stopped:
            self._listen_to(self._place.nsqds)
            if self._place.lookupds:
                self._finder = asyncio.create_task(self._find(), name="nsqlookupd")

    async def stop(self) -> None:
        self._stopped = True
        if self._finder is not None:
            await put_an_end_to(self._finder)
        for keeper in self._keepers.values():
            await keeper.stop()

    @property
    def trouble(self) -> str | None:
        """None if one of them can be heard."""
        troubles = [keeper.trouble for keeper in self._keepers.values()]
        return None if not troubles or None in troubles else troubles[0]

    def _listen_to(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            if address not in self._keepers:
                listener = _Listener(address, self._place.topic, self._subscription, among=self._keepers)
                keeper = self._keepers[address] = Keeper(listener.session, what="hear of tasks", shown=f"nsqd {address}")
                keeper.start()

    async def _find(self) -> None:
        """Now and then ask which nsqds there are. One that is gone is not listened to any more."""
        async with httpx.AsyncClient(timeout=ANSWERS_WITHIN) as http:
            while True:
                if (found := await self._known(http)) is not None:
                    for address in self._keepers.keys() - {*found, *self._place.nsqds}:
                        if self._keepers[address].trouble:
                            await self._keepers.pop(address).stop()
                    self._listen_to(found)
                await asyncio.sleep(ASK_AGAIN * random.uniform(0.5, 1.0))

    async def _known(self, http: httpx.AsyncClient) -> list[Address] | None:
        """What the nsqlookupds say together; None if none of them answers."""
        answers = [
            answer for each in self._place.lookupds if (answer := await looked_up(http, each, self._place.topic)) is not None
        ]
        return [address for answer in answers for address in answer] if answers else None


async def looked_up(http: httpx.AsyncClient, lookupd: Address, topic: str) -> list[Address] | None:
    """The nsqds that have the topic, by one nsqlookupd; None if it does not answer."""
    try:
        answer = await http.get(f"http://{lookupd}/lookup", params={"topic": topic})
        if answer.status_code == httpx.codes.NOT_FOUND:  # nobody has it yet
            return []
        producers = answer.raise_for_status().json()["producers"]
        return [Address(str(each["broadcast_address"]), int(each["tcp_port"])) for each in producers]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        log.warning("nsqlookupd %s cannot be asked: %s", lookupd, error or type(error).__name__, extra=SELDOM)
        return None


class _Listener:
    """Hands what one nsqd sends to the subscription."""

    def __init__(self, address: Address, topic: str, subscription: Subscription, *, among: dict[Address, Keeper]) -> None:
        self._address = address
        self._topic = topic
        self._subscription = subscription
        self._among = among  # all that share the room there is

    async def session(self, up: Callable[[], None]) -> None:
        wire = await connect(self._address, self._heard)
        try:
            self._wire = wire
            await wire.subscribe(self._topic, f"w-{self._subscription.audience.name}#ephemeral")
            up()
            listening = asyncio.create_task(self._listen(wire))
            try:
                await wire.ended()
            finally:
                await put_an_end_to(listening)
        finally:
            await wire.close()

    async def _listen(self, wire: Wire) -> None:
        """Have messages sent while there is room."""
        while True:
            room = await self._subscription.has_room()
            wire.ready(max(1, room // max(1, len(self._among))))
            await self._subscription.is_full()
            wire.ready(0)
            self._subscription.emptied()

    def _heard(self, id: bytes, body: bytes) -> None:
        self._subscription.arrived(_Message(self._wire, id, body))


class _Message(Delivery):
    def __init__(self, wire: Wire, id: bytes, body: bytes) -> None:
        self.body = body
        self._wire = wire
        self._id = id

    def take(self) -> None:
        self._wire.finish(self._id)

    def give_back(self) -> None:
        self._wire.requeue(self._id)
