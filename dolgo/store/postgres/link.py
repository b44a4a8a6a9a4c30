"""One connection to PostgreSQL, over outages: it is made anew whenever it ends, and everybody is told why there is none."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time

import asyncpg
from asyncpg import Connection

from dolgo.errors import StoreUnavailable
from dolgo.logs import SELDOM
from dolgo.store.postgres.refusals import Unfit, describe
from dolgo.store.postgres.url import Address

log = logging.getLogger("dolgo.store")

PATIENCE = 1.0  # seconds into an outage for which a call waits for its end; after that it fails at once
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)  # seconds between two tries to connect
BRIEF = 1.0  # seconds a connection has to last, or the next one is made after a pause
CONNECTS_WITHIN = 3.0  # seconds; one attempt that nobody answers must not outlast an outage by more
ANSWERS_WITHIN = 5.0  # seconds after which an answer is not waited for any more
CACHED = 500  # statements kept prepared: all that there are
ALIVE = (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2))  # a peer gone without a word is noticed in 10 s

OLDEST = 14  # the first version that Debian's and the managed services' supported ones are not older than
# What holds in every session of ours. Locks of a process that is gone without a word must not outlast a lease by much.
SESSION = {
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "2s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "10s",
    "jit": "off",  # our statements run for less time than it takes to compile them
    # Every statement finds its rows by an index. A plan that is made while a table is small or not analysed yet is kept.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",  # the first of an index in order is wanted, not all of it sorted
    "enable_material": "off",  # nor a table gone through once and kept, where a few rows are looked up
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
INTRODUCE = (
    "SELECT set_config('search_path', $1, false), pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', "
    "current_setting('server_encoding'), " + ", ".join(f"set_config('{name}', '{text}', false)" for name, text in SESSION.items())
)


async def connect(address: Address) -> Connection:
    """A connection that may write, with our session set up. Raises what asyncpg raises, OSError, TimeoutError, and Unfit."""
    async with asyncio.timeout(CONNECTS_WITHIN):
        connection = await asyncpg.connect(
            **address.arguments,
            timeout=CONNECTS_WITHIN,
            command_timeout=ANSWERS_WITHIN,
            statement_cache_size=CACHED,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "dolgo"},
        )
        try:
            await _introduce(connection, address)
        except BaseException:
            connection.terminate()
            raise
    return connection


async def _introduce(connection: Connection, address: Address) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST:
        raise Unfit(f"it is PostgreSQL {version.major}.{version.minor}, and dolgo needs {OLDEST} or newer")
    _keep_alive(connection)
    _, replica, read_only, encoding, *_ = await connection.fetchrow(INTRODUCE, f'"{address.schema}"')
    if replica:
        raise Unfit("it is a replica, which takes no writes. Name its primary")
    if read_only:
        raise Unfit("it takes no writes: default_transaction_read_only is on for this server, database or user. Set it to off")
    if encoding != "UTF8":
        raise Unfit(f"its encoding is {encoding}, and dolgo needs UTF8: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'")


def _keep_alive(connection: Connection) -> None:
    peer = connection._transport.get_extra_info("socket")  # asyncpg shows it nowhere else
    if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, seconds in ALIVE:
            if hasattr(socket, name):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


class Link:
    """A connection that is made anew whenever it ends. `open` before, `close` after."""

    def __init__(self, address: Address, *, told: int = logging.DEBUG) -> None:
        self.address = address
        self._told = told  # the level at which an outage is told: one link of several tells it aloud
        self._connection: Connection | None = None
        self._ended = asyncio.Event()
        self._up = asyncio.Event()
        self._down_since = time.monotonic()
        self._reason = "not connected yet"
        self._keeper: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.beside: list[Link] = []  # others to the same server: where one gets through, they try at once

    async def open(self) -> Connection:
        """Connect once. Raises as `connect`."""
        self._took(await connect(self.address))
        self._keeper = asyncio.create_task(self._keep(), name="postgresql")
        assert self._connection is not None
        return self._connection

    async def close(self) -> None:
        """Let go of the connection. Calling it twice is harmless."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        self.drop("closed")
        self._up.clear()
        self._reason = "closed"
        self._down_since = float("-inf")

    async def ready(self) -> Connection:
        """The connection, once there is one. Raises StoreUnavailable."""
        if self._connection is None or self._connection.is_closed():
            self._noticed()  # its listener may not have been called, or not yet
            left = self._down_since + PATIENCE - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._up.wait()
            except TimeoutError:
                raise self.unavailable(self._reason) from None
        assert self._connection is not None
        return self._connection

    def drop(self, reason: str) -> None:
        """End the connection: what was under way is not known, or another one may lead to a server that can do better."""
        self._reason = reason
        if self._connection is not None and not self._connection.is_closed():
            self._connection.terminate()
            self._noticed()

    def hurry(self) -> None:
        """Try to connect now, if that is what it waits for."""
        self._hurry.set()

    def unavailable(self, reason: str) -> StoreUnavailable:
        """The error that says why the store cannot be used."""
        return StoreUnavailable(f"The store {self.address.shown} cannot be used now: {reason}.")

    # -- keeping it

    def _took(self, connection: Connection) -> None:
        self._connection = connection
        self._ended.clear()
        connection.add_termination_listener(self._terminated)
        self._reason = "the server closed the connection"
        self._up.set()

    def _terminated(self, connection: Connection) -> None:
        if connection is self._connection:
            self._noticed()

    def _noticed(self) -> None:
        """The connection has ended."""
        if self._up.is_set():
            self._up.clear()
            self._down_since = time.monotonic()
        self._ended.set()

    async def _keep(self) -> None:
        """Make the connection anew whenever it has ended: at once, or after a pause if the one before did not last."""
        brief = 0  # connections in a row
        while True:
            since = time.monotonic()
            await self._ended.wait()
            brief = brief + 1 if time.monotonic() - since < BRIEF else 0
            log.log(self._told, "The connection to %s has ended: %s.", self.address.shown, self._reason, extra=SELDOM)
            if brief:
                await self._pause(brief - 1)
            self._took(await self._made_anew())
            for link in self.beside:
                link.hurry()
            after = time.monotonic() - self._down_since
            log.log(self._told, "Connected to %s again, after %.1f s.", self.address.shown, after, extra=SELDOM)

    async def _made_anew(self) -> Connection:
        tries = 0
        while True:
            try:
                return await connect(self.address)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, Unfit) as error:  # a TimeoutError is an OSError
                self._reason = describe(error)
                if tries % 30 == 0:
                    level = logging.ERROR if self._told >= logging.WARNING else self._told
                    log.log(level, "The store %s cannot be reached: %s. It is tried again.", self.address.shown, self._reason)
            await self._pause(tries)
            tries += 1

    async def _pause(self, tries: int) -> None:
        """Between two tries to connect, unless it is told to hurry."""
        self._hurry.clear()
        try:
            async with asyncio.timeout(pause(tries)):
                await self._hurry.wait()
        except TimeoutError:
            pass


def pause(tries: int) -> float:
    """Seconds between two tries to connect; not the same for all processes."""
    return PAUSES[min(tries, len(PAUSES) - 1)] * random.uniform(0.5, 1.0)
