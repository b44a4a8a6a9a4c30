"""The HTTP server around the application: uvicorn, in our hands where it stops, listens, and deals with clients."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import resource
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from dolgo.api.connection import Connection, Patience
from dolgo.errors import StartError

LAST_ANSWERS = 5  # seconds that requests under way may still take when the server stops
BACKLOG = 2048  # connections the kernel holds until they are accepted
MOST_FILES = 65_536  # open at once, if the system lets us: more are never needed, and some programs walk through all there may be
SPARED_FILES = 200  # of those, for the store, the children and what they bring
TICKS = 10  # of uvicorn's ticks a second


class Server(uvicorn.Server):
    """Serves an application on a socket until `stop`. Signals are none of its business."""

    def __init__(self, app: Any, listener: socket.socket, patience: Patience = Patience()) -> None:  # noqa: B008 - it is frozen
        connection = functools.partial(Connection, patience=patience, most=_most_connections())
        super().__init__(
            uvicorn.Config(
                app,
                http=connection,  # type: ignore[arg-type]
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=LAST_ANSWERS,
            )
        )
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    async def start(self) -> None:
        """Return when requests are taken."""
        self._serving = asyncio.create_task(self.serve(sockets=[self._listener]), name="http")
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({up, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        """Take no more requests, answer those under way. Calling it twice is harmless."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, which does not tick then: but who reads nothing of what is left for them is not waited for."""
        looking = asyncio.create_task(self._look_on())
        try:
            await super().shutdown(sockets)
        finally:
            looking.cancel()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            self._look()
        return await super().on_tick(counter)

    def _look(self, *, parting: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        for connection in tuple(self.server_state.connections):
            connection.look(now, parting=parting)  # type: ignore[union-attr]

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._look(parting=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int, *, of: str = "") -> socket.socket:
    """A socket that listens. Raises StartError that says why it cannot, and which flag to correct.

    `of` stands before the names of the flags: "health-" of the health port."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except UnicodeError:  # before any name service is asked: a label that is empty or too long
        raise StartError(f"Cannot listen on {host}:{port}: this is no name of a host. Give another --{of}host.") from None
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        wrong_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        other = f"--{of}host" if wrong_host else f"--{of}port, or 0 for a free one"
        raise StartError(f"Cannot listen on {host}:{port}: {reason}. Give another {other}.") from error


def _most_connections() -> int:
    """How many connections may be open at once, the limit of open files raised as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(SPARED_FILES, (wanted if soft == resource.RLIM_INFINITY else soft) - SPARED_FILES)
