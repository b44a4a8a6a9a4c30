"""Many connections at once that give nothing to do, and take up room and time."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolgo.api.server import MOST_FILES
from tests.blackbox.client import until
from tests.blackbox.server import DOLGO, Process, Server
from tests.faults.http import fuzz
from tests.faults.http.case import HOST
from tests.faults.http.watcher import Watcher
from tests.missing import missing

SLOW = 500
IDLE = 5_000
FEW = 400  # files that may be open, of which the server keeps 200 for other things
WATCHED = 5  # good requests beside the idle ones
ENDED = 60.0  # seconds, of which a head has ten: the rest is for a machine that is busy


@contextlib.contextmanager
def connected(port: int, number: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that do not block, each with some bytes sent."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < number + 1_000:
        missing(f"{number} files cannot be open at once")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 10.0)) for _ in range(number)]
        for one in sockets:
            one.sendall(first)
            one.setblocking(False)
        yield sockets


def ended(one: socket.socket, said: dict[socket.socket, bytes]) -> bool:
    """Whether the server has closed a connection; what it said is kept."""
    try:
        one.send(b"a")
        more = one.recv(65_536)
    except BlockingIOError:
        return False
    except OSError:
        return True
    said[one] = said.get(one, b"") + more
    return not more


@pytest.mark.timeout(150)
def test_five_hundred_heads_that_trickle_are_cut_and_good_clients_served(port: int, hostile: Server) -> None:
    files = fuzz.files(hostile.pid)
    said: dict[socket.socket, bytes] = {}
    with Watcher(port), connected(port, SLOW, b"GET /types HTTP/1.1\r\n" + HOST) as sockets:
        left, deadline = sockets, time.monotonic() + ENDED
        while left:
            assert time.monotonic() < deadline, f"{len(left)} of the slow connections are still open"
            time.sleep(0.5)  # the pace of the attack
            left = [one for one in left if not ended(one, said)]
    assert sum(b" 408 " in answer for answer in said.values()) == SLOW
    until(lambda: fuzz.files(hostile.pid) <= files, 10.0, "their files are closed")


@pytest.mark.timeout(150)
def test_thousands_of_idle_connections_disturb_nobody(port: int, hostile: Server) -> None:
    with connected(port, IDLE), Watcher(port) as watcher:
        until(lambda: watcher.wrong or watcher.asked > WATCHED, 30.0, "good requests are answered")


@pytest.mark.timeout(150)
def test_where_few_files_may_be_open_newcomers_take_the_place_of_the_idle(tmp_path: Path) -> None:
    few = f'ulimit -n {FEW}; exec "$0" serve --port 0'
    with Process(["sh", "-c", few, DOLGO], tmp_path, ready=r"ready on http://\S+:(\d+)").ready() as server:
        assert server.came_ready
        port = int(server.came_ready[1])
        with connected(port, 2 * FEW), Watcher(port) as watcher:
            until(lambda: watcher.wrong or watcher.asked > 2, 30.0, "good requests are answered")
        assert fuzz.files(server.pid) < FEW


def test_as_many_files_may_be_open_as_the_system_lets_it(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Process(
        ["sh", "-c", f'ulimit -Sn {FEW}; exec "$0" serve --port 0', DOLGO], tmp_path, ready="ready on"
    ).ready() as server:
        assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (min(hard, MOST_FILES), hard)
