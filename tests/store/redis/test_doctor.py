"""What is found in a Redis, each fault made in a real server."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from dolgo.errors import BadSetting
from dolgo.store import disk
from dolgo.store.findings import Finding, Level, Verdict
from dolgo.store.redis import doctor
from dolgo.store.redis.doctor_kept import KEPT
from dolgo.store.redis.doctor_look import Look, look
from dolgo.store.redis.url import parse
from tests.blackbox.server import Process
from tests.missing import need
from tests.redis_server import DURABLE, RedisServer, free_port

GOOD = (*DURABLE, "--maxmemory", "200mb")
SECRET = "hush-hush"
RIGHTS = ("~{dolgo}*", "&{dolgo}*", "+@read", "+@write", "+@pubsub", "+@connection", "+@scripting", "+time")
SOON = 20.0  # seconds
Start = Callable[..., RedisServer]


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this runs on, it is fast enough and has room."""
    monkeypatch.setattr(doctor, "SLOW_PING", 5.0)
    monkeypatch.setattr(disk, "LEAST", 0)
    monkeypatch.setattr(disk, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(disk, "read_mounts", list)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Redis with these options."""
    need("redis-server")
    with ExitStack() as running:

        def started(*options: str) -> RedisServer:
            folder = tmp_path / f"redis-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return running.enter_context(RedisServer(folder, *options).ready())

        yield started


@pytest.fixture
def client(start: Start) -> Iterator[redis.Redis]:
    """A client of a good Redis."""
    with redis.Redis(port=start(*GOOD).port, decode_responses=True) as client:
        yield client


def url_of(client: redis.Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


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


def until(true: Callable[[], Any], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_nothing_is_wrong_with_a_durable_redis_of_bounded_memory(client: redis.Redis) -> None:
    assert worse(url_of(client)) == {}


def test_every_check_speaks_of_it_but_those_that_do_not_apply(client: redis.Redis) -> None:
    silent = {"rights to look", "cluster"}
    assert list(found(url_of(client))) == ["connection", *(name for name in doctor.CHECKS if name not in silent)]


def test_nothing_is_written_to_it(client: redis.Redis) -> None:
    before = client.info()["master_repl_offset"], client.info()["rdb_changes_since_last_save"]
    found(url_of(client))
    assert (client.info()["master_repl_offset"], client.info()["rdb_changes_since_last_save"]) == before
    assert client.dbsize() == 0
    assert client.function_list() == []


@pytest.mark.parametrize(
    ("options", "check", "level", "said"),
    [
        (["--appendonly", "no"], "durability", Level.BAD, "neither append-only file nor snapshots"),
        (["--appendonly", "no", "--save", "3600 1"], "durability", Level.BAD, "since the last snapshot is lost"),
        (["--appendfsync", "no"], "durability", Level.BAD, "appendfsync no"),
        (["--appendfsync", "everysec"], "durability", Level.WARN, "the last second"),
        (["--no-appendfsync-on-rewrite", "yes"], "durability", Level.WARN, "not while the file is rewritten"),
        (["--maxmemory-policy", "allkeys-lru"], "eviction", Level.BAD, "allkeys-lru throws tasks away"),
        (["--maxmemory-policy", "volatile-ttl"], "eviction", Level.BAD, "volatile-ttl throws tasks away"),
        (["--maxmemory", "0"], "memory", Level.WARN, "no maxmemory"),
        (["--maxmemory", "100kb"], "memory", Level.BAD, "refuses writes"),
        (["--maxmemory", "900000gb"], "memory", Level.WARN, "more than"),
        (["--min-replicas-to-write", "1"], "replicas", Level.BAD, "0 replicas follow, and 1 must"),
        (["--timeout", "10"], "connections", Level.WARN, "silent for 10 s"),
        (["--client-output-buffer-limit", "pubsub 100kb 50kb 60"], "news", Level.WARN, "50.0 KiB"),
        (["--rename-command", "CONFIG", ""], "rights to look", Level.WARN, "CONFIG GET: unknown command"),
        (["--rename-command", "FCALL", ""], "rights", Level.BAD, "FCALL"),
    ],
)
def test_a_setting_that_loses_tasks_or_cannot_work_is_named(
    start: Start, options: list[str], check: str, level: Level, said: str
) -> None:
    finding = found(start(*GOOD, *options).url)[check]
    assert (finding.level, said in finding.found) == (level, True), finding


def test_what_was_evicted_is_said_when_the_policy_is_set_right(client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-random")
    client.set("big", "x" * 1_000_000)
    client.config_set("maxmemory", 1_000_000)
    client.get("big")  # evicts
    until(lambda: client.info()["evicted_keys"], "something is evicted")
    client.config_set("maxmemory", 200_000_000)
    client.config_set("maxmemory-policy", "noeviction")
    assert worse(url_of(client)) == {"eviction": (Level.WARN, "noeviction; 1 keys were evicted since its start")}


def test_a_snapshot_that_fails_is_bad_where_it_stops_writes(start: Start, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    server = start("--save", "3600 1", "--dir", str(gone))
    with redis.Redis(port=server.port, decode_responses=True) as other:
        gone.rmdir()
        other.bgsave()
        until(lambda: other.info()["rdb_last_bgsave_status"] == "err", "the snapshot fails")
        assert found(server.url)["disk writes"].level is Level.BAD
        other.config_set("stop-writes-on-bgsave-error", "no")
        assert found(server.url)["disk writes"].level is Level.WARN
    server.kill(signal.SIGKILL)  # it would not end without its snapshot


def test_a_replica_is_bad_and_its_master_is_named(start: Start) -> None:
    master = start(*GOOD)
    replica = start(*GOOD, "--replicaof", "127.0.0.1", str(master.port))
    with redis.Redis(port=replica.port, decode_responses=True) as client:
        until(lambda: client.info()["master_link_status"] == "up", "the replica follows")
    finding = found(replica.url)["role"]
    assert (finding.level, finding.advice) == (Level.BAD, f"Name 127.0.0.1:{master.port} in --store.")
    finding = found(master.url)["replicas"]
    assert finding.level is Level.WARN
    assert "a failover loses the newest tasks" in finding.found
    with redis.Redis(port=master.port) as client:
        client.config_set("min-replicas-to-write", 1)
    assert found(master.url)["replicas"].level is Level.OK


def test_a_cluster_has_to_answer_for_the_slot_and_a_node_to_have_it(start: Start) -> None:
    server, other = (start(*GOOD, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in range(2))
    finding = found(server.url)["cluster"]
    assert (finding.level, "does not answer for the keys {dolgo}:…" in finding.found) == (Level.BAD, True), finding
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: found(server.url)["cluster"].level is Level.OK, "it has the slot")
        assert worse(server.url) == {}
        bus = other.argv[other.argv.index("--cluster-port") + 1]
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
    until(lambda: "goes there" in found(other.url)["cluster"].found, "the other knows who has it")
    assert worse(other.url) == {}
    with redis.Redis(port=server.port) as client:
        client.config_set("appendfsync", "no")
    assert list(worse(other.url)) == ["durability"]  # it is the one with the keys that is looked at


def test_a_password_that_is_missing_or_wrong_is_said_and_never_shown(start: Start) -> None:
    server = start(*GOOD, "--requirepass", SECRET)
    for credentials in ("", ":wrong@", "somebody:wrong@"):
        findings = found(server.url.replace("://", f"://{credentials}"))
        assert list(findings) == ["connection"]
        assert findings["connection"].level is Level.BAD
        assert "USER:PASSWORD" in findings["connection"].advice
        assert "wrong" not in repr(findings)
    assert worse(server.url.replace("://", f"://:{SECRET}@")) == {}


def test_a_user_with_few_rights_is_told_which_are_missing(start: Start) -> None:
    server = start(*GOOD)
    user = server.url.replace("://", f"://app:{SECRET}@")
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", *RIGHTS)
        findings = worse(user)
        assert list(findings) == ["rights to look"]
        assert "INFO: this user has no permissions" in findings["rights to look"][1]
        client.execute_command("ACL", "SETUSER", "app", "+info", "+config|get")
        assert worse(user) == {}
        client.execute_command("ACL", "SETUSER", "app", "-fcall", "-function", "-ssubscribe")
        level, said = worse(user)["rights"]
        assert (level, "FUNCTION LOAD, FCALL, SSUBSCRIBE on {dolgo}:doctor" in said) == (Level.BAD, True), said
        client.execute_command("ACL", "SETUSER", "app", "+@scripting", "+@pubsub")
        assert "30 more on {other}:doctor" in worse(user + "?prefix=other")["rights"][1]


def test_one_that_does_not_answer_is_one_finding(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    finding = found(f"redis://app:{SECRET}@127.0.0.1:{free_port()}/0")["connection"]
    assert (finding.level, "refused" in finding.found) == (Level.BAD, True), finding
    server = start(*GOOD)
    assert "out of range" in found(f"redis://127.0.0.1:{server.port}/99")["connection"].found
    server.kill(signal.SIGSTOP)
    assert list(found(server.url)) == ["connection"]
    server.kill(signal.SIGCONT)
    assert worse(server.url) == {}


def test_one_that_still_reads_its_data_is_asked_again_later(start: Start) -> None:
    server = start(*GOOD)
    with redis.Redis(port=server.port) as client:
        client.mset({f"key{number}": "x" * 2000 for number in range(1000)})
        client.bgrewriteaof()
        until(lambda: not client.info()["aof_rewrite_in_progress"], "the file is rewritten")
    server.kill(signal.SIGTERM)
    server.wait()
    server.argv += ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
    server.start()
    until(lambda: "refused" not in found(server.url)["connection"].found, "it listens")
    finding = found(server.url)["connection"]
    assert (finding.level, "loading" in finding.found.lower()) == (Level.BAD, True), finding
    server.kill(signal.SIGKILL)


def test_encryption_is_spoken_and_its_certificate_checked(start: Start, tmp_path: Path) -> None:
    need("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout {key} -out {certificate}"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make.split(), *subject], check=True, capture_output=True, timeout=20)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    start(*GOOD, "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    assert worse(f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}") == {}
    assert worse(f"rediss://localhost:{port}/0?ssl_cert_reqs=none") == {}
    finding = found(f"rediss://localhost:{port}/0")["connection"]
    assert ("certificate verify failed" in finding.found, "ssl_ca_certs" in finding.advice) == (True, True), finding


@pytest.mark.parametrize("place", ["host:port/0", "host/name", "host/0?colour=red", "host/0?ssl_cert_reqs=none", "[::1/0"])
def test_a_url_that_cannot_be_used_is_refused_and_its_password_not_shown(place: str) -> None:
    with pytest.raises(BadSetting) as refused:
        doctor.examine(f"redis://app:{SECRET}@{place}")
    assert SECRET not in str(refused.value)


def test_a_sentinel_is_told_apart_and_nothing_else_is_said_of_it(tmp_path: Path) -> None:
    need("redis-server")
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nbind 127.0.0.1\n")
    argv = ["redis-server", "sentinel.conf", "--sentinel"]
    with Process(argv, tmp_path, ready="Sentinel ID is", name="sentinel").ready():
        until(lambda: "server" in found(f"redis://127.0.0.1:{port}/0"), "it listens")
        findings = found(f"redis://127.0.0.1:{port}/0")
    assert list(findings) == ["connection", "server"]
    assert (findings["server"].level, "Sentinel" in findings["server"].found) == (Level.BAD, True)


def test_what_answers_and_is_no_redis_is_said() -> None:
    def answer() -> None:
        with listener.accept()[0] as other:
            other.recv(1000)
            other.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer)
        server.start()
        finding = found(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")["connection"]
        server.join(SOON)
    assert "is no Redis" in finding.advice


def test_a_certificate_that_cannot_be_is_one_finding() -> None:
    assert list(found(f"rediss://app:{SECRET}@127.0.0.1/0?ssl_ca_certs=/no/such/file")) == ["connection"]


def seen(client: redis.Redis, url: str = "", host: str = "127.0.0.1", **changes: Any) -> Look:
    """What the checks look at, with what cannot be made here."""
    there = look(client, parse(url or url_of(client)), (host, 6379))
    return replace(there, info={**there.info, **changes.pop("info", {})}, **changes)


def level(verdict: Verdict | None) -> Level | None:
    return verdict.level if verdict else None


@pytest.mark.parametrize(
    ("info", "check", "wanted", "said"),
    [
        ({"redis_version": "6.2.14"}, "server", Level.BAD, "redis 6.2.14 has no functions"),
        ({"redis_version": "10.0.1"}, "server", Level.OK, "redis 10.0.1"),
        ({"server_name": "valkey", "valkey_version": "8.1.0"}, "server", Level.OK, "valkey 8.1.0"),
        ({"dragonfly_version": "df-1"}, "server", Level.WARN, "Dragonfly"),
        ({"aof_last_write_status": "err"}, "disk writes", Level.BAD, "refuses writes"),
        ({"aof_last_bgrewrite_status": "err"}, "disk writes", Level.WARN, "it grows"),
        ({"connected_slaves": 1, "slave0": {"lag": 90}}, "replicas", Level.WARN, "90 s behind"),
        ({"connected_clients": 9_500, "maxclients": 10_000}, "connections", Level.WARN, "9500 of 10000"),
        ({"used_memory": 190_000_000}, "memory", Level.WARN, "used, maxmemory"),
    ],
)
def test_what_a_server_says_of_itself_is_judged(
    client: redis.Redis, info: dict[str, Any], check: str, wanted: Level, said: str
) -> None:
    verdict = doctor.CHECKS[check](seen(client, info=info))
    assert verdict is not None
    assert (verdict.level, said in verdict.found) == (wanted, True), verdict


def test_a_full_disk_of_a_redis_on_this_machine_is_said(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "TOO_LITTLE", 1 << 60)
    level, said = worse(url_of(client))["disk"]
    assert level is Level.BAD
    assert said.startswith(f"{client.config_get('dir')['dir']}: ")
    elsewhere = seen(client, host="10.0.0.7")
    assert doctor.CHECKS["disk"](elsewhere) is None


def test_a_way_over_the_network_wants_encryption_and_a_password(client: redis.Redis) -> None:
    network = doctor.CHECKS["network"]
    assert level(network(seen(client, "redis://10.0.0.7", "10.0.0.7"))) is Level.WARN
    assert level(network(seen(client, "rediss://redis.example", "redis.example"))) is Level.WARN
    assert level(network(seen(client, "redis://:word@redis.example", "redis.example"))) is Level.WARN
    assert level(network(seen(client, "rediss://me:word@10.0.0.7", "10.0.0.7"))) is Level.OK


def test_a_clock_that_differs_is_said(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time() - 3600
    monkeypatch.setattr("time.time", lambda: now)
    assert worse(url_of(client))["clock"][1].startswith("its clock is 360")


def test_a_slow_way_there_is_said(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SLOW_PING", 0.0)
    assert list(worse(url_of(client))) == ["latency"]


def test_without_a_word_of_info_nothing_is_guessed(client: redis.Redis) -> None:
    blind = replace(seen(client), info={}, config={})
    assert {name: check(blind) for name, check in KEPT.items()} == dict.fromkeys(KEPT)
