"""A receiver of callbacks that a test tells how to behave: real sockets, on a free port."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

LOOK_EVERY = 0.02  # seconds


class Came(NamedTuple):
    """A request."""

    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    at: float  # monotonic


class Receiver:
    """`/ok` takes it; `/500`, `/410`, `/302` and other numbers answer so.

    `/reset` resets, `/slow` never answers, `/endless` never ends its answer. `/later` answers 503 with `Retry-After: 1` once and
    then takes it, `/twice` 500 once and then takes it."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.over = threading.Event()
        self.retry_after = "1"
        self._times: defaultdict[str, int] = defaultdict(int)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.came.append(Came(self.path, headers, body, time.monotonic()))
                receiver.behave(self)

            def do_GET(self) -> None:
                receiver.came.append(Came(self.path, {}, b"", time.monotonic()))
                self.send_error(200)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("", 0), Handler)  # 127.0.0.2 as well, as another host
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": LOOK_EVERY})

    def behave(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.partition("?")[0].strip("/")
        self._times[name] += 1
        first = self._times[name] == 1
        if name == "slow":
            self.over.wait()
        elif name == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.close_connection = True
            handler.connection.close()
        elif name == "endless":
            handler.send_response(200)
            handler.end_headers()
            self._write_on(handler)
        else:
            status = {"ok": 204, "later": 503 if first else 200, "twice": 500 if first else 200}.get(name) or int(name)
            handler.send_response(status)
            if status == 503:
                handler.send_header("retry-after", self.retry_after)
            if 300 <= status < 400:
                handler.send_header("location", f"{self.url}/followed")
            handler.send_header("content-length", "0")
            handler.end_headers()

    def _write_on(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            while not self.over.is_set():
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def of(self, path: str) -> list[Came]:
        return [came for came in self.came if came.path == path]

    def until(self, path: str, number: int, within: float) -> list[Came]:
        """What came to the path, once there is so much of it."""
        deadline = time.monotonic() + within
        while len(found := self.of(path)) < number:
            assert time.monotonic() < deadline, f"{len(found)} of {number} came to {path} within {within:g} s"
            time.sleep(LOOK_EVERY)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
