"""What is found in a PostgreSQL, each fault made in a real server or in what it says of itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dolgo.errors import BadSetting
from dolgo.store import disk
from dolgo.store.findings import Finding, Level, Verdict
from dolgo.store.postgres import PostgresStore, doctor, doctor_kept
from dolgo.store.postgres.doctor_kept import KEPT
from dolgo.store.postgres.doctor_look import Look
from dolgo.store.postgres.sql import MIGRATIONS
from dolgo.store.postgres.url import parse
from tests.postgres_server import PostgresServer, need_postgres
from tests.redis_server import free_port

SECRET = "hush-hush"
Start = Callable[..., PostgresServer]


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this runs on, it is fast enough and has room."""
    monkeypatch.setattr(doctor, "SLOW_PING", 5.0)
    monkeypatch.setattr(disk, "LEAST", 0)
    monkeypatch.setattr(disk, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(disk, "read_mounts", list)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a PostgreSQL with these settings; without any it is a good one."""
    need_postgres()
    with ExitStack() as running:

        def started(*settings: str) -> PostgresServer:
            return running.enter_context(PostgresServer(tmp_path, *settings, durable=True).ready())

        yield started


def found(url: str) -> dict[str, Finding]:
    """The findings by check, of which each says one thing; a password is in none."""
    findings = doctor.examine(url)
    assert SECRET not in repr(findings)
    by_check = {finding.check: finding for finding in findings}
    assert len(by_check) == len(findings)
    for finding in findings:
        assert bool(finding.advice) is (finding.level is not Level.OK), finding
    return by_check


def worse(url: str) -> dict[str, tuple[Level, str]]:
    """What is not well, by check."""
    return {check: (finding.level, finding.found) for check, finding in found(url).items() if finding.level is not Level.OK}


async def used(url: str) -> None:
    """A store was here."""
    store = PostgresStore(url)
    await store.open()
    await store.close()


def test_nothing_is_wrong_with_a_postgresql_as_it_comes(start: Start) -> None:
    url = start().url
    assert worse(url) == {}
    asyncio.run(used(url))
    assert worse(url) == {}
    assert f"version {max(MIGRATIONS)} of the data" in found(url)["schema"].found


def test_every_check_speaks_of_it_but_those_that_do_not_apply(start: Start) -> None:
    silent = {"rights to look", "pooler"}
    assert list(found(start().url)) == ["connection", *(name for name in doctor.CHECKS if name not in silent)]


def test_nothing_is_written_to_it(start: Start) -> None:
    server = start()
    found(server.url)
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'dolgo'") == "0"


@pytest.mark.parametrize(
    ("settings", "check", "level", "said"),
    [
        (["fsync=off"], "durability", Level.BAD, "destroys the database"),
        (["full_page_writes=off"], "durability", Level.WARN, "half written"),
        (["synchronous_commit=off"], "durability", Level.BAD, "the last half second"),
        (["autovacuum=off"], "vacuum", Level.BAD, "autovacuum is off"),
        (["max_connections=7"], "connections", Level.OK, "of 4 connections"),
        (["default_transaction_read_only=on"], "role", Level.BAD, "takes no writes"),
    ],
)
def test_a_setting_that_does_harm_is_told(start: Start, settings: list[str], check: str, level: Level, said: str) -> None:
    finding = found(start(*settings).url)[check]
    assert (finding.level, said in finding.found) == (level, True), finding


def test_what_a_user_lacks_is_told_as_what_an_administrator_does(start: Start) -> None:
    server = start()
    server.sql("CREATE ROLE weak LOGIN")
    weak = server.url.replace("dolgo@", "weak@")
    finding = found(weak)["schema"]
    assert (finding.level, finding.advice) == (Level.BAD, "CREATE SCHEMA dolgo AUTHORIZATION weak.")
    server.sql("CREATE SCHEMA dolgo")
    finding = found(weak)["schema"]
    assert (finding.level, finding.advice) == (Level.BAD, "ALTER SCHEMA dolgo OWNER TO weak.")
    server.sql("ALTER SCHEMA dolgo OWNER TO weak")
    assert worse(weak) == {}
    asyncio.run(used(weak))
    assert worse(weak) == {}


def test_data_of_others_and_of_a_newer_version_is_told(start: Start) -> None:
    server = start()
    server.sql("CREATE SCHEMA shop", "CREATE TABLE shop.orders (n integer)")
    assert "another program" in found(server.url + "?schema=shop")["schema"].found
    asyncio.run(used(server.url))
    server.sql("INSERT INTO dolgo.migration (number) VALUES (99)")
    assert found(server.url)["schema"].advice == "Upgrade dolgo on this machine."


def test_a_table_that_nobody_vacuums_is_told(start: Start) -> None:
    server = start()
    asyncio.run(used(server.url))
    server.sql("ALTER TABLE dolgo.task SET (autovacuum_enabled = false)")
    assert found(server.url)["vacuum"].found == "autovacuum is off for task"


def test_a_transaction_that_nobody_ends_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start()
    monkeypatch.setattr(doctor_kept, "OLD_TRANSACTION", 0.0)

    async def look() -> dict[str, Finding]:
        idle = await asyncpg.connect(server.url)
        await idle.execute("BEGIN; SELECT 1")
        try:
            return await asyncio.to_thread(found, server.url)
        finally:
            await idle.close()

    assert "idle in its transaction" in asyncio.run(look())["old transactions"].found


def test_a_synchronous_standby_that_is_not_there_is_told(start: Start) -> None:
    finding = found(start("synchronous_standby_names=other").url)["replicas"]
    assert (finding.level, "every commit waits" in finding.found) == (Level.BAD, True)


@pytest.mark.parametrize(
    ("change", "check", "level", "said"),
    [
        ({"settings": {"server_version": "13.9"}}, "server", Level.BAD, "PostgreSQL 13.9"),
        ({"settings": {"server_version": "17beta1"}}, "server", Level.OK, "PostgreSQL 17beta1"),
        ({"settings": {"server_encoding": "SQL_ASCII"}}, "server", Level.BAD, "SQL_ASCII"),
        ({"settings": {"synchronous_commit": "local", "synchronous_standby_names": "b"}}, "durability", Level.WARN, "local"),
        ({"facts": {"role": {"replica": True}}}, "role", Level.BAD, "replica"),
        ({"facts": {"standbys": {"count": 2, "synchronous": 1, "lag": 1.0}}}, "replicas", Level.OK, "1 of them synchronous"),
        ({"facts": {"standbys": {"count": 1, "synchronous": 0, "lag": None}}}, "replicas", Level.OK, "a failover loses"),
        ({"facts": {"standbys": {"count": 1, "synchronous": 0, "lag": 99.0}}}, "replicas", Level.WARN, "99 s behind"),
        ({"facts": {"slots": {"idle": 2}}}, "old transactions", Level.WARN, "2 replication slots"),
        ({"facts": {"prepared": {"count": 1}}}, "old transactions", Level.WARN, "prepared transactions"),
        ({"facts": {"age": {"transactions": 1_900_000_000}}}, "age", Level.BAD, "refuses writes"),
        ({"facts": {"sessions": {"used": 95, "oldest": 0.0, "idle": 0.0}}}, "connections", Level.WARN, "95 of 97"),
        ({"pooled": True}, "pooler", Level.WARN, "a pooler on the way"),
        ({"ahead": 60.0}, "clock", Level.WARN, "60.0 s ahead of"),
        ({"latency": 9.0}, "latency", Level.WARN, "9000.00 ms"),
        ({"refused": {"standbys": "no"}}, "rights to look", Level.WARN, "standbys: no"),
        ({"address": parse("postgresql://db.example/x")}, "network", Level.WARN, "without encryption"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(change: dict[str, Any], check: str, level: Level, said: str) -> None:
    verdict = judged(change, check)
    assert verdict is not None
    assert (verdict.level, said in verdict.found) == (level, True), verdict


def judged(change: dict[str, Any], check: str) -> Verdict | None:
    """What a check says of a good server with this change."""
    good = Look(
        address=parse("postgresql://127.0.0.1/x"),
        settings={
            "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "",
            "autovacuum": "on", "track_counts": "on", "max_connections": "100", "superuser_reserved_connections": "3",
            "server_encoding": "UTF8", "server_version": "15.1", "default_transaction_read_only": "off",
        },
        facts={
            "role": {"replica": False, "name": "app", "database": "x", "pid": 1}, "tls": {"ssl": False},
            "rights": {"there": True, "may_make": True, "may_use": True, "may_add": True},
            "sessions": {"used": 3, "oldest": 0.1, "idle": None}, "slots": {"idle": 0}, "prepared": {"count": 0},
            "standbys": {"count": 0, "synchronous": 0, "lag": None}, "age": {"transactions": 100},
        },
        tables={}, migration=1, pooled=False, ahead=0.0, latency=0.001, refused={},
    )  # fmt: skip
    merged = {name: {**getattr(good, name), **part} if name in ("settings", "facts") else part for name, part in change.items()}
    return doctor.CHECKS[check](replace(good, **merged))


def test_a_server_that_is_not_there_is_bad_and_all_there_is_to_say() -> None:
    (finding,) = doctor.examine(f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/x")
    assert (finding.check, finding.level) == ("connection", Level.BAD)
    assert "Connection refused" in finding.found
    assert SECRET not in repr(finding)


def test_a_database_that_is_not_there_is_told_how_to_make(start: Start) -> None:
    finding = found(start().url.replace("/postgres", "/tasks"))["connection"]
    assert finding.advice == "Make it: createdb tasks."


def test_a_user_who_is_not_let_in_is_told_where_that_is_said(start: Start) -> None:
    server = start()
    (server.data / "pg_hba.conf").write_text("host all dolgo all trust\nhost all app all scram-sha-256\n")
    server.sql("CREATE ROLE app LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()")
    at = f"127.0.0.1:{server.port}/postgres"
    assert "pg_hba.conf" in found(f"postgresql://other:{SECRET}@{at}")["connection"].advice
    assert "Give user and password" in found(f"postgresql://app:{SECRET}@{at}")["connection"].advice


def test_it_may_be_asked_from_a_thread(start: Start) -> None:
    url, answers = start().url, []
    thread = threading.Thread(target=lambda: answers.append(doctor.examine(url)))
    thread.start()
    thread.join(30)
    assert answers


def test_a_url_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(BadSetting):
        doctor.examine("postgresql://host/x?colour=red")


def test_the_checks_of_what_is_kept_are_among_all() -> None:
    assert set(KEPT) <= set(doctor.CHECKS)
