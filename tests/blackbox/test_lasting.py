"""Streams and sockets of a service that asks for tokens: who sees what, and until when."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.blackbox.client import until
from tests.blackbox.server import DOLGO, Server

ENDS_WITHIN = 10.0  # seconds, as promised
LATE = 10.0  # seconds that a busy machine may add
ADMIN = secrets.token_hex(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, "--slots", "1", "--drain-timeout", "0", environ={"DOLGO_ADMIN_TOKEN": ADMIN}) as server:
        yield server.ready()


def dolgo(server: Server, *arguments: str) -> str:
    """What a command prints."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DOLGO_")}
    ran = subprocess.run([DOLGO, *arguments], cwd=server.folder, env=ours, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


def opened(server: Server, token: str) -> ClientConnection:
    return connect(
        server.url.replace("http", "ws") + "/ws", compression=None, additional_headers={"Authorization": f"Bearer {token}"}
    )


def heard(ws: ClientConnection, within: float = 20.0) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(ws.recv(timeout=within))
    return message


def say(ws: ClientConnection, **message: Any) -> dict[str, Any]:
    """The first answer to a message."""
    ws.send(json.dumps(message))
    return heard(ws)


def submit(server: Server, **members: Any) -> str:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    body = {"type": "long_task", "payload": {"seconds": 0}, **members}
    answer = httpx.post(f"{server.url}/tasks?wait=20", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    id: str = answer.json()["id"]
    return id


def open_now(server: Server) -> dict[str, float]:
    """How many streams and sockets the metrics tell of."""
    page = httpx.get(f"{server.url}/metrics", headers={"Authorization": f"Bearer {ADMIN}"}, timeout=20).text
    lines = [line.split('"') for line in page.splitlines() if line.startswith("dolgo_event_streams{")]
    return {kind: float(value.strip("} ")) for _, kind, value in lines}


def test_a_socket_shows_what_is_its_tokens_own(server: Server) -> None:
    token = dolgo(server, "token", "create", "mail", "--scope", "read", "--queue", "mail")
    theirs, own = submit(server), submit(server, queue="mail")
    with opened(server, token) as ws:
        unseen, unknown = (say(ws, op="subscribe", id="task", task=id) for id in (theirs, theirs[:-1] + "x"))
        assert (unseen["op"], unknown["op"]) == ("error", "error")
        assert unseen["error"].replace(theirs, "") == unknown["error"].replace(theirs[:-1] + "x", ""), "both are not there"
        assert say(ws, op="subscribe", id="other", queue="default", after=0)["op"] == "subscribed"
        assert say(ws, op="subscribe", id="all", after=0)["op"] == "subscribed"
        told = [heard(ws) for _ in range(3)]
        assert {(message["sub"], message["event"]["id"]) for message in told} == {("all", own)}
        submit(server)
        later = submit(server, queue="mail")
        assert {heard(ws)["event"]["id"] for _ in range(3)} == {later}
        assert say(ws, op="ping") == {"op": "pong"}


@pytest.mark.timeout(120)
def test_what_was_opened_with_a_token_ends_with_it_and_says_so(server: Server) -> None:
    kept, lost = (dolgo(server, "token", "create", name, "--scope", "read") for name in ("kept", "lost"))
    headers = {"Authorization": f"Bearer {lost}", "Accept": "text/event-stream"}
    with opened(server, kept) as stays, opened(server, lost) as goes:
        assert say(stays, op="subscribe", id="all")["op"] == "subscribed"
        with httpx.stream("GET", f"{server.url}/events", headers=headers, timeout=ENDS_WITHIN + LATE) as stream:
            assert open_now(server) == {"sse": 1, "websocket": 2}
            dolgo(server, "token", "revoke", "lost")
            assert b"".join(stream.iter_raw()), "it is ended, and not cut"
        with pytest.raises(ConnectionClosed) as closed:
            heard(goes, ENDS_WITHIN + LATE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        until(lambda: open_now(server) == {"sse": 0, "websocket": 1}, LATE, "what is over is not counted")
        assert say(stays, op="ping") == {"op": "pong"}
    assert "Traceback" not in server.said()
    assert "without completing response" not in server.said()


@pytest.mark.timeout(120)
def test_what_was_opened_with_a_token_ends_when_that_expires(server: Server) -> None:
    token = dolgo(server, "token", "create", "short", "--scope", "read", "--expires", "6s")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    with httpx.stream("GET", f"{server.url}/events", headers=headers, timeout=6 + ENDS_WITHIN + LATE) as stream:
        assert stream.status_code == 200
        assert b"".join(stream.iter_raw())


@pytest.mark.timeout(120)
def test_a_server_that_stops_waits_for_nobody_who_does_not_read(server: Server) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    task = {"type": "long_task", "delay": 3_600}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
        for _ in range(4):
            assert http.post("/tasks/batch", json={"tasks": [task] * 10_000}).status_code == 202
    frozen = [ask(server, "/events?after=0", "Accept: text/event-stream"), ask(server, "/ws", *UPGRADE)]
    try:
        until(lambda: open_now(server) == {"sse": 1, "websocket": 1}, LATE, "both are open")
        until(lambda: unsent(server) > 0, LATE, "the stream is stuck")
        server.kill(signal.SIGTERM)
        assert server.wait() == 0
    finally:
        for sock in frozen:
            sock.close()
    assert "Traceback" not in server.said()
    assert "timeout graceful shutdown exceeded" not in server.said()


UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)  # fmt: skip


def ask(server: Server, path: str, *headers: str) -> socket.socket:
    """A request by somebody who reads nothing of the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    head = [f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {ADMIN}", *headers, "", ""]
    sock.sendall("\r\n".join(head).encode())
    return sock


def unsent(server: Server) -> int:
    """Bytes that the kernel holds of what a server has sent and nobody has read: so many that it takes no more."""
    port = f":{int(server.url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(line[4].partition(":")[0], 16) for line in lines if line[1].endswith(port))
