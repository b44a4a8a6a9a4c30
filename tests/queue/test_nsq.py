"""NSQ alone: what its URL says, nsqlookupd, and what `dolgo doctor` sees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dolgo.errors import BadSetting
from dolgo.queue.base import Audience, Notice, Subscription
from dolgo.queue.nsq import NsqQueue, parse
from dolgo.queue.nsq_doctor import examine
from dolgo.queue.nsq_wire import Address
from dolgo.store.findings import Level
from tests.nsq_server import LookupServer, NsqServer, shared
from tests.queue.kinds import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_url_names_servers_a_topic_and_where_to_ask_for_more() -> None:
    place = parse("nsq://a,b:1,[::1]:2/mine?lookupd=c,d:3")
    assert place.nsqds == (Address("a", 4150), Address("b", 1), Address("::1", 2))
    assert place.lookupds == (Address("c", 4161), Address("d", 3))
    assert place.topic == "mine#ephemeral"
    assert parse("nsq://a").topic == parse("nsq://a/").topic == "dolgo#ephemeral"


BAD = ("", "a:0", "a:65536", "a:x", "u:p@a", "a/b c", "a/" + "x" * 55, "a?tls=1", "a,")


@pytest.mark.parametrize("rest", BAD)
def test_a_url_that_cannot_be_used_is_refused_with_one_that_can(rest: str) -> None:
    with pytest.raises(BadSetting, match="nsq://HOST:4150"):
        parse(f"nsq://{rest}")


async def test_a_server_that_only_lookupd_knows_is_listened_to(tmp_path: Path) -> None:
    with LookupServer(tmp_path).ready() as lookup, NsqServer(tmp_path, lookup=lookup).ready() as hidden:
        publisher = NsqQueue(hidden.url)
        publisher.open()
        await until(lambda: publisher.trouble is None, "it is connected")
        await publisher.publish([Notice("0", "default", "found")])  # from now on lookupd knows who has the topic
        rung = []
        subscription = Subscription(Audience({"found": "1"}), ring=lambda: rung.append(1))
        listener = NsqQueue(f"{shared().url}?lookupd=127.0.0.1:{lookup.http}")
        listener.open()
        listener.subscribe(subscription)
        subscription.room(10)
        await until(lambda: rung, "what is published there is heard", within=40)
        await listener.close()
        await publisher.close()
        found = [each for each in examine_both(hidden, lookup) if each[1] is not Level.OK]
        assert not found


def examine_both(server: NsqServer, lookup: LookupServer) -> list[tuple[str, Level]]:
    """Beside a running loop, as the doctor has one of its own."""
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(examine, f"{server.url}?lookupd=127.0.0.1:{lookup.http}").result(30)
    return [(finding.check, finding.level) for finding in found]


async def test_the_next_server_is_told_if_the_first_is_not_there() -> None:
    queue = NsqQueue(f"nsq://127.0.0.1:1,127.0.0.1:{shared().port}/second")
    queue.open()
    await until(lambda: queue.trouble is None, "it is connected to the second")
    await queue.publish([Notice("0", "default", "found")])
    await queue.close()


def test_the_doctor_says_why_it_is_not_reached() -> None:
    found = examine(f"nsq://127.0.0.1:1,127.0.0.1:{shared().http}?lookupd=127.0.0.1:1")
    assert [finding.level for finding in found] == [Level.BAD] * 3
    assert "Connection refused" in found[0].found
    assert "4150" in found[1].advice
    assert "4161" in found[2].advice
