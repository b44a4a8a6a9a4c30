"""The first meeting with a PostgreSQL: is it there, may we, and are our tables in it and of our version?"""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
from asyncpg import Connection
from asyncpg.exceptions import (
    InsufficientPrivilegeError,
    InvalidCatalogNameError,
    InvalidPasswordError,
    InvalidSchemaNameError,
    PostgresConnectionError,
)

from dolgo.errors import StoreUnavailable, StoreUnusable
from dolgo.store.postgres.bell import Listener
from dolgo.store.postgres.refusals import Failure, Unfit, describe, meaning
from dolgo.store.postgres.server import Server
from dolgo.store.postgres.sql import MIGRATIONS
from dolgo.store.postgres.url import Address

MIGRATED_WITHIN = 300.0  # seconds a migration may take, or be waited for; a large table may have to be written anew
COLUMNS = "number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()"  # of the table of migrations
POOLED = "a pooler on the way lends its connections for a transaction only. Set pool_mode = session in PgBouncer"
REACHING = ("08", "53", "57", "58")  # classes of SQLSTATE that pass: the server is not there yet


async def open_server(server: Server, bell: Listener) -> None:
    """Connect, look, bring the schema to this version, and listen.

    Raises StoreUnavailable while it is not there yet, StoreUnusable for good."""
    try:
        writing = await server.writing.open()
        await _check_pooler(writing, await server.reader.link.open())
        await _migrate(writing, server.address)
        await bell.open()
    except BaseException as error:
        await bell.close()
        await server.close()  # so that it may be tried again
        if isinstance(error, (*Failure, Unfit)):
            raise _explained(server.address, error) from None
        raise


def _explained(address: Address, error: Exception) -> StoreUnusable | StoreUnavailable:
    if (reason := _for_good(address, error)) is not None:
        return StoreUnusable(f"The store {address.shown} cannot be used: {reason}.")
    return StoreUnavailable(f"The store {address.shown} cannot be reached: {describe(error)}.")


def _for_good(address: Address, error: Exception) -> str | None:
    """What a person has to do something about, None if it may pass by itself."""
    user, database = address.user or "the user", address.database or address.user or "of the user's name"
    match error:
        case Unfit():
            return str(error)
        case ssl.SSLCertVerificationError():
            return f"its certificate is not to be trusted ({error.verify_message}). Name who signed it: ?sslrootcert=FILE"
        case ConnectionError() if "SSL upgrade" in str(error):
            return "it does not speak TLS. Have it do so (ssl = on), or write ?sslmode=disable"
        case FileNotFoundError() | PermissionError() if address.tls:
            return f"a file for TLS that it names cannot be used: {error}"
        case InvalidPasswordError():
            return "it knows no such user with this password. Correct them: postgresql://USER:PASSWORD@HOST/DATABASE"
        case InvalidCatalogNameError():
            return f"it has no database {database}. Make it: createdb {database}"
        case InsufficientPrivilegeError() | InvalidSchemaNameError():
            return (
                f"{user} may not keep tables in the schema {address.schema} ({error}). "
                f"As an administrator: CREATE SCHEMA IF NOT EXISTS {address.schema} AUTHORIZATION {user}"
            )
        case asyncpg.PostgresError() if (error.sqlstate or "").startswith("28"):
            return f"it does not let {user} in ({error}). See its pg_hba.conf"
        case asyncpg.PostgresError() if not (error.sqlstate or "").startswith(REACHING):
            return meaning(error) or str(error).rstrip(".")
        case asyncpg.InterfaceError() if meaning(error) is None or "password" in str(error):
            return str(error).rstrip(".")
    return None


async def _check_pooler(one: Connection, other: Connection) -> None:
    """A pooler that lends a connection for a transaction alone would mix up sessions: prepared statements, settings, LISTEN.

    It gives the same one to the next who asks, so while the other is in a transaction on it, this one gets another."""
    backend = "SELECT pg_backend_pid()"
    before = await one.fetchval(backend)
    if before == one.get_server_pid():
        return
    try:
        async with other.transaction():
            await other.fetchval(backend)
            after = await one.fetchval(backend)
    except PostgresConnectionError as error:
        if "pooling mode" not in str(error):
            raise
        raise Unfit(POOLED) from None  # it lends one for a statement alone, and lets nobody begin a transaction
    if before != after:
        raise Unfit(POOLED)


# -- the schema


async def _migrate(connection: Connection, address: Address) -> None:
    """Bring the schema to this version. Two processes that start at once do it once: the second waits for the first."""
    async with asyncio.timeout(MIGRATED_WITHIN), connection.transaction():
        await _unhurried(connection, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        await _unhurried(connection, f"SELECT pg_advisory_xact_lock(hashtextextended('dolgo migration {address.schema}', 0))")
        version = await _version(connection, address.schema)
        if version > max(MIGRATIONS):
            raise Unfit(
                f"its data is of a newer version ({version}, this dolgo knows {max(MIGRATIONS)}). Upgrade dolgo on this machine"
            )
        for number in sorted(number for number in MIGRATIONS if number > version):
            await _unhurried(connection, MIGRATIONS[number])
            await connection.execute("INSERT INTO migration (number) VALUES ($1)", number)


async def _unhurried(connection: Connection, script: str) -> None:
    await connection.execute(script, timeout=MIGRATED_WITHIN)


async def _version(connection: Connection, schema: str) -> int:
    """The newest migration that was run here, 0 for a schema that is new or empty."""
    there = await connection.fetchval("SELECT oid FROM pg_namespace WHERE nspname = $1", schema)
    if there is None:
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    names = await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = $1 AND relkind IN ('r', 'p')", there or 0)
    tables = {name for (name,) in names}
    if not tables:
        await connection.execute(f'CREATE TABLE "{schema}".migration ({COLUMNS})')
    elif not tables >= {"migration", "meta"}:
        raise Unfit(f"its schema {schema} holds tables of another program. Name another: ?schema=NAME")
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM migration"))
