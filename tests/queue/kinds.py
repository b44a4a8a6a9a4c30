"""Every broker there is, and how the tests make one. A new broker adds its line here and has to keep the whole contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aio_pika
from msgspec import Struct

from dolgo.queue.amqp import EXCHANGE, AmqpQueue
from dolgo.queue.base import Queue
from dolgo.queue.nsq import NsqQueue, parse
from dolgo.queue.nsq_wire import Address, connect
from tests import nsq_server, rabbitmq_server


class Kind(Struct, frozen=True):
    """One broker."""

    port: Callable[[], int]  # of the server that all tests share
    make: Callable[[int, str], Queue]  # by way of this port, under a name of its own
    put: Callable[[int, str, str, bytes], Awaitable[None]]  # any bytes, as a message for a type


async def put_amqp(port: int, name: str, type: str, body: bytes) -> None:
    connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/")
    async with connection:
        exchange = await (await connection.channel()).declare_exchange(EXCHANGE, "direct", durable=True)
        await exchange.publish(aio_pika.Message(body), type, mandatory=False)


async def put_nsq(port: int, name: str, type: str, body: bytes) -> None:
    wire = await connect(Address("127.0.0.1", port))
    await wire.publish(parse(f"nsq://127.0.0.1/{name}").topic, [body])
    await wire.close()


KINDS = {
    "amqp": Kind(
        lambda: rabbitmq_server.shared().port,
        lambda port, name: AmqpQueue(f"amqp://guest:guest@127.0.0.1:{port}/"),
        put_amqp,
    ),
    "nsq": Kind(lambda: nsq_server.shared().port, lambda port, name: NsqQueue(f"nsq://127.0.0.1:{port}/{name}"), put_nsq),
}


async def until(there: Callable[[], object], what: str, *, within: float = 20.0) -> None:
    """Return once it is so."""
    try:
        async with asyncio.timeout(within):
            while not there():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s: {what}") from None
