"""A broker is taken away, emptied, slowed down and lied to: no task is lost, stuck or run twice, and nobody is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import aio_pika
import pytest

from dolgo.queue.amqp import EXCHANGE
from dolgo.queue.nsq_wire import Address, connect
from tests.blackbox.client import until
from tests.brokers import BROKERS, OWN, Broker, by_way_of
from tests.faults.outage import Load, Site
from tests.faults.proxy import Proxy
from tests.nsq_server import NsqServer
from tests.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.timeout(300)

ENDS = 60.0  # seconds within which all that was taken up has ended, on a machine that is busy
HELD = 3.0  # seconds of load in each state


class Place(NamedTuple):
    """A service with a broker of its own behind a proxy."""

    site: Site
    broker: Broker
    proxy: Proxy


@pytest.fixture(scope="module", params=BROKERS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    failed = request.session.testsfailed
    with contextlib.ExitStack() as closing:
        broker = closing.enter_context(OWN[request.param](folder).ready())
        proxy = closing.enter_context(Proxy(broker.port))
        site = closing.enter_context(Site(folder, options=("--queue", by_way_of(request.param, proxy.port))))
        yield Place(site, broker, proxy)
        if request.session.testsfailed > failed:
            site.show()
            broker.show()


def used(site: Site) -> bool:
    return bool(site.client.get("/readyz")["checks"]["broker"] == "ok")


def well(load: Load) -> None:
    """All that was acknowledged has ended, each by one run, and nothing was refused."""
    load.all_ended(ENDS)
    assert load.judge() == ""
    assert load.refused == 0
    assert len(load.history.attempted) > 10


def test_it_is_killed_and_started_again_under_load(place: Place) -> None:
    site = place.site
    until(lambda: used(site), ENDS, "the broker is used")
    with site.load() as load:
        time.sleep(HELD)
        place.broker.kill(signal.SIGKILL)
        place.broker.wait()
        until(lambda: not used(site), ENDS, "its absence is told")
        assert site.probe("/readyz") == site.probe("/livez") == 200
        time.sleep(HELD)
        place.broker.start().wait_ready()
        until(lambda: used(site), ENDS, "it is used again")
        time.sleep(HELD)
    well(load)


@pytest.mark.parametrize("fault", ["delayed", "refused", "reset again and again", "swallowed"])
def test_the_way_to_it_is_disturbed_between_the_store_and_the_notice(place: Place, fault: str) -> None:
    site, proxy = place.site, place.proxy
    until(lambda: used(site), ENDS, "the broker is used")
    try:
        with site.load() as load:
            match fault:
                case "delayed":
                    proxy.delay(1.5)
                    time.sleep(HELD)
                case "refused":
                    proxy.refuse()
                    time.sleep(HELD)
                case "swallowed":
                    proxy.swallow()
                    time.sleep(2 * HELD)  # longer than an answer is waited for
                case _:
                    for _ in range(10):
                        proxy.reset()
                        time.sleep(HELD / 10)
            proxy.pass_()
    finally:
        proxy.reset()
    well(load)
    until(lambda: used(site), ENDS, "it is used again")


def test_it_is_emptied_behind_our_back(place: Place) -> None:
    with place.site.load() as load:
        for _ in range(10):
            EMPTY[type(place.broker)](place.broker)
            time.sleep(HELD / 10)
    well(load)


def test_notices_that_come_twice_late_or_for_nothing_change_nothing(place: Place) -> None:
    """Also of tasks that have ended and of tasks that never were, and what is no notice at all."""
    site = place.site
    with site.load() as load:
        time.sleep(HELD / 2)
        ids = [str(task["id"]) for task in site.client.get("/tasks", limit=50)["tasks"]]
        bodies = [json.dumps({"id": id, "queue": "default", "type": "works"}).encode() for id in [*ids, "no-such-task"] * 10]
        asyncio.run(PUT[type(place.broker)](place.broker, [*bodies, b"{", b"\xff" * 100]))
        time.sleep(HELD / 2)
    well(load)
    assert "is no notice of dolgo's" in site.worker.said()


def empty_rabbit(broker: Broker) -> None:
    async def purge() -> None:
        assert isinstance(broker, RabbitServer)
        connection = await aio_pika.connect(broker.url)
        async with connection:
            channel = await connection.channel()
            for name in names:
                await (await channel.get_queue(name, ensure=False)).purge()

    assert isinstance(broker, RabbitServer)
    names = [name for name in broker.tell("--silent", "list_queues", "name").split() if name.startswith(EXCHANGE)]
    assert names
    asyncio.run(purge())


def empty_nsq(broker: Broker) -> None:
    assert isinstance(broker, NsqServer)
    for verb in ("create", "empty"):  # the first notice makes the topic, and may not have come yet
        request = urllib.request.Request(f"http://127.0.0.1:{broker.http}/topic/{verb}?topic=dolgo%23ephemeral", method="POST")
        urllib.request.urlopen(request, timeout=10).close()


async def put_rabbit(broker: Broker, bodies: list[bytes]) -> None:
    assert isinstance(broker, RabbitServer)
    connection = await aio_pika.connect(broker.url)
    async with connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), "works", mandatory=False)


async def put_nsq(broker: Broker, bodies: list[bytes]) -> None:
    wire = await connect(Address("127.0.0.1", broker.port))
    await wire.publish("dolgo#ephemeral", bodies)
    await wire.close()


EMPTY: dict[type[Broker], Callable[[Broker], None]] = {RabbitServer: empty_rabbit, NsqServer: empty_nsq}
PUT = {RabbitServer: put_rabbit, NsqServer: put_nsq}


@pytest.mark.parametrize(
    "policy",
    [{"delivery-limit": 1}, {"delivery-limit": 1, "dead-letter-exchange": "nowhere", "message-ttl": 1, "max-length": 1}],
    ids=["deliveries", "everything"],
)
def test_limits_of_the_broker_can_hurt_nothing(tmp_path: Path, policy: dict[str, object]) -> None:
    """A notice is acknowledged before the claim: however often a task is tried, the broker has forgotten it long before."""
    with RabbitServer(tmp_path).ready() as broker:
        broker.tell("set_policy", "limits", f"^{EXCHANGE}", json.dumps(policy), "--apply-to", "queues")
        with Site(tmp_path, options=("--queue", broker.url)) as site:
            until(lambda: used(site), ENDS, "the broker is used")
            with site.load() as load:
                time.sleep(HELD)
            well(load)
