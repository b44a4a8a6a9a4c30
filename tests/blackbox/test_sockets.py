"""`GET /ws`, as a WebSocket client that somebody else has written sees it."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.blackbox.server import Server

WITHIN = 20.0  # seconds in which what must come comes

HANDLERS = ""
OPTIONS: tuple[str, ...] = ()


def opened(server: Server, **options: Any) -> ClientConnection:
    return connect(server.url.replace("http", "ws") + "/ws", compression=None, **options)


@pytest.fixture
def ws(shared: Server) -> Iterator[ClientConnection]:
    with opened(shared) as ws:
        yield ws


def say(ws: ClientConnection, **message: Any) -> None:
    ws.send(json.dumps(message))


def heard(ws: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(ws.recv(timeout=WITHIN))
    return message


def closed(ws: ClientConnection) -> int:
    """The code a socket is closed with, once everything before was read."""
    try:
        while True:
            ws.recv(timeout=WITHIN)
    except ConnectionClosed as ended:
        return ended.rcvd.code if ended.rcvd is not None else 0


def submit(server: Server, **members: Any) -> str:
    answer = httpx.post(f"{server.url}/tasks", json={"type": "long_task", "payload": {"seconds": 0}, **members})
    id: str = answer.json()["id"]
    return id


def test_each_subscription_gets_what_it_asked_for(shared: Server, ws: ClientConnection) -> None:
    say(ws, op="subscribe", id="mail", queue="mail")
    say(ws, op="subscribe", id="none", type="other")
    assert [heard(ws)["op"] for _ in range(2)] == ["subscribed"] * 2
    submit(shared)
    id = submit(shared, queue="mail")
    told = [heard(ws) for _ in range(3)]
    assert {message["sub"] for message in told} == {"mail"}
    assert [(message["event"]["id"], message["event"]["status"]) for message in told] == [
        (id, status) for status in ("queued", "in_progress", "done")
    ]


def test_a_task_is_told_from_how_it_stands_and_a_place_from_there_on(shared: Server, ws: ClientConnection) -> None:
    say(ws, op="subscribe", id="all")
    begin = heard(ws)
    id = submit(shared)
    before = [heard(ws)["event"] for _ in range(3)]
    say(ws, op="subscribe", id="task", task=id)
    assert (heard(ws)["op"], heard(ws)["event"]["status"]) == ("subscribed", "done")
    say(ws, op="subscribe", id="again", after=f"{begin['epoch']}-{begin['next']}")
    assert heard(ws)["op"] == "subscribed"
    assert [heard(ws)["event"] for _ in range(3)] == before
    say(ws, op="subscribe", id="beyond", after=10**9)
    assert [heard(ws)["op"] for _ in range(2)] == ["subscribed", "reset"]
    say(ws, op="unsubscribe", id="again")
    assert heard(ws) == {"op": "unsubscribed", "sub": "again"}


@pytest.mark.parametrize(
    "bad",
    [
        "nonsense", "[]", "{}", '{"op":"dance"}', '{"op":"subscribe"}', '{"op":"subscribe","id":"x","colour":1}',
        '{"op":"subscribe","id":"x","after":-1}', '{"op":"subscribe","id":"x","after":"y"}',
        '{"op":"subscribe","id":"x","task":"nope"}', '{"op":"unsubscribe","id":"x"}', b"\x00\xff", "[" * 5_000,
    ],
)  # fmt: skip
def test_a_bad_message_is_answered_and_the_socket_stays_open(ws: ClientConnection, bad: str | bytes) -> None:
    ws.send(bad)
    answer = heard(ws)
    assert answer["op"] == "error"
    assert answer["error"]
    say(ws, op="ping")
    assert heard(ws) == {"op": "pong"}


def test_a_message_may_come_in_pieces(ws: ClientConnection) -> None:
    ws.send(['{"op":', '"pi', 'ng"}'])
    assert heard(ws) == {"op": "pong"}


@pytest.mark.parametrize(("much", "code"), [(["x" * 70_000], 1009), ([["x" * 40_000, "y" * 40_000]], 1009)])
def test_a_message_that_is_too_large_ends_the_socket(ws: ClientConnection, much: list[Any], code: int) -> None:
    ws.send(much[0])
    assert closed(ws) == code


def test_a_flood_ends_the_socket(shared: Server, ws: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        for _ in range(2_000):
            say(ws, op="ping")
    assert closed(ws) == 1008
    assert httpx.get(f"{shared.url}/livez").status_code == 200


def raw(server: Server, frame: bytes) -> bytes:
    """What is answered to bytes that are no frame of a client."""
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=WITHIN) as sock:
        head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        sock.sendall((head + key).encode() + frame)
        answer = b""
        while chunk := sock.recv(4096):
            answer += chunk
        return answer


def test_what_is_no_frame_of_a_client_ends_the_socket(shared: Server) -> None:
    unmasked = raw(shared, b"\x81\x02{}")
    assert unmasked.startswith(b"HTTP/1.1 101 ")
    assert (1002).to_bytes(2, "big") in unmasked
    bad_text = raw(shared, b"\x81\x82\0\0\0\0\xff\xfe")
    assert (1007).to_bytes(2, "big") in bad_text


def test_a_page_of_another_site_is_refused_and_ours_is_not(shared: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(shared, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    with opened(shared, origin=shared.url) as ws:
        say(ws, op="ping")
        assert heard(ws) == {"op": "pong"}


def test_a_server_that_stops_says_so(serve: Callable[..., Server]) -> None:
    server = serve()
    with opened(server) as idle, opened(server) as busy:
        say(busy, op="subscribe", id="all")
        assert heard(busy)["op"] == "subscribed"
        server.kill(signal.SIGTERM)
        assert closed(idle) == closed(busy) == 1001
    assert server.wait() == 0


def test_a_connection_goes_on_as_http_when_the_upgrade_is_refused(shared: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(shared.url.rpartition(":")[2])), timeout=WITHIN) as sock:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while chunk := sock.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"HTTP/1.1 200 " in answer
