"""The first meeting with a server: one clear line for everything that cannot work."""

import asyncio
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dolgo.errors import StoreUnavailable, StoreUnusable
from dolgo.store.postgres import PostgresStore, opening
from dolgo.store.postgres.sql import MIGRATIONS
from tests.postgres_server import PostgresServer
from tests.redis_server import free_port
from tests.store.build import submit

pytestmark = pytest.mark.anyio

Opened = Callable[..., PostgresStore]


async def refusal(url: str) -> str:
    store = PostgresStore(url)
    try:
        with pytest.raises(StoreUnusable) as refused:
            await store.open()
    finally:
        await store.close()
    assert "\n" not in str(refused.value)
    return str(refused.value)


async def test_a_server_that_is_not_there_is_not_there_yet() -> None:
    store = PostgresStore(f"postgresql://user:S3CR3T@127.0.0.1:{free_port()}/x")
    with pytest.raises(StoreUnavailable, match="cannot be reached: Connection refused") as said:
        await store.open()
    assert "S3CR3T" not in str(said.value)
    await store.close()


async def test_a_name_that_nobody_has_is_not_there_yet() -> None:
    store = PostgresStore("postgresql://no-such-host.invalid/x")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.open()
    await store.close()


async def test_what_does_not_speak_postgresql_is_not_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = PostgresStore(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await store.open()
        await store.close()


async def test_a_password_that_is_wrong_or_missing_is_said_once_and_for_all(server: PostgresServer) -> None:
    server.sql("CREATE ROLE app LOGIN PASSWORD 'right'")
    server.sql("GRANT CREATE ON DATABASE postgres TO app")
    (server.data / "pg_hba.conf").write_text("host all dolgo all trust\nhost all all all scram-sha-256\n")
    server.sql("SELECT pg_reload_conf()")
    at = f"127.0.0.1:{server.port}/postgres"
    said = await refusal(f"postgresql://app:S3CR3T@{at}")
    assert "knows no such user with this password" in said
    assert "S3CR3T" not in said
    assert "password" in await refusal(f"postgresql://app@{at}")
    store = PostgresStore(f"postgresql://app:right@{at}")
    await store.open()
    await store.close()


async def test_a_user_who_is_not_let_in_is_sent_to_the_servers_rules(server: PostgresServer) -> None:
    (server.data / "pg_hba.conf").write_text("host all dolgo all trust\n")
    server.sql("SELECT pg_reload_conf()")
    assert "See its pg_hba.conf" in await refusal(f"postgresql://app@127.0.0.1:{server.port}/postgres")


async def test_a_database_that_is_not_there_is_told_how_to_make(server: PostgresServer) -> None:
    assert "it has no database tasks. Make it: createdb tasks" in await refusal(server.url.replace("/postgres", "/tasks"))


async def test_a_user_who_may_make_no_schema_is_told_what_an_administrator_does(server: PostgresServer, opened: Opened) -> None:
    server.sql("CREATE ROLE weak LOGIN")
    url = server.url.replace("dolgo@", "weak@")
    said = await refusal(url)
    statement = "CREATE SCHEMA IF NOT EXISTS dolgo AUTHORIZATION weak"
    assert statement in said
    server.sql(statement)
    await submit(await opened(url))


async def test_a_schema_of_somebody_else_is_refused_in_the_same_way(server: PostgresServer) -> None:
    server.sql("CREATE ROLE weak LOGIN", "CREATE SCHEMA dolgo")
    assert "may not keep tables in the schema dolgo" in await refusal(server.url.replace("dolgo@", "weak@"))


async def test_a_database_that_takes_no_writes_is_refused(server: PostgresServer) -> None:
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    assert "default_transaction_read_only is on" in await refusal(server.url)


async def test_a_replica_is_refused(server: PostgresServer) -> None:
    (server.data / "standby.signal").touch()
    server.crash()
    server.start()
    deadline = asyncio.get_running_loop().time() + 20
    while "ready to accept read-only connections" not in server.said():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    assert "it is a replica, which takes no writes. Name its primary" in await refusal(server.url)


async def test_a_database_of_another_encoding_is_refused(server: PostgresServer) -> None:
    server.sql("CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "its encoding is LATIN1, and dolgo needs UTF8" in await refusal(server.url.replace("/postgres", "/old"))


async def test_a_schema_with_tables_of_another_program_is_left_alone(server: PostgresServer) -> None:
    server.sql("CREATE SCHEMA shop", "CREATE TABLE shop.orders (n integer)")
    assert "holds tables of another program" in await refusal(server.url + "?schema=shop")
    assert server.sql("SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'shop'") == "1"


async def test_data_of_a_newer_version_is_left_alone(server: PostgresServer, opened: Opened) -> None:
    await opened()
    server.sql("INSERT INTO dolgo.migration (number) VALUES (99)")
    assert "its data is of a newer version (99" in await refusal(server.url)


async def test_processes_that_start_at_once_migrate_once(server: PostgresServer, opened: Opened) -> None:
    stores = await asyncio.gather(*(opened() for _ in range(5)))
    assert server.sql("SELECT count(*) FROM dolgo.migration") == str(len(MIGRATIONS))
    await asyncio.gather(*(submit(store) for store in stores))
    assert await stores[0].head() == 5


async def test_a_migration_that_fails_leaves_nothing_behind(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MIGRATIONS", {1: "CREATE TABLE meta (seq bigint); SELECT 1 / 0"})
    assert "division by zero" in await refusal(server.url)
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'dolgo'") == "0"


async def test_two_deployments_may_share_a_database(opened: Opened, server: PostgresServer) -> None:
    one, two = await opened(server.url), await opened(server.url + "?schema=other")
    heard = two.log.count
    await submit(one)
    assert (await one.head(), await two.head()) == (1, 0)
    assert not await two.log.wait(heard, 0.3)


async def test_a_server_without_tls_is_not_spoken_to_if_it_must_be_encrypted(server: PostgresServer) -> None:
    assert "it does not speak TLS" in await refusal(server.url + "?sslmode=require")


async def test_files_for_tls_that_are_not_there_are_named(server: PostgresServer) -> None:
    assert "/no/such.pem" in await refusal(server.url + "?sslmode=verify-full&sslrootcert=/no/such.pem")


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_named_is_taken(
    tmp_path: Path, server: PostgresServer
) -> None:
    key, certificate = str(server.data / "server.key"), str(tmp_path / "cert.pem")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    subprocess.run(["cp", certificate, str(server.data / "server.crt")], check=True)
    subprocess.run(["chown", "--reference", str(server.data / "PG_VERSION"), key, str(server.data / "server.crt")], check=True)
    server.sql("ALTER SYSTEM SET ssl = on")
    server.sql("SELECT pg_reload_conf()")
    named = server.url.replace("127.0.0.1", "localhost")
    other = tmp_path / "other.pem"
    subprocess.run([*made[:-3], str(tmp_path / "other.key"), "-out", str(other), *subject], check=True, capture_output=True)
    assert "Name who signed it" in await refusal(f"{named}?sslmode=verify-full&sslrootcert={other}")
    store = PostgresStore(f"{named}?sslmode=verify-full&sslrootcert={certificate}")
    await store.open()
    assert await store.head() == 0
    await store.close()
