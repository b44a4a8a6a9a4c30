"""Secrets planted where the settings, a caller and a receiver have theirs: none comes out again where it has no business."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.blackbox.client import until
from tests.blackbox.server import DOLGO, Process, Server

NOWHERE = "127.0.0.1:9"  # where nobody answers
SHOWN_PAGES = (
    "/metrics",
    "/events",
    "/audit",
    "/workers",
    "/queues",
    "/types",
    "/openapi.json",
    "/docs",
    "/healthz",
    "/schedules",
)
COMMANDS = ("config", "config --json", "doctor", "doctor --json", "token list", "list --json")


def dolgo(folder: Path, command: str, **environ: str) -> str:
    """What a command says, on both streams."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DOLGO_")} | environ
    ran = subprocess.run([DOLGO, *command.split()], cwd=folder, env=ours, capture_output=True, text=True, timeout=60)
    return ran.stdout + ran.stderr


class Planted:
    """Secrets by what they are of."""

    def __init__(self) -> None:
        self.hidden: dict[str, str] = {}

    def __getitem__(self, of: str) -> str:
        return self.hidden.setdefault(of, f"planted{of}{secrets.token_hex(16)}")


TELLS_ALL = """
import os
from dolgo import task

@task
def tell_all() -> dict[str, str]:
    names = "DOLGO_ADMIN_TOKEN", "DOLGO_JWT_KEY", "DOLGO_CALLBACK_ALLOW"
    return {name: os.environ.get(name, "") for name in names}
"""


def submits(planted: Planted) -> list[tuple[str, str, object]]:
    """Requests with credentials in addresses: where they are refused, and where they are not."""
    refused = f"https://user:{planted['callback']}@receiver.example/hook"
    taken = f"http://{NOWHERE}/{planted['path']}?signature={planted['query']}"
    task = {"type": "long_task", "payload": {"seconds": 0}}
    return [
        ("POST", "/tasks", {**task, "callback": refused}),
        ("POST", "/tasks/batch", {"tasks": [{**task, "callback": {"url": refused, "on": ["done"]}}]}),
        ("PUT", "/schedules/nightly", {"type": "long_task", "every": 3600, "options": {"callback": refused}}),
        ("POST", "/tasks", {**task, "callback": taken}),
        ("POST", "/tasks?wait=20", {"type": "http_request", "payload": {"url": f"http://user:{planted['request']}@{NOWHERE}/"}}),
    ]


@pytest.mark.timeout(120)
def test_secrets_of_addresses_and_signatures_are_shown_nowhere(tmp_path: Path, processes: list[Process]) -> None:
    planted = Planted()
    environ = {
        "DOLGO_ADMIN_TOKEN": planted["admin"], "DOLGO_JWT_KEY": planted["key"], "DOLGO_CALLBACK_ALLOW": "127.0.0.1",
        "DOLGO_JWT_JWKS_URL": f"http://user:{planted['jwks']}@{NOWHERE}/keys?token={planted['jwkstoken']}",
        "DOLGO_HTTP_REQUEST_ALLOW": "127.0.0.1",
    }  # fmt: skip
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tell_all.py").write_text(TELLS_ALL)
    server = Server(tmp_path, "--slots", "1", "--drain-timeout", "0", environ=environ)
    processes.append(server)
    seen = _asked(server.ready().url, planted)
    signing = dolgo(tmp_path, "secret show", **environ).strip().splitlines()[-1]
    assert signing.startswith("whsec_")
    seen |= {
        command: dolgo(tmp_path, command, DOLGO_URL=server.url, DOLGO_TOKEN=planted["admin"], **environ) for command in COMMANDS
    }
    strange = f"http://user:{planted['server']}@{NOWHERE}"
    seen |= {f"{command} of nobody": dolgo(tmp_path, command, DOLGO_URL=strange, **environ) for command in ("list", "config")}
    seen["a wrong start"] = dolgo(tmp_path, "serve", DOLGO_JWT_JWKS_URL=f"http://user:{planted['start']}@far.example/keys")
    until(lambda: "could not be reached" in server.said(), 30, "a delivery has failed")
    server.close()
    seen["log"] = server.said()
    assert "The keys of http://user:***@" in seen["log"]
    for where, text in seen.items():
        leaked = {name for name, secret in (planted.hidden | {"signing": signing}).items() if secret in text}
        assert not leaked, f"{where} shows {leaked}: {text[:2000]}"


def _asked(url: str, planted: Planted) -> Mapping[str, str]:
    """What a service answers that is given secrets in many ways."""
    seen: dict[str, str] = {}
    bearer = {"Authorization": f"Bearer {planted['admin']}"}
    # {"alg":"RS256","kid":"a"}, {"sub":"a"}: a key that has to be fetched; 44 characters are whole bytes in base64
    strange = f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJhIn0.{planted['jwt']}xx"
    with httpx.Client(base_url=url, timeout=30) as http:
        for method, path, body in submits(planted):
            answer = http.request(method, path, json=body, headers=bearer)
            seen[f"{method} {path} {answer.status_code}"] = answer.text
        told = http.post("/tasks?wait=20", json={"type": "tell_all"}, headers=bearer).json()["result"]
        assert told["DOLGO_CALLBACK_ALLOW"], "handlers have the environment, but for secrets"
        seen["a handler"] = f"{told}"
        for wrong in (f"Bearer {strange}", f"Basic {planted['basic']}", f"Bearer dolgo_0_{planted['token']}"):
            seen[wrong[:10]] = http.get("/queues", headers={"Authorization": wrong}).text
        for path in SHOWN_PAGES:
            seen[path] = http.get(path, headers=bearer).text
    assert sum(key.endswith(" 422") for key in seen) == 3
    return seen
