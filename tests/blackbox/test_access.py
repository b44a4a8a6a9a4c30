"""Who may come in, seen by real servers: a start beyond this machine, a token that is revoked, and secrets that stay secret."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

from dolgo.api.app import ROUTES
from tests.blackbox.client import until
from tests.blackbox.server import DOLGO, Child, Process, Server, Worker
from tests.missing import need
from tests.postgres_server import PostgresServer, need_postgres
from tests.redis_server import DURABLE, RedisServer

REFUSED_WITHIN = 5.0  # seconds, as promised
LATE = 3.0  # seconds that a busy machine may add
ALONE = ("--slots", "0", "--drain-timeout", "0")
EVERYWHERE = ("--host", "0.0.0.0", *ALONE)
ADMIN = "admin-" + secrets.token_hex(20)

Begin = Callable[..., Server]


@pytest.fixture
def begin(tmp_path: Path, processes: list[Process]) -> Begin:
    """`begin("--slots", "0", DOLGO_STORE=url)` is a ready server of this test."""

    def start(*options: str, **environ: str) -> Server:
        server = Server(tmp_path, *options, name=f"serve-{len(processes)}", environ=environ)
        processes.append(server)
        return server.ready()

    return start


def dolgo(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command that has come to its end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DOLGO_")}
    return subprocess.run(
        [DOLGO, *arguments], cwd=folder, env=ours | environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def create(folder: Path, name: str, scope: str = "admin", **environ: str) -> str:
    """A new token."""
    ran = dolgo(folder, "token", "create", name, "--scope", scope, **environ)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def ask(url: str, token: str | None = None, path: str = "/queues", method: str = "GET") -> httpx.Response:
    """The answer to one request."""
    return httpx.request(method, url + path, headers={} if token is None else {"Authorization": f"Bearer {token}"}, timeout=20)


def statuses(server: Server, *tokens: str | None) -> list[int]:
    """How a server answers each token."""
    return [ask(server.url.replace("0.0.0.0", "127.0.0.1"), token).status_code for token in tokens]


# -- the start


def test_with_a_token_in_the_store_a_server_listens_beyond_this_machine(tmp_path: Path, begin: Begin) -> None:
    token = create(tmp_path, "web")
    assert statuses(begin(*EVERYWHERE), token, None, ADMIN) == [200, 401, 401]


def test_a_token_that_was_revoked_is_none_to_start_with(tmp_path: Path) -> None:
    create(tmp_path, "web")
    dolgo(tmp_path, "token", "revoke", "web")
    ran = dolgo(tmp_path, "serve", "--port", "0", *EVERYWHERE)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "dolgo token create" in ran.stderr


def test_insecure_lets_everybody_in_until_there_is_a_token(tmp_path: Path, begin: Begin) -> None:
    server = begin(*EVERYWHERE, "--insecure")
    assert statuses(server, None) == [200]
    create(tmp_path, "web")
    until(lambda: statuses(server, None) == [401], REFUSED_WITHIN + LATE, "the first token closes the door")


@pytest.mark.parametrize("options", [EVERYWHERE, ALONE], ids=["everywhere", "loopback"])
def test_the_admin_token_of_the_environment_opens_and_closes_the_door(begin: Begin, options: tuple[str, ...]) -> None:
    server = begin(*options, DOLGO_ADMIN_TOKEN=ADMIN)
    assert statuses(server, ADMIN, None, ADMIN + "x", ADMIN[:-1]) == [200, 401, 401, 401]


def test_the_admin_token_may_be_in_a_file(tmp_path: Path, begin: Begin) -> None:
    (tmp_path / "secret").write_text(ADMIN + "\n")
    server = begin(*EVERYWHERE, DOLGO_ADMIN_TOKEN_FILE="secret")
    assert statuses(server, ADMIN, None) == [200, 401]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"DOLGO_ADMIN_TOKEN": "hunter2"}, "at least 32 characters"),
        ({"DOLGO_ADMIN_TOKEN_FILE": "short"}, "at least 32 characters"),
        ({"DOLGO_ADMIN_TOKEN_FILE": "nowhere"}, "DOLGO_ADMIN_TOKEN_FILE names cannot be read: No such file"),
        ({"DOLGO_ADMIN_TOKEN_FILE": "binary"}, "it is no text"),
    ],
)
def test_an_admin_token_that_cannot_be_stops_the_start_unseen(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    (tmp_path / "short").write_text("hunter2")
    (tmp_path / "binary").write_bytes(b"hunter2\xff" * 10)
    ran = dolgo(tmp_path, "serve", "--port", "0", **environ)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert said in ran.stderr
    assert "hunter2" not in ran.stderr


def test_a_secret_has_no_flag(tmp_path: Path) -> None:
    ran = dolgo(tmp_path, "serve", "--admin-token", ADMIN)
    assert ran.returncode == 2
    assert ADMIN not in ran.stdout + ran.stderr


@pytest.mark.parametrize(("option", "status"), [((), 401), (("--insecure",), 200)], ids=["guarded", "insecure"])
def test_the_metrics_of_a_worker_are_not_for_strangers(
    tmp_path: Path, processes: list[Process], option: tuple[str, ...], status: int
) -> None:
    worker = Worker(tmp_path, "--slots", "1", "--health-port", "0", "--health-host", "0.0.0.0", *option)
    processes.append(worker)
    health = worker.ready().said().split("health on ")[1].split()[0].replace("0.0.0.0", "127.0.0.1")
    assert [ask(health, None, path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, status]
    token = create(tmp_path, "prometheus", "metrics")
    assert ask(health, token, "/metrics").status_code == 200


# -- a token is revoked


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
def test_what_is_revoked_is_refused_by_every_server_within_five_seconds(
    tmp_path: Path, begin: Begin, processes: list[Process], kind: str
) -> None:
    environ = {}
    if kind == "redis":
        need("redis-server")
        redis = RedisServer(tmp_path)
        processes.append(redis)
        environ = {"DOLGO_STORE": redis.ready().url}
    if kind == "postgres":
        need_postgres()
        postgres = PostgresServer(tmp_path)
        processes.append(postgres)
        environ = {"DOLGO_STORE": postgres.ready().url}
    first, second = (create(tmp_path, name, "read", **environ) for name in ("first", "second"))
    servers = [begin(*ALONE, **environ) for _ in range(2)]
    assert [statuses(server, first, second, None) for server in servers] == [[200, 200, 401]] * 2
    assert dolgo(tmp_path, "token", "revoke", "first", **environ).returncode == 0
    until(  # asked all the time: what is in use must not stay good
        lambda: [statuses(server, first, second) for server in servers] == [[401, 200]] * 2,
        REFUSED_WITHIN + LATE,
        "refused everywhere",
    )
    third = create(tmp_path, "third", "read", **environ)
    assert [statuses(server, third) for server in servers] == [[200]] * 2, "a new one is good at once"


# -- secrets stay secret


def answers(url: str, tokens: Mapping[str, str]) -> list[httpx.Response]:
    """Every address, asked with each token, and requests that are wrong in ways of their own."""
    found = []
    with httpx.Client(base_url=url, timeout=20) as http:
        for token in tokens.values():
            bearer = {"Authorization": f"Bearer {token}"}
            for route in ROUTES:
                found.append(http.request(route.method, route.path.replace("{", "").replace("}", ""), headers=bearer))
            found.append(http.get("/tasks", params={"cursor": token}, headers=bearer))
            found.append(http.get(f"/tasks/{token}", headers=bearer))
            found.append(http.post("/tasks", content=b"{", headers={"Authorization": f"Basic {token}"}))
    return found


def test_secrets_are_neither_logged_nor_answered_nor_stored_nor_in_arguments(tmp_path: Path, processes: list[Process]) -> None:
    need("redis-server")
    planted = {name: f"planted{name}{secrets.token_hex(16)}" for name in ("password", "key", "wrong")}
    redis = RedisServer(tmp_path, *DURABLE, "--requirepass", planted["password"])
    processes.append(redis)
    url = f"redis://:{planted['password']}@127.0.0.1:{redis.ready().port}/0"
    environ = {"DOLGO_STORE": url, "DOLGO_ADMIN_TOKEN": ADMIN, "DOLGO_JWT_KEY": planted["key"], "DOLGO_LOG_FORMAT": "json"}
    token = create(tmp_path, "web", **environ)
    server = Server(tmp_path, "--slots", "1", "--drain-timeout", "0", environ=environ)
    worker = Worker(tmp_path, "--slots", "1", "--drain-timeout", "0", "--health-port", "0", environ=environ)
    processes += [server, worker]
    server.ready()
    worker.ready()
    sent = {"token": token, "admin": ADMIN, "wrong": f"{token[:18]}_{planted['wrong']}", "jwt": f"a.{planted['wrong']}.c"}
    hidden = {**planted, "admin": ADMIN, "secret": token.split("_")[2]}
    body = {"type": "long_task", "payload": {"seconds": 0}}
    bearer = {"Authorization": f"Bearer {token}"}
    done = httpx.post(f"{server.url}/tasks?wait=20", json=body, headers=bearer, timeout=30)
    assert done.status_code in (200, 202), done.text
    shown = answers(server.url, sent)
    assert {one.status_code for one in shown} >= {200, 401, 404}
    seen = {f"{place}: {one.request.method} {one.status_code}": _without_request(one) for place, one in enumerate(shown)}
    arguments = {f"cmdline of {one.pid}": _cmdline(one.pid) for one in _family(server, worker)}
    for command in ("config", "config --json", "token list", "token list --json", "doctor", "list", "workers", "queue list"):
        ran = dolgo(tmp_path, *command.split(), DOLGO_URL=server.url, DOLGO_TOKEN=token, **environ)
        seen[command] = ran.stdout + ran.stderr
    health = worker.said().split("health on ")[1].split()[0].rstrip('"}')
    redis.kill()
    redis.wait()
    for where, base in (("server", server.url), ("worker", health)):
        late = until(lambda base=base: (a := ask(base, None, "/healthz")).status_code == 503 and a, 30, f"{where} is not ready")
        seen[f"{where} without its store"] = late.text
        assert "redis://" not in late.text, "anybody may ask for it"
    seen["a request without the store"] = until(
        lambda: (a := ask(server.url, token)).status_code == 503 and a, 30, "the store is missed"
    ).text
    seen["commands without the store"] = dolgo(tmp_path, "token", "list", **environ).stderr
    server.close()
    worker.close()
    seen |= {f"log of {one.argv[1]}": one.said() for one in (server, worker)} | arguments
    seen |= {path.name: path.read_bytes().decode("latin-1") for path in (tmp_path / "appendonlydir").iterdir()}
    assert len(arguments) >= 4, "two services and their children"
    for where, text in seen.items():
        leaked = {name for name, secret in hidden.items() if secret in text}
        assert not leaked, f"{where} shows {leaked}: {text[:2000]}"
    assert token[6:18] in seen["log of serve"], "the audit log names the token by its id"


def _without_request(answer: httpx.Response) -> str:
    """Body and headers, but not the address that was asked for: it may be said again."""
    return f"{answer.headers} {answer.text}".replace(str(answer.request.url.path).rpartition("/")[2], "")


def _family(*processes: Process) -> list[Process | Child]:
    return [one for process in processes for one in (process, *process.children())]


def _cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
