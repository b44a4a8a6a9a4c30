"""RabbitMQ alone: what it is asked to make, what is said when it cannot be, and what `dolgo doctor` sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import aio_pika
import pytest

from dolgo.queue.amqp import EXCHANGE, TRIAL, AmqpQueue
from dolgo.queue.amqp_doctor import examine
from dolgo.queue.base import Audience, Notice, Subscription
from dolgo.store.findings import Level
from tests.queue.kinds import until
from tests.rabbitmq_server import RabbitServer, shared

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def rabbit() -> RabbitServer:
    return shared()


@pytest.fixture
def alarmed(rabbit: RabbitServer) -> Iterator[None]:
    """It has run out of memory, as far as it can tell."""
    rabbit.tell("set_vm_memory_high_watermark", "0")
    yield
    rabbit.tell("set_vm_memory_high_watermark", "0.4")


async def made(rabbit: RabbitServer, name: str, kind: str) -> None:
    """A queue of this kind in place of one that is there."""
    connection = await aio_pika.connect(rabbit.url)
    async with connection:
        channel = await connection.channel()
        await channel.queue_delete(name)
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": kind})


async def removed(rabbit: RabbitServer, name: str) -> None:
    connection = await aio_pika.connect(rabbit.url)
    async with connection:
        await (await connection.channel()).queue_delete(name)


async def test_an_audience_has_a_quorum_queue_and_notices_in_it_expire(rabbit: RabbitServer) -> None:
    audience = Audience({"kept": "1"})
    queue = AmqpQueue(rabbit.url)
    queue.open()
    queue.subscribe(Subscription(audience, ring=lambda: None))  # without room: it stays in the queue
    await until(lambda: queue.trouble is None, "it listens")
    await queue.publish([Notice("1", "default", "kept")])
    connection = await aio_pika.connect(rabbit.url)
    async with connection:
        channel = await connection.channel()
        found = await channel.declare_queue(f"{EXCHANGE}.{audience.name}", passive=True)
        message = await found.get(no_ack=True)
        assert message.expiration
    await queue.close()
    name = f"{EXCHANGE}.{audience.name}"
    kinds = await asyncio.to_thread(rabbit.tell, "--silent", "list_queues", "name", "type")
    assert f"{name}\tquorum" in kinds.splitlines()
    await removed(rabbit, name)


async def test_a_queue_of_another_kind_is_told_and_nobody_is_kept_from_publishing(rabbit: RabbitServer) -> None:
    audience = Audience({"classic": "1"})
    name = f"{EXCHANGE}.{audience.name}"
    await made(rabbit, name, "classic")
    queue = AmqpQueue(rabbit.url)
    queue.open()
    queue.subscribe(Subscription(audience, ring=lambda: None))
    await until(lambda: "inequivalent arg" in (queue.trouble or ""), "it says so")
    await queue.publish([Notice("1", "default", "other")])
    await removed(rabbit, name)
    await until(lambda: queue.trouble is None, "it listens once that is gone")
    await queue.close()
    await removed(rabbit, name)


async def test_a_queue_that_is_deleted_is_made_again(rabbit: RabbitServer) -> None:
    rung = []
    audience = Audience({"deleted": "1"})
    queue = AmqpQueue(rabbit.url)
    queue.open()
    subscription = Subscription(audience, ring=lambda: rung.append(1))
    queue.subscribe(subscription)
    subscription.room(10)
    await until(lambda: queue.trouble is None, "it listens")
    await removed(rabbit, f"{EXCHANGE}.{audience.name}")
    await until(lambda: queue.trouble, "it is noticed")
    await until(lambda: queue.trouble is None, "it listens again")
    await queue.publish([Notice("1", "default", "deleted")])
    await until(lambda: rung, "it is heard")
    await queue.close()


async def test_under_a_memory_alarm_it_is_said_to_be_of_no_use_until_that_is_over(rabbit: RabbitServer) -> None:
    queue = AmqpQueue(rabbit.url)
    await asyncio.to_thread(rabbit.tell, "set_vm_memory_high_watermark", "0")
    try:
        queue.open()
        await until(lambda: "memory or disk" in (queue.trouble or ""), "it says so")
    finally:
        await asyncio.to_thread(rabbit.tell, "set_vm_memory_high_watermark", "0.4")
    await until(lambda: queue.trouble is None, "it is of use again", within=40)
    await queue.close()


def levels(url: str) -> dict[str, Level]:
    return {finding.check: finding.level for finding in examine(url)}


def test_the_doctor_finds_nothing_wrong_with_a_good_one(rabbit: RabbitServer) -> None:
    assert set(levels(rabbit.url).values()) == {Level.OK}
    assert len(levels(rabbit.url)) == 4


@pytest.mark.parametrize(
    ("url", "said", "advice"),
    [
        ("amqp://127.0.0.1:1/", "Connection refused", "Start RabbitMQ"),
        ("amqp://guest:wrong-one@127.0.0.1:PORT/", "refuses this user", "USER:PASSWORD"),
        ("amqp://guest:guest@127.0.0.1:PORT/nowhere", "virtual host", "add_vhost"),
        ("amqp://no.such.host.invalid/", "not known", "correct host"),
    ],
)
def test_the_doctor_says_why_it_is_not_reached(rabbit: RabbitServer, url: str, said: str, advice: str) -> None:
    (finding,) = examine(url.replace("PORT", str(rabbit.port)))
    assert finding.level is Level.BAD
    assert said in finding.found
    assert advice in finding.advice
    assert "wrong-one" not in finding.found


def test_the_doctor_finds_a_memory_alarm(rabbit: RabbitServer, alarmed: None) -> None:
    (finding,) = [each for each in examine(rabbit.url) if each.level is not Level.OK]
    assert finding.check == "broker's confirms"
    assert "alarm" in finding.found


async def test_the_doctor_finds_a_queue_that_is_no_quorum_queue(rabbit: RabbitServer) -> None:
    await made(rabbit, TRIAL, "classic")
    try:
        found = await asyncio.to_thread(examine, rabbit.url)
    finally:
        await removed(rabbit, TRIAL)
    (finding,) = [each for each in found if each.level is not Level.OK]
    assert finding.check == "broker's queues"
    assert "quorum" in finding.advice
