"""What the errors of PostgreSQL and of the way there mean: which of them pass, and which may be tried again at once."""

from __future__ import annotations

import os
import ssl

import asyncpg
from asyncpg.exceptions import InternalClientError, InvalidCachedStatementError, OutdatedSchemaCacheError

# SQLSTATE, or its class → what it means to those who wait. All of them pass, and nothing was done.
PASSING = {
    "08": "the connection was cut",
    "25006": "it takes no writes: it has become a replica, or is set to read only",
    "25P03": "a transaction stood still for too long",
    "26000": "it does not know its own prepared statements: a PgBouncer on the way needs pool_mode = session",
    "28": "it does not let this user in any more",
    "3D000": "the database is gone",
    "3F000": "the schema is gone",
    "42501": "its user may not do this any more",
    "42883": "its functions are gone",
    "42P01": "its tables are gone",
    "42P05": "prepared statements of others are in the way: a PgBouncer on the way needs pool_mode = session",
    "53": "it is out of resources",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "53300": "it has no connection left: raise max_connections, or run fewer processes",
    "55006": "it is in use by something that does not let others in",
    "55P03": "a lock was not given in time",
    "57": "an operator of it intervened",
    "57014": "it did not answer within 5 s",
    "57P01": "it is being shut down",
    "57P02": "it has crashed and is starting again",
    "57P03": "it is starting up or shutting down",
    "58": "its system failed (see its log)",
    "XX001": "its data is damaged (see its log)",
    "XX002": "an index of it is damaged (see its log)",
}
ELSEWHERE = ("08", "25006", "25P03", "26000", "28", "3D", "42P05", "57P", "58", "XX")  # a new connection may do better
AGAIN = ("40001", "40P01")  # serialization_failure, deadlock_detected: rolled back whole, and the next try may get through

# All that a call may meet; a TimeoutError is an OSError. asyncpg calls it internal where a connection ends between two steps.
Failure = (asyncpg.PostgresError, asyncpg.InterfaceError, InternalClientError, OSError)


class Unfit(Exception):
    """A server that answers, and cannot keep our tasks."""


def meaning(error: BaseException) -> str | None:
    """Why the store cannot be used now, in a few words without a full stop; None if the fault is with what was asked."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return PASSING.get(state) or PASSING.get(state[:2])
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError):
        return describe(error)
    if isinstance(error, asyncpg.DataError):  # an InterfaceError too: a value that fits no column
        return None
    if isinstance(error, (asyncpg.InterfaceError, InternalClientError)):
        return "the connection was cut"
    return None


def contended(error: BaseException) -> bool:
    """Whether the same transaction may well succeed if it is begun again."""
    if isinstance(error, (InvalidCachedStatementError, OutdatedSchemaCacheError)):  # a newer dolgo has changed a table
        return True
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in AGAIN


def cut(error: BaseException) -> bool:
    """Whether the connection is not to be used any more."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(ELSEWHERE)
    return isinstance(error, Failure) and not isinstance(error, asyncpg.DataError) and not contended(error)


def describe(error: BaseException) -> str:
    """What went wrong, in a few words without a full stop."""
    if isinstance(error, asyncpg.PostgresError):
        return meaning(error) or str(error).rstrip(".")
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection could be made ({error.reason or error})"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # less than 0: the name was not found
    return str(error).rstrip(".")
