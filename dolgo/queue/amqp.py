"""RabbitMQ: an exchange that all publish to, and a quorum queue for each audience, which its workers share.

Every notice is confirmed by the broker, and acknowledged before the claim. One that nobody takes expires, and so does the queue
of an audience that is no more: nothing piles up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    InvalidFrameError,
    ProbableAuthenticationError,
)  # fmt: skip

from dolgo.queue.base import Delivery, Gone, Notice, Queue, Subscription, write
from dolgo.queue.keeper import Keeper, put_an_end_to
from dolgo.setting_kinds import masked

EXCHANGE = "dolgo"
TRIAL = f"{EXCHANGE}.trial"  # where a message goes that no queue takes: to see whether anything is confirmed
ANSWERS_WITHIN = 5.0  # seconds
HEARTBEAT = 10  # seconds; a broker that is silent for three of them is gone
EXPIRES = 30  # seconds after which a notice is worth nothing: every worker has looked for itself since
UNUSED = 86_400_000  # milliseconds after which the queue of an audience goes that nobody listens for
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it logs every error that it raises as well
FAULTS = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError)


class AmqpQueue(Queue):
    """A broker that speaks AMQP 0-9-1. Publishes on one connection and listens on another: under a memory alarm RabbitMQ blocks
    those that publish."""

    def __init__(self, url: str) -> None:
        self._url = url
        shown = masked(url)
        self._exchange: AbstractExchange | None = None
        self._stalled = asyncio.Event()  # something was not confirmed in time
        self._sender = Keeper(self._send, what="tell of tasks", shown=shown)
        self._listener: Keeper | None = None
        self._following = set[asyncio.Task[None]]()  # one listener takes the place of another
        self._shown = shown

    def open(self) -> None:
        self._sender.start()

    async def close(self) -> None:
        await put_an_end_to(*self._following)
        for keeper in (self._listener, self._sender):
            if keeper is not None:
                await keeper.stop()

    @property
    def trouble(self) -> str | None:
        return self._sender.trouble or (self._listener.trouble if self._listener else None)

    async def publish(self, notices: Sequence[Notice]) -> None:
        exchange = self._exchange
        if exchange is None:
            raise Gone(self._sender.trouble or "it is not connected")
        try:
            await _confirmed(*(self._put(exchange, notice) for notice in notices))
        except Gone:
            self._stalled.set()
            raise

    async def _put(self, exchange: AbstractExchange, notice: Notice) -> None:
        message = aio_pika.Message(write(notice), content_type="application/json", expiration=EXPIRES)
        await exchange.publish(message, notice.type, mandatory=False)

    def subscribe(self, subscription: Subscription) -> None:
        before, self._listener = self._listener, None
        listener = _Listener(self._url, subscription)
        self._listener = Keeper(listener.session, what="hear of tasks", shown=self._shown)
        replacing = asyncio.create_task(_replaced(before, self._listener), name="queue")
        self._following.add(replacing)
        replacing.add_done_callback(self._following.discard)

    async def _send(self, up: Callable[[], None]) -> None:
        async with session(self._url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            exchange = await declared(channel)
            await tried(exchange)
            self._stalled.clear()
            self._exchange = exchange
            up()
            try:
                await _first(connection.closed(), channel.closed(), self._stalled.wait())
            finally:
                self._exchange = None


async def _replaced(before: Keeper | None, after: Keeper) -> None:
    if before is not None:
        await before.stop()
    after.start()


class _Listener:
    """Hands what arrives for one audience to its subscription."""

    def __init__(self, url: str, subscription: Subscription) -> None:
        self._url = url
        self._subscription = subscription
        self._answers = set[asyncio.Task[None]]()  # on their way to the broker

    async def session(self, up: Callable[[], None]) -> None:
        async with session(self._url) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await self._queue(channel)
            cancelled = asyncio.Event()  # by the broker: somebody has deleted the queue
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda frame: cancelled.set())
            up()
            await _first(connection.closed(), channel.closed(), self._listen(channel, queue), cancelled.wait())
        if cancelled.is_set():
            raise Gone("its queue was deleted")

    async def _queue(self, channel: Any) -> AbstractQueue:
        exchange = await declared(channel)
        audience = self._subscription.audience
        arguments = {"x-queue-type": "quorum", "x-expires": UNUSED}
        queue: AbstractQueue = await channel.declare_queue(f"{EXCHANGE}.{audience.name}", durable=True, arguments=arguments)
        for type in sorted(audience.types):
            await queue.bind(exchange, type)
        return queue

    async def _listen(self, channel: Any, queue: AbstractQueue) -> None:
        """Consume while there is room. The broker cannot be told to hand out none, only to end the consumer."""
        while True:
            await channel.set_qos(prefetch_count=await self._subscription.has_room(), timeout=ANSWERS_WITHIN)
            tag = await queue.consume(self._arrived, timeout=ANSWERS_WITHIN)
            await self._subscription.is_full()
            await queue.cancel(tag, timeout=ANSWERS_WITHIN)
            self._subscription.emptied()

    async def _arrived(self, message: AbstractIncomingMessage) -> None:
        self._subscription.arrived(_Message(message, self._answer))

    def _answer(self, answer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_unless_gone(answer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)


class _Message(Delivery):
    def __init__(self, message: AbstractIncomingMessage, answer: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.body = message.body
        self._message = message
        self._answer = answer

    def take(self) -> None:
        self._answer(self._message.ack())

    def give_back(self) -> None:
        self._answer(self._message.nack(requeue=True))


async def _unless_gone(answer: Coroutine[Any, Any, None]) -> None:
    try:
        await answer
    except FAULTS:  # the connection has ended: the broker hands the message out again, which costs an empty claim
        pass


@asynccontextmanager
async def session(url: str) -> AsyncIterator[aio_pika.abc.AbstractConnection]:
    """A connection. Raises Gone for all that goes wrong with it."""
    try:
        connection = await aio_pika.connect(_with_heartbeat(url), timeout=ANSWERS_WITHIN)
    except FAULTS as error:
        raise Gone(describe(error)) from error
    try:
        yield connection
    except FAULTS as error:
        raise Gone(describe(error)) from error
    finally:
        await closed(connection)


async def closed(connection: Any) -> None:
    """Let go of it, whatever state it is in."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            await connection.close()
    except FAULTS:  # it is gone anyway
        pass


async def _confirmed(*publishing: Awaitable[Any]) -> None:
    """Return when the broker has confirmed them all. Raises Gone."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            answers = await asyncio.gather(*publishing, return_exceptions=True)
    except TimeoutError:
        raise Gone(f"it has confirmed nothing for {ANSWERS_WITHIN:g} s: has it run out of memory or disk space?") from None
    for answer in answers:
        if isinstance(answer, FAULTS):
            raise Gone(describe(answer)) from answer
        if isinstance(answer, BaseException):
            raise answer


async def tried(exchange: AbstractExchange) -> None:
    """Return if what is published is confirmed. Raises Gone. The trial is of two messages: under an alarm RabbitMQ takes one more
    of each connection, and then nothing."""
    for _ in range(2):
        await _confirmed(exchange.publish(aio_pika.Message(b""), TRIAL, mandatory=False))


async def declared(channel: Any) -> AbstractExchange:
    """The exchange, made if it was not there."""
    exchange: AbstractExchange = await channel.declare_exchange(EXCHANGE, "direct", durable=True, timeout=ANSWERS_WITHIN)
    return exchange


async def _awaited(wait: Any) -> None:
    await wait


async def _first(*waits: Any) -> None:
    """Return, or raise what went wrong, when one of these is over; the others are cancelled."""
    tasks = [asyncio.create_task(_awaited(wait)) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await put_an_end_to(*tasks)


def _with_heartbeat(url: str) -> str:
    return url if "heartbeat=" in url else f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


def describe(error: BaseException) -> str:
    """Why, in a few words without a full stop, and without the URL."""
    if isinstance(error, AuthenticationError | ProbableAuthenticationError):
        return "it refuses this user or this password"
    if isinstance(error, InvalidFrameError):  # what comes in place of an answer is the end of the connection
        return "it refuses the connection: there may be no such virtual host, or none for this user"
    if isinstance(error, TimeoutError):
        return f"it did not answer within {ANSWERS_WITHIN:g} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # less than 0: the name was not found
    return str(error).rstrip(".") or type(error).__name__
