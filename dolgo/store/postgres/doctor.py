"""What can be wrong with a PostgreSQL that is to keep tasks. Nothing is written to it."""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
from asyncpg.exceptions import InvalidCatalogNameError, InvalidPasswordError

from dolgo.store.findings import Checks, Finding, Verdict, bad, findings, ok, warn
from dolgo.store.postgres.doctor_kept import KEPT
from dolgo.store.postgres.doctor_look import Look, look
from dolgo.store.postgres.link import CONNECTS_WITHIN, OLDEST
from dolgo.store.postgres.refusals import Failure, describe
from dolgo.store.postgres.sql import MIGRATIONS
from dolgo.store.postgres.url import Address, parse

PATIENCE = 5.0  # seconds for an answer
SLOW_PING = 0.01  # seconds; every call costs one way there and back, and some transactions several
SKEW = 5.0  # seconds between two clocks that nobody need mind
FULL_SHARE = 0.8  # of max_connections in use
OURS = 3  # connections of each process


def examine(url: str) -> list[Finding]:
    """What is found in the PostgreSQL at `url`. Raises `BadSetting`."""
    address = parse(url)
    try:
        seen = asyncio.run(_look(address))
    except (*Failure, ValueError) as error:  # ValueError: a certificate's file, a host's name
        return [Finding("connection", *_no_connection(address, error))]
    return [Finding("connection", *ok(f"{address.shown} answers")), *findings(CHECKS, seen, hides=KeyError)]


async def _look(address: Address) -> Look:
    connection = await asyncpg.connect(**address.arguments, timeout=CONNECTS_WITHIN, command_timeout=PATIENCE)
    try:
        return await look(connection, address)
    finally:
        connection.terminate()


def _no_connection(address: Address, error: Exception) -> Verdict:
    said = str(error) if isinstance(error, asyncpg.PostgresError) else describe(error)
    text = f"{address.shown}: {said.rstrip('.')}"
    if isinstance(error, InvalidPasswordError) or "password" in str(error):
        return bad(text, "Give user and password in the URL: postgresql://USER:PASSWORD@HOST/DATABASE.")
    if isinstance(error, InvalidCatalogNameError):
        return bad(text, f"Make it: createdb {address.database or address.user or ''}".rstrip() + ".")
    if isinstance(error, ssl.SSLCertVerificationError):
        return bad(text, "Name its authority's certificate: ?sslrootcert=FILE.")
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith("57P03"):
        return bad(text, "It is starting: ask again when it has.")
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith("28"):
        return bad(text, "Let this user in from here: see its pg_hba.conf.")
    return bad(text, "Start it, or correct host and port in --store; see its listen_addresses and the firewall.")


# -- what it is


def _rights_to_look(look: Look) -> Verdict | None:
    if not look.refused:
        return None
    question, reason = next(iter(look.refused.items()))
    more = f", and {len(look.refused) - 1} more" if len(look.refused) > 1 else ""
    return warn(f"{question}: {reason}{more}", "GRANT pg_monitor TO this user, or run this as one who may look.")


def _server(look: Look) -> Verdict:
    version, encoding = look.settings["server_version"], look.settings["server_encoding"]
    if int(version.split(".")[0].split("beta")[0].split("rc")[0]) < OLDEST:
        return bad(f"PostgreSQL {version}", f"dolgo needs {OLDEST} or newer.")
    if encoding != "UTF8":
        return bad(f"the database is encoded in {encoding}", "Make one with ENCODING 'UTF8' TEMPLATE template0.")
    return ok(f"PostgreSQL {version}")


def _role(look: Look) -> Verdict:
    if look.facts["role"]["replica"]:
        return bad("this is a replica, and takes no writes", "Name its primary in --store, or a name that follows it.")
    if look.settings["default_transaction_read_only"] == "on":
        return bad("default_transaction_read_only is on: it takes no writes", "Set it to off for this database and user.")
    return ok("primary")


def _schema(look: Look) -> Verdict:
    rights, name, user = look.facts["rights"], look.address.schema, look.facts["role"]["name"]
    if not rights["there"]:
        if rights["may_make"]:
            return ok(f"there is no schema {name} yet, and this user may make it")
        return bad(f"there is no schema {name}, and this user may not make it", f"CREATE SCHEMA {name} AUTHORIZATION {user}.")
    if not (rights["may_use"] and rights["may_add"]):
        return bad(f"this user may not make tables in the schema {name}", f"ALTER SCHEMA {name} OWNER TO {user}.")
    if look.migration is None and look.tables:
        return bad(f"the schema {name} holds tables of another program", "Name another: ?schema=NAME.")
    if look.migration is not None and look.migration > max(MIGRATIONS):
        return bad(f"the data in {name} is of a newer dolgo (version {look.migration})", "Upgrade dolgo on this machine.")
    return ok(f"schema {name}, " + ("empty" if look.migration is None else f"version {look.migration} of the data"))


# -- the way there


def _pooler(look: Look) -> Verdict | None:
    if not look.pooled:
        return None
    return warn(
        "there is a pooler on the way", "It has to give each of our connections one of its own: pool_mode = session in PgBouncer."
    )


def _network(look: Look) -> Verdict:
    if look.loopback:
        return ok("on this machine")
    if not look.facts["tls"].get("ssl"):
        return warn(
            f"{look.address.host} is reached without encryption: whoever is in between reads and changes tasks",
            "Use ?sslmode=verify-full and ssl = on, or make sure that nobody else is in that network.",
        )
    if "verify" not in look.address.tls:
        return warn("encrypted, but nobody checks whom we speak to", "Use ?sslmode=verify-full&sslrootcert=FILE.")
    return ok("encrypted, and its certificate is checked")


def _clock(look: Look) -> Verdict:
    text = f"its clock is {abs(look.ahead):.1f} s {'ahead of' if look.ahead > 0 else 'behind'} this machine's"
    if abs(look.ahead) > SKEW:
        return warn(
            text, "dolgo goes by the clock of PostgreSQL: a run_at that was reckoned here is off by as much. Keep both by NTP."
        )
    return ok(text)


def _latency(look: Look) -> Verdict:
    text = f"an answer takes {look.latency * 1000:.2f} ms"
    if look.latency > SLOW_PING:
        return warn(
            text, "Every transaction costs one, and many cost several: run dolgo near its PostgreSQL, or see what keeps it busy."
        )
    return ok(text)


def _connections(look: Look) -> Verdict:
    used = int(look.facts["sessions"]["used"])
    most = int(look.settings["max_connections"]) - int(look.settings["superuser_reserved_connections"])
    text = f"{used} of {most} connections in use; each process of dolgo takes {OURS}"
    return warn(text, "Raise max_connections, or run fewer processes.") if used > FULL_SHARE * most else ok(text)


CHECKS: Checks[Look] = {
    "rights to look": _rights_to_look,
    "server": _server,
    "role": _role,
    "schema": _schema,
    **KEPT,
    "pooler": _pooler,
    "network": _network,
    "clock": _clock,
    "latency": _latency,
    "connections": _connections,
}
