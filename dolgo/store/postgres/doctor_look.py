"""What the checks of a PostgreSQL look at, asked for once."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncpg import Connection
from asyncpg.exceptions import InsufficientPrivilegeError, UndefinedFunctionError, UndefinedTableError

from dolgo.store.postgres.url import Address

PINGS = 20
ASKED = (
    "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "autovacuum", "track_counts",
    "max_connections", "superuser_reserved_connections", "server_encoding", "server_version", "default_transaction_read_only",
    "default_transaction_isolation", "max_locks_per_transaction", "data_directory", "autovacuum_freeze_max_age",
)  # fmt: skip

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])"
# Of each question one row, by the names of its columns. A user who may not see other users' sessions is told less.
_FACTS = {
    "role": "SELECT pg_is_in_recovery() AS replica, current_user AS name, current_database() AS database, "
    "pg_backend_pid() AS pid, extract(epoch FROM clock_timestamp())::float8 AS time",
    "rights": "SELECT to_regnamespace($1) IS NOT NULL AS there, "
    "has_database_privilege(current_database(), 'CREATE') AS may_make, "
    "coalesce(has_schema_privilege(to_regnamespace($1), 'USAGE'), false) AS may_use, "
    "coalesce(has_schema_privilege(to_regnamespace($1), 'CREATE'), false) AS may_add",
    "tls": "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "sessions": "SELECT count(*) FILTER (WHERE backend_type = 'client backend') AS used, "
    "max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE pid <> pg_backend_pid() "
    "AND backend_type = 'client backend')::float8 AS oldest, "
    "max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE state LIKE 'idle in transaction%')::float8 AS idle "
    "FROM pg_stat_activity",
    "standbys": "SELECT count(*) AS count, count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous, "
    "max(extract(epoch FROM replay_lag))::float8 AS lag FROM pg_stat_replication",
    "slots": "SELECT count(*) FILTER (WHERE NOT active) AS idle FROM pg_replication_slots",
    "age": "SELECT age(datfrozenxid) AS transactions FROM pg_database WHERE datname = current_database()",
    "prepared": "SELECT count(*) AS count FROM pg_prepared_xacts WHERE prepared < now() - interval '10 minutes'",
}
_TABLES = (
    "SELECT pg_class.relname, n_live_tup AS live, n_dead_tup AS dead, pg_relation_size(relid) AS size, "
    "'autovacuum_enabled=false' = ANY(coalesce(reloptions, '{}')) AS neglected "
    "FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid WHERE schemaname = $1"
)


@dataclass(frozen=True)
class Look:
    """What the checks look at. What this user may not ask for is empty."""

    address: Address
    settings: Mapping[str, str]
    facts: Mapping[str, Mapping[str, Any]]  # by the names of the questions
    tables: Mapping[str, Mapping[str, Any]]  # of our schema, by name
    migration: int | None  # the newest one that was run, None in a schema without our tables
    pooled: bool  # somebody between us and the server hands out connections
    ahead: float  # seconds that the server's clock is ahead of ours
    latency: float  # seconds an answer takes, in the middle
    refused: Mapping[str, str]  # question → why it was refused

    def fact(self, question: str, name: str) -> Any:
        """One answer, None where it was refused."""
        return self.facts.get(question, {}).get(name)

    @property
    def loopback(self) -> bool:
        """Whether the way there does not leave this machine."""
        try:
            return ipaddress.ip_address(self.address.host).is_loopback
        except ValueError:  # a name, or the folder of a socket
            return self.address.host == "localhost" or self.address.host.startswith(("/", "@"))


async def look(connection: Connection, address: Address) -> Look:
    """Asks for what is known. Raises as asyncpg does, but not for what this user may not ask for."""
    refused: dict[str, str] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for question, text in _FACTS.items():
        asked = await _rows(connection, refused, question, text, *([address.schema] if "$1" in text else []))
        facts[question] = asked[0] if asked else {}
    settings = await _rows(connection, refused, "settings", _SETTINGS, list(ASKED))
    tables = await _rows(connection, refused, "tables", _TABLES, address.schema)
    names = {row["relname"] for row in tables}
    newest = f'SELECT max(number) AS number FROM "{address.schema}".migration'
    migrations = await _rows(connection, refused, "migration", newest) if {"migration", "meta"} <= names else []
    ahead, latency = await _times(connection)
    return Look(
        address=address,
        settings={row["name"]: row["setting"] for row in settings},
        facts=facts,
        tables={row["relname"]: row for row in tables},
        migration=migrations[0]["number"] if migrations else None,
        pooled=facts["role"].get("pid", connection.get_server_pid()) != connection.get_server_pid(),
        ahead=ahead,
        latency=latency,
        refused=refused,
    )


async def _rows(
    connection: Connection, refused: dict[str, str], question: str, text: str, *values: Any
) -> list[Mapping[str, Any]]:
    try:
        return [dict(row) for row in await connection.fetch(text, *values)]
    except (InsufficientPrivilegeError, UndefinedFunctionError, UndefinedTableError) as error:  # the latter: a service hides it
        refused[question] = str(error)
        return []


async def _times(connection: Connection) -> tuple[float, float]:
    """How far the server's clock is ahead, and how long an answer takes."""
    took, ahead = [], 0.0
    for _ in range(PINGS):
        before, began = time.time(), time.perf_counter()
        (now,) = await connection.fetchrow("SELECT extract(epoch FROM clock_timestamp())::float8")
        took.append(time.perf_counter() - began)
        ahead = now - (before + time.time()) / 2
    return ahead, sorted(took)[PINGS // 2]
