"""What follows the log for callbacks, on every store: none lost, none doubled, whoever follows."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count, product
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from standardwebhooks import Webhook

from dolgo import tracing
from dolgo.egress.addresses import Allowed
from dolgo.errors import StoreUnavailable
from dolgo.runner.link import Kind, Report
from dolgo.store.base import Store, Submitted
from dolgo.task.callbacks import follower as follower_room
from dolgo.task.callbacks import post as post_room
from dolgo.task.callbacks.cursor import UNTOLD, Book
from dolgo.task.callbacks.follower import Follower
from dolgo.task.callbacks.hosts import IN_A_ROW
from dolgo.task.callbacks.post import Policy, Post
from dolgo.task.callbacks.secret import BOTH, Vault, signatures
from dolgo.task.callbacks.wish import TYPE, Callback, Delivery, kept
from dolgo.task.ids import Ids
from dolgo.task.types import Event, Lease, NewTask, Query, Status, Task
from tests.callbacks.receiver import Receiver
from tests.store.build import claim, done, failed, fresh_id, hold, read, submit, task
from tests.store.clock import Clock

pytestmark = pytest.mark.anyio

URL = "https://example.com/hook"
WITHIN = 10.0  # seconds


def wishing(**changes: object) -> NewTask:
    """A task with a callback."""
    return task(id=Ids.flagged(fresh_id()), extras=kept(Callback(URL)), **changes)


async def deliveries(store: Store) -> list[Task]:
    return list((await store.list(Query(type=TYPE, order="created_at", limit=1_000))).tasks)


async def until_delivered(store: Store, number: int) -> list[Task]:
    async with asyncio.timeout(WITHIN):
        while len(found := await deliveries(store)) < number:
            await asyncio.sleep(0.01)
    return found


async def run_all(store: Store) -> None:
    while leases := (await claim(store, limit=100)).leases:
        await store.settle([done(lease) for lease in leases])


async def test_each_end_that_somebody_asked_for_is_one_delivery(store: Store) -> None:
    book = Book(store)
    await book.begin()
    await submit(store, *(wishing() if number % 2 else task() for number in range(40)))
    await run_all(store)
    one, other = Follower(store, book, id="one"), Follower(store, Book(store), id="other")
    one.start()
    other.start()
    found = await until_delivered(store, 20)
    late = wishing()
    await submit(store, late)
    await run_all(store)
    found = await until_delivered(store, 21)
    await one.stop()
    await other.stop()
    told = [msgspec.json.decode(delivery.payload, type=Delivery) for delivery in found]
    assert len({delivery.task for delivery in told}) == len(told) == 21
    assert {delivery.url for delivery in told} == {URL}
    assert {delivery.limit_key for delivery in found} == {"example.com"}


async def test_who_takes_over_goes_on_behind_the_last_commit(store: Store, clock: Clock) -> None:
    book = Book(store)
    await book.begin()
    await submit(store, wishing())
    await run_all(store)
    one = Follower(store, book, id="one")
    one.start()
    await until_delivered(store, 1)
    await one.stop()
    await submit(store, wishing())
    await run_all(store)
    clock.advance(follower_room.HELD + 1)
    other = Follower(store, Book(store), id="other")
    other.start()
    await until_delivered(store, 2)
    await other.stop()
    assert len(await deliveries(store)) == 2


@pytest.mark.parametrize("fails_at", range(4))
@pytest.mark.parametrize("written", [False, True])
async def test_a_write_that_fails_loses_and_doubles_nothing(
    memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, fails_at: int, written: bool
) -> None:
    monkeypatch.setattr(follower_room, "AFTER_A_FAULT", 0.0)
    monkeypatch.setattr(follower_room, "PAGE", 7)  # several pages
    write, calls = memory.submit, count()

    async def submit_or_not(tasks: Sequence[NewTask], *rest: Any) -> Submitted:
        fails = next(calls) == fails_at
        if fails and not written:
            raise StoreUnavailable
        answer = await write(tasks, *rest)
        if fails:
            raise StoreUnavailable
        return answer

    book = Book(memory)
    await book.begin()
    await submit(memory, *(wishing() for _ in range(10)))
    await run_all(memory)
    monkeypatch.setattr(memory, "submit", submit_or_not)
    follower = Follower(memory, book, id="one")
    follower.start()
    await until_delivered(memory, 10)
    async with asyncio.timeout(WITHIN):
        while (found := await book.read()) is None or found[0].seq < 30:  # all that was there at first
            await asyncio.sleep(0.01)
    await follower.stop()
    assert len(await deliveries(memory)) == 10


async def test_what_was_not_looked_at_yet_is_found_though_the_log_is_trimmed(memory: Store, clock: Clock) -> None:
    book = Book(memory)
    await book.begin()
    await submit(memory, wishing())
    await run_all(memory)
    clock.advance(1_000)
    found = await book.read()
    assert found is not None
    await memory.trim(1.0, 1, 1_000, upto=found[0].seq)
    follower = Follower(memory, book, id="one")
    follower.start()
    await until_delivered(memory, 1)
    await follower.stop()


async def test_nobody_follows_before_there_is_a_callback(memory: Store) -> None:
    follower = Follower(memory, Book(memory), id="one")
    await submit(memory, task())
    await run_all(memory)
    asked = memory.events
    memory.events = None  # type: ignore[method-assign, assignment]  # a look would raise
    stepping = asyncio.create_task(follower.step())
    await asyncio.sleep(0)
    stepping.cancel()
    memory.events = asked  # type: ignore[method-assign]
    assert await Book(memory).read() is None


async def test_what_nobody_has_looked_at_is_not_pruned_and_then_told_in_full(store: Store, clock: Clock) -> None:
    book = Book(store)
    await book.begin()
    (id,) = await submit(store, wishing(keep=0.0))
    (lease,) = (await claim(store)).leases
    await store.settle([done(lease, b'{"sum":3}')])
    clock.advance(1_000)
    assert await book.prune(0.0, 10) == 0
    follower = Follower(store, book, id="one")
    follower.start()
    (told,) = await until_delivered(store, 1)
    await follower.stop()
    assert await book.prune(0.0, 10) == 1
    assert await store.get([id]) == [None]
    assert msgspec.json.decode(told.payload, type=Delivery).result == msgspec.Raw(b'{"sum":3}')
    assert told.keep == 0.0


async def test_when_nothing_happens_any_more_it_is_known_that_all_was_looked_at(
    memory: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_room, "HELD", 0.2)
    book = Book(memory)
    await book.begin()
    follower = Follower(memory, book, id="one")
    follower.start()
    for _ in range(3):
        await submit(memory, wishing())
        await run_all(memory)
        await asyncio.sleep(0)
    await until_delivered(memory, 3)
    async with asyncio.timeout(WITHIN):
        while (found := await book.read()) is None or found[0].seq < await memory.head():
            clock.advance(0.1)
            await asyncio.sleep(0.01)
    await follower.stop()


async def test_where_there_are_callbacks_the_last_minute_is_not_pruned(store: Store, clock: Clock) -> None:
    book = Book(store)
    lease = await hold(store)
    await store.settle([done(lease)])
    clock.advance(1)
    await book.begin()
    assert await book.prune(0.0, 10) == 0
    clock.advance(UNTOLD)
    follower = Follower(store, book, id="one")
    follower.start()
    async with asyncio.timeout(WITHIN):
        while not await book.prune(0.0, 10):
            await asyncio.sleep(0.01)
    await follower.stop()


async def test_what_has_large_results_is_told_in_several_commits(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_room, "MOST", 1_000)
    book = Book(memory)
    await book.begin()
    await submit(memory, *(wishing() for _ in range(95)))
    while leases := (await claim(memory, limit=100)).leases:
        await memory.settle([done(lease, b'"' + b"x" * 200 + b'"') for lease in leases])
    sizes: list[int] = []
    write = memory.submit

    async def submit_and_count(tasks: Sequence[NewTask], *rest: Any) -> Submitted:
        sizes.append(len(tasks))
        return await write(tasks, *rest)

    monkeypatch.setattr(memory, "submit", submit_and_count)
    follower = Follower(memory, book, id="one")
    follower.start()
    found = await until_delivered(memory, 95)
    await follower.stop()
    assert max(sizes) == follower_room.READ
    assert len({msgspec.json.decode(delivery.payload, type=Delivery).task for delivery in found}) == 95


# -- one delivery


async def finished(store: Store, result: bytes = b"1") -> Task:
    lease = await hold(store)
    await store.settle([done(lease, result)])
    return await read(store, lease.id)


async def ordered(store: Store, end: Task, url: str, status: str = "done") -> Lease:
    """The first attempt of a delivery."""
    event = Event(1, await store.now(), end.id, end.type, end.queue, Status(status), 1)
    await submit(store, replace(follower_room.delivery(event, Callback(url), end), id=fresh_id()))
    (lease,) = (await claim(store, types=frozenset({TYPE}))).leases
    return lease


async def delivered(store: Store, end: Task, status: str, url: str, policy: Policy) -> Report:
    """How the delivery of an end goes."""
    post = Post(store, Vault(store), policy, lambda: 1.0)
    return await post.deliver(await ordered(store, end, url, status))


LOCAL = Policy(Allowed("127.0.0.1"))


async def test_a_large_result_is_linked_to(memory: Store) -> None:
    large = await finished(memory, b'"' + b"x" * (256 * 1024) + b'"')
    with Receiver() as receiver:
        policy = Policy(Allowed("127.0.0.1"), public_url="https://dolgo.example.org/")
        assert (await delivered(memory, large, "done", f"{receiver.url}/ok", policy)).kind is Kind.DONE
        body = msgspec.json.decode(receiver.of("/ok")[0].body)
    assert body["data"]["result_url"] == f"https://dolgo.example.org/tasks/{large.id}"
    assert "result" not in body["data"]


async def test_of_a_task_that_was_retried_meanwhile_the_end_alone_is_told(memory: Store) -> None:
    await submit(memory)
    (lease,) = (await claim(memory)).leases
    await memory.settle([failed(lease)])
    await memory.retry([lease.id])
    (again,) = await memory.get([lease.id])
    assert again is not None
    with Receiver() as receiver:
        await delivered(memory, again, "failed", f"{receiver.url}/ok", LOCAL)
        body = msgspec.json.decode(receiver.of("/ok")[0].body)
    assert (body["type"], body["data"]) == ("task.failed", {"id": lease.id, "status": "failed", "type": "echo"})


async def test_of_a_task_that_was_retried_or_deleted_since_it_is_told_as_it_ended(memory: Store) -> None:
    await submit(memory)
    (lease,) = (await claim(memory)).leases
    await memory.settle([failed(lease)])
    end = await read(memory, lease.id)
    await memory.delete([lease.id])
    with Receiver() as receiver:
        await delivered(memory, end, "failed", f"{receiver.url}/ok", LOCAL)
        body = msgspec.json.decode(receiver.of("/ok")[0].body)
    assert end.error is not None
    assert body["data"] == {"id": lease.id, "status": "failed", "type": "echo", "error": end.error.message}


async def test_the_trace_of_the_task_goes_out(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    extras = msgspec.json.encode({"callback": {"url": URL}, "traceparent": parent, "tracestate": "a=1"})
    end = replace(await finished(memory), extras=extras)
    with Receiver() as receiver:
        await delivered(memory, end, "done", f"{receiver.url}/ok", LOCAL)
        monkeypatch.setattr(tracing, "INSTALLED", False)
        await delivered(memory, end, "done", f"{receiver.url}/ok", LOCAL)
        await delivered(memory, replace(end, extras=None), "done", f"{receiver.url}/ok", LOCAL)
        with_api, without, untraced = receiver.of("/ok")
    for came in (with_api, without):
        assert (came.headers["traceparent"], came.headers["tracestate"]) == (parent, "a=1")
    assert "traceparent" not in untraced.headers


async def test_a_pause_that_the_receiver_asks_for_is_kept_and_no_try_comes_too_late(memory: Store) -> None:
    end = await finished(memory)
    with Receiver() as receiver:
        receiver.retry_after = "7200"
        report = await delivered(memory, end, "done", f"{receiver.url}/503", LOCAL)
        assert (report.kind, report.delay) == (Kind.RETRY, 7_200.0)
        for absurd in ("99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"):
            receiver.retry_after = absurd
            report = await delivered(memory, end, "done", f"{receiver.url}/503", LOCAL)
            assert report.delay == pytest.approx(86_400.0)  # one last try
        for nonsense in ("-5", "1e9", "soon", "", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 99 Foo 99999"):
            receiver.retry_after = nonsense
            assert (await delivered(memory, end, "done", f"{receiver.url}/503", LOCAL)).delay == 5.0
        short = Policy(Allowed("127.0.0.1"), retry_for=4.0)
        assert (await delivered(memory, end, "done", f"{receiver.url}/503", short)).kind is Kind.FAIL
        date = datetime.fromtimestamp(await memory.now() + 600, UTC)
        receiver.retry_after = date.strftime("%a, %d %b %Y %H:%M:%S GMT")
        report = await delivered(memory, end, "done", f"{receiver.url}/503", LOCAL)
        assert report.delay is not None
        assert 590 < report.delay <= 600


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost:1/", "https://127.1/", "http://[::1]:1/"])
async def test_an_address_that_is_not_public_is_never_connected_to(memory: Store, url: str) -> None:
    report = await delivered(memory, await finished(memory), "done", url, Policy(Allowed("")))
    assert report.kind is Kind.FAIL
    assert report.error is not None
    assert "not a public address" in report.error.message


INWARDS = [
    *("127.0.0.1", "127.1", "0177.0.0.1", "0x7f.1", "0x7f000001", "2130706433", "127.0.0.1.", "0", "0.0.0.0", "localhost"),
    *("localhost.", "LOCALHOST", "①②⑦.⓪.⓪.①", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    *("[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1%25lo]", "user@127.0.0.1", "example.com@127.0.0.1", "[::ffff:0:0]"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_notation_of_an_address_of_this_machine_reaches_it(memory: Store, scheme: str) -> None:
    reached: list[str] = []

    async def hit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append("hit")
        writer.close()

    end = await finished(memory)
    canary = await asyncio.start_server(hit, None, 0)  # every address
    async with canary:
        ports = {listening.getsockname()[1] for listening in canary.sockets}
        for host, port in product(INWARDS, ports):
            report = await delivered(memory, end, "done", f"{scheme}://{host}:{port}/", Policy(Allowed("10.0.0.0/8")))
            assert report.kind in (Kind.FAIL, Kind.RETRY), host
    assert not reached


async def test_a_host_that_lets_requests_time_out_is_left_alone(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_room, "TIMEOUT", 0.2)
    end = await finished(memory)
    with Receiver() as receiver:
        post = Post(memory, Vault(memory), LOCAL, lambda: 1.0)
        reports = [await post.deliver(await ordered(memory, end, f"{receiver.url}/slow")) for _ in range(IN_A_ROW + 3)]
        assert len(receiver.of("/slow")) <= IN_A_ROW
    said = [report.error.message for report in reports if report.error is not None and report.kind is Kind.RETRY]
    assert said == ["The receiver did not answer within 0.2 s."] * IN_A_ROW + [post_room.RESTS] * 3


async def test_a_receiver_whose_certificate_nobody_trusts_gets_nothing(memory: Store) -> None:
    with Receiver() as receiver:  # it speaks no TLS at all
        report = await delivered(memory, await finished(memory), "done", f"{receiver.url}/ok".replace("http", "https"), LOCAL)
        assert report.kind is Kind.RETRY
        assert not receiver.came


# -- the secret


async def test_the_secret_stays_until_it_is_rotated_and_for_a_day_more(store: Store, clock: Clock) -> None:
    vault = Vault(store)
    (first,) = await vault.valid()
    assert await Vault(store).valid() == [first]
    second = await vault.rotate()
    assert await vault.valid() == [second, first]
    clock.advance(BOTH + 1)
    assert await vault.valid() == [second]


def test_signatures_are_those_of_the_standard() -> None:
    secrets = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    now = int(datetime.now(UTC).timestamp())
    signed = signatures(secrets, "an-id", now, b'{"a": 1}')
    for secret in secrets:
        headers = {"webhook-id": "an-id", "webhook-timestamp": str(now), "webhook-signature": signed}
        assert Webhook(secret).verify(b'{"a": 1}', headers) == {"a": 1}
