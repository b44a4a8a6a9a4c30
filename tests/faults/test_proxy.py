"""The proxy does to connections what it is told, so that the tests behind it prove what they say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy

SOON = 0.3  # seconds in which an answer that is to come would be there
LATE = 10.0  # seconds after which it will not come any more


class Echo:
    """Answers every line with the same line, and keeps what it was asked."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        self.heard = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(LATE)

    def was_asked(self, line: bytes) -> bool:
        """Whether it is asked so, in time."""
        with self.heard:
            return self.heard.wait_for(lambda: line in self.asked, LATE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rwb") as file:
                for line in file:
                    with self.heard:
                        self.asked.append(line)
                        self.heard.notify_all()
                    file.write(line)
                    file.flush()
        except OSError:
            pass


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=LATE)
    connection.settimeout(LATE)
    return connection


def ask(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line)
    return connection.recv(1_000)


def until_reset(connection: socket.socket) -> bytes:
    """What comes before a RST; fails if the connection ends otherwise."""
    answer = b""
    try:
        while piece := connection.recv(1_000):
            answer += piece
    except ConnectionResetError:
        return answer
    raise AssertionError(f"closed without a reset after {answer!r}")


def test_it_passes_on_in_both_directions(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert (ask(one, b"a\n"), ask(other, b"b\n")) == (b"a\n", b"b\n")
    assert proxy.accepted == 2


def test_a_delay_holds_each_direction_back(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.delay(0.2)
        begun = time.monotonic()
        assert ask(connection, b"a\n") == b"a\n"
        assert time.monotonic() - begun >= 0.4


def test_what_is_swallowed_reaches_nobody_and_ends_no_connection(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as before:
        assert ask(before, b"a\n") == b"a\n"
        proxy.swallow()
        with connect(proxy) as after:
            for connection in (before, after):
                connection.sendall(b"lost\n")
                connection.settimeout(SOON)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
        proxy.pass_()
        with connect(proxy) as new:
            assert ask(new, b"b\n") == b"b\n"
    assert echo.asked == [b"a\n", b"b\n"]


def test_a_reset_ends_the_connections_there_are(proxy: Proxy) -> None:
    with connect(proxy) as before:
        assert ask(before, b"a\n") == b"a\n"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            before.recv(1)
        with connect(proxy) as after:
            assert ask(after, b"b\n") == b"b\n"


@pytest.mark.parametrize("bytes", [0, 2])
def test_a_cut_comes_after_the_question_was_answered(proxy: Proxy, echo: Echo, bytes: int) -> None:
    with connect(proxy) as connection:
        proxy.cut_after(bytes)
        connection.sendall(b"commit\n")
        assert len(until_reset(connection)) <= bytes  # a reset may overtake what was sent before it
    assert echo.was_asked(b"commit\n")
    assert not proxy.cutting
    with connect(proxy) as after:
        assert ask(after, b"a\n") == b"a\n"


def test_it_refuses_and_listens_again_on_the_same_port(proxy: Proxy) -> None:
    with connect(proxy) as before:
        assert ask(before, b"a\n") == b"a\n"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            before.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.pass_()
        with connect(proxy) as after:
            assert ask(after, b"b\n") == b"b\n"


def test_a_target_that_is_gone_resets(proxy: Proxy, echo: Echo) -> None:
    proxy.target = 1  # nobody listens there
    with pytest.raises(ConnectionError), connect(proxy) as connection:  # the RST may be quicker than the test
        connection.recv(1)
