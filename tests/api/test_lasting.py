"""Streams: held only while somebody reads them, counted meanwhile, and ended with the token they were asked for by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from dolgo.api import lasting
from dolgo.api.access.entrance import STALE, Entrance
from dolgo.api.call import Message
from dolgo.api.dispatch import App
from dolgo.task.tokens import Scope
from tests.api.web import Web, call

pytestmark = pytest.mark.anyio

SSE = (b"accept", b"text/event-stream")


async def nothing() -> Message:
    """What comes from a client that only reads."""
    await asyncio.Event().wait()
    raise AssertionError


class Reading:
    """A stream that is being read."""

    def __init__(self, app: App, *headers: tuple[bytes, bytes], path: str = "/events") -> None:
        self.sent: list[Message] = []
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [SSE, *headers]}
        self.over = asyncio.create_task(app(scope, nothing, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def begun(self) -> None:
        await until(lambda: len(self.sent) > 1)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.001)


async def streams(web: Web) -> dict[str, str]:
    """The gauge of what is open, by kind."""
    page = (await web.http.get("/metrics")).text
    lines = [line.split('"') for line in page.splitlines() if line.startswith("dolgo_event_streams{")]
    return {kind: value.strip("} ") for _, kind, value in lines}


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LOOK_AGAIN", 0.001)


@pytest.mark.parametrize("path", ["/events", "/tasks/{id}/events"])
async def test_a_stream_that_is_asked_for_and_not_read_is_let_go_of(web: Web, path: str) -> None:
    id = await web.submit()
    await call(web.app, "HEAD", path.format(id=id), headers=[SSE], receive=nothing)
    assert not web.notify.feed
    assert await streams(web) == {"sse": "0.0", "websocket": "0.0"}


async def test_open_streams_are_counted_until_their_reader_is_gone(web: Web) -> None:
    reading = [Reading(web.app) for _ in range(3)]
    for one in reading:
        await one.begun()
    assert await streams(web) == {"sse": "3.0", "websocket": "0.0"}
    for one in reading:
        one.over.cancel()
    await asyncio.wait([one.over for one in reading])
    assert (await streams(web))["sse"] == "0.0"
    assert not web.notify.feed


async def test_a_stream_ends_properly_when_its_token_is_revoked(web: Web, often: None) -> None:
    now = [100.0]
    app = web.make(entrance=Entrance(web.tokens, monotonic=lambda: now[0]))
    (kept, lost) = [(await web.tokens.create(name, scopes=[Scope.READ]))[1] for name in ("kept", "lost")]
    stays, goes = (Reading(app, (b"authorization", b"Bearer " + token.encode())) for token in (kept, lost))
    await stays.begun()
    await goes.begun()
    await web.tokens.revoke("lost")
    now[0] += STALE + 0.1
    async with asyncio.timeout(10):
        await goes.over
    assert goes.sent[-1] == {"type": "http.response.body", "body": b""}
    assert not stays.over.done()
    stays.over.cancel()


async def test_looking_whether_a_reader_may_stay_counts_for_no_rate(web: Web, often: None) -> None:
    now = [100.0]
    looks: list[Sequence[object]] = []
    entrance = Entrance(web.tokens, monotonic=lambda: now[0])
    stay = entrance.lets_stay

    async def counted(*asked: object) -> bool:
        looks.append(asked)
        return await stay(*asked)  # type: ignore[arg-type]

    entrance.lets_stay = counted  # type: ignore[method-assign,assignment]
    app = web.make(entrance=entrance)
    token = (await web.tokens.create("slow", scopes=[Scope.READ], rate=2.0))[1]
    bearer = (b"authorization", b"Bearer " + token.encode())
    reading = Reading(app, bearer)
    await reading.begun()
    await until(lambda: len(looks) > 10)
    (head, *_) = await call(app, "GET", "/queues", headers=[bearer], receive=nothing)
    assert head["status"] == 200, "the second request of two a second"
    reading.over.cancel()
