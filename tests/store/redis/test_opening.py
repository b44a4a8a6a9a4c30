"""The first meeting with a server: one clear line for everything that cannot work."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from dolgo.errors import StoreUnavailable, StoreUnusable
from dolgo.store.redis import RedisStore
from dolgo.store.redis.library import library
from tests.redis_server import RedisServer, free_port

pytestmark = pytest.mark.anyio


async def refusal(url: str) -> str:
    store = RedisStore(url)
    try:
        with pytest.raises(StoreUnusable) as refused:
            await store.open()
    finally:
        await store.close()
    return str(refused.value)


async def test_a_server_that_is_not_there_is_not_there_yet() -> None:
    store = RedisStore(f"redis://user:S3CR3T@127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match="cannot be reached: Connection refused") as said:
        await store.open()
    assert "S3CR3T" not in str(said.value)
    await store.close()


async def test_a_name_that_nobody_has_is_not_there_yet() -> None:
    store = RedisStore("redis://no-such-host.invalid")
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.open()
    await store.close()


async def test_what_does_not_speak_redis_is_not_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreUnavailable, match="no answer within"):
            await store.open()
        await store.close()


async def test_a_user_who_may_not_listen_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with RedisServer(tmp_path).ready() as server, redis.Redis(port=server.port) as admin:
        admin.acl_setuser("deaf", enabled=True, passwords=["+p"], keys=["{dolgo}:*"], categories=["+@all"], reset_channels=True)
        assert "may not do what dolgo needs" in await refusal(f"redis://deaf:p@127.0.0.1:{server.port}")
        assert admin.keys() == []


async def test_a_password_that_is_wrong_or_missing_is_said_once_and_for_all(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "right").ready() as server:
        at = f"127.0.0.1:{server.port}"
        said = await refusal(f"redis://:S3CR3T@{at}")
        assert "Correct them in the URL" in said
        assert "S3CR3T" not in said
        assert "Put it into the URL" in await refusal(f"redis://{at}")
        store = RedisStore(f"redis://:right@{at}")
        await store.open()
        await store.close()


async def test_a_password_that_nobody_asked_for_is_said(server: RedisServer) -> None:
    assert "no such user with this password" in await refusal(f"redis://:S3CR3T@127.0.0.1:{server.port}")


async def test_a_user_who_may_not_do_enough_is_sent_to_the_doctor(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as admin:
        admin.acl_setuser("weak", enabled=True, passwords=["+pw"], commands=["+@connection", "+info"], keys=["*"])
    assert "`dolgo doctor` tells" in await refusal(f"redis://weak:pw@127.0.0.1:{server.port}")


async def test_a_replica_is_refused_and_names_its_master(tmp_path: Path, server: RedisServer) -> None:
    with RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(server.port), name="replica").ready() as replica:
        assert f"it is a replica. Name its master, 127.0.0.1:{server.port}" in await refusal(replica.url)


async def test_a_memory_that_throws_tasks_away_is_warned_of(
    server: RedisServer, opened: Callable[..., RedisStore], caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(port=server.port) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
    await opened()
    assert "may throw tasks away when its memory is full: its maxmemory-policy is allkeys-lru" in caplog.text


async def test_libraries_of_other_versions_make_room(server: RedisServer, opened: Callable[..., RedisStore]) -> None:
    with redis.Redis(port=server.port) as admin:
        for name in ("dolgo_0000beef", "another"):
            admin.function_load(f"#!lua name={name}\nredis.register_function('{name}', function() return 1 end)")
        await opened()
        names = {dict(zip(entry[::2], entry[1::2], strict=True))[b"library_name"] for entry in admin.function_list()}
    assert names == {library().name.encode(), b"another"}


async def test_data_of_a_newer_version_is_left_alone(server: RedisServer, opened: Callable[..., RedisStore]) -> None:
    await opened()
    with redis.Redis(port=server.port) as admin:
        assert admin.hget("{dolgo}:meta", "version") == b"1"
        admin.hset("{dolgo}:meta", "version", 2)
    assert "Upgrade dolgo" in await refusal(server.url)


async def test_files_for_tls_that_are_not_there_are_named() -> None:
    assert "No such file" in await refusal("rediss://127.0.0.1?ssl_ca_certs=/no/such.pem")


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_that_is_named_is_taken(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        files[0],
        "-out",
        files[1],
        *subject,
    ]
    subprocess.run(made, check=True, capture_output=True)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-key-file", files[0], "--tls-cert-file", files[1], "--tls-auth-clients", "no"]
    with RedisServer(tmp_path, *options, "--tls-ca-cert-file", files[1]).ready():
        assert "Name who signed it" in await refusal(f"rediss://localhost:{port}")
        store = RedisStore(f"rediss://localhost:{port}?ssl_ca_certs={files[1]}")
        await store.open()
        assert await store.head() == 0
        await store.close()
