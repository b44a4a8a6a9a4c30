"""A scripted server, and the command line run in this process against it."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest

from dolgo.cli import main

DOLGO = Path(sys.executable).with_name("dolgo")


class Request(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = tuple[int, bytes, dict[str, str]]


class Stub:
    """Answers each path with what it was told to, in order; the last answer stays. Without an answer: 404."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._came = threading.Event()
        self._answers: dict[str, list[Answer]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: str, body: Any, status: int = 200, **headers: str) -> None:
        """`request` is like `GET /tasks/a`; a body of bytes is sent as it is, status 0 cuts the connection.

        In the names of headers `_` stands for a dash."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.setdefault(request, []).append((status, raw, sent))

    def stream(self, request: str, *names: str) -> None:
        """Answer with a stream of events of these names, and from then on that it has ended."""
        self.send_events(request, *((f"e-{n}", name, {}) for n, name in enumerate(names, start=1)))
        self.answer(request, b"", 204)

    def send_events(self, request: str, *events: tuple[str, str, Any], more: str = "") -> None:
        """Answer with a stream of events, each of a place, a name and data. `more` follows, and the connection's end."""
        blocks = [f"id: {place}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for place, name, data in events]
        body = "retry: 1000\n: here\n\n" + "".join(blocks) + more
        self.answer(request, body.encode(), content_type="text/event-stream")

    def refuse(self, request: str, status: int, error: str, **pointers: str) -> None:
        """Answer with problem details; `pointers` are wrong members and what is wrong with them."""
        errors = [{"pointer": pointer.replace("_", "/"), "detail": detail} for pointer, detail in pointers.items()]
        self.answer(
            request, {"type": "x", "title": "x", "status": status, "detail": error, "error": error, "errors": errors}, status
        )

    def asked(self, request: str) -> list[Request]:
        """The requests of one method and path."""
        return [made for made in self.requests if f"{made.method} {made.path}" == request]

    def first_request(self) -> None:
        """Return once something was asked."""
        assert self._came.wait(20)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, request: Request) -> Answer:
        self.requests.append(request)
        self._came.set()
        waiting = self._answers.get(f"{request.method} {request.path}")
        if not waiting:
            return 404, b'{"error": "There is nothing under this address."}', {}
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def _handler(stub) -> type[BaseHTTPRequestHandler]:  # `self` is the handler's below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                made = Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(raw) if raw else None)
                status, body, sent = stub._take(made)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                for name, value in sent.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def on_terminal(stream: str, *arguments: str, **environ: str) -> tuple[int, str]:
    """The exit code of a command and what a terminal at its `stdout` or `stderr` was sent."""
    ours, theirs = pty.openpty()
    streams: dict[str, int] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", **environ}
    process = subprocess.Popen([DOLGO, *arguments], env=environ, stdout=streams["stdout"], stderr=streams["stderr"])
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # how Linux says that nobody has the other end open
        pass
    os.close(ours)
    return process.wait(20), shown.decode()


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A scripted server on a free port."""
    served = Stub()
    yield served
    served.close()


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without a word of dolgo."""
    monkeypatch.chdir(tmp_path)
    for name in ("DOLGO_TOKEN", "DOLGO_URL", "DOLGO_SLOTS", "DOLGO_STORE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def alone(at: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that no server stands behind."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(int(code), *capsys.readouterr())

    return run


@pytest.fixture
def run(alone: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against `stub`."""
    monkeypatch.setenv("DOLGO_URL", stub.url)
    return alone
