"""What task code sees of the environment: everything but the secrets of the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, write_type
from tests.blackbox.server import Process, Server, Worker

PRINTS = """
import os
from dolgo import task

@task
def alone() -> dict[str, str]:
    return dict(os.environ)

@task
async def together() -> dict[str, str]:
    return dict(os.environ)
"""
SECRET = "planted-" + "x" * 32
SEEN = {"DOLGO_URL": "http://127.0.0.1:1", "DOLGO_TOKEN": "of-the-client", "DOLGO_GRACE": "4s", "OF_MY_OWN": "1"}


def environ(folder: Path) -> dict[str, str]:
    """Secrets, each as a value and as a file, and what is none."""
    (folder / "key").write_text(SECRET)
    return {
        "DOLGO_STORE": f"sqlite:///{folder}/dolgo.db",
        "DOLGO_JWT_KEY": SECRET,
        "DOLGO_ADMIN_TOKEN_FILE": str(folder / "key"),
        "DOLGO_JWT_JWKS_URL": f"https://user:{SECRET}@id.example.org/",
        **SEEN,
    }


@pytest.mark.parametrize("by", ["serve", "worker"])
def test_task_code_sees_no_secret_of_the_service(by: str, tmp_path: Path, processes: list[Process]) -> None:
    write_type(tmp_path, "prints", PRINTS)
    given = environ(tmp_path)
    server = Server(tmp_path, *(("--slots", "0") if by == "worker" else ()), environ=given)
    processes.append(server)
    server.ready()
    if by == "worker":
        worker = Worker(tmp_path, environ=given)
        processes.append(worker)
        worker.ready()
    with Client(server.url) as client:
        client.http.headers["authorization"] = f"Bearer {SECRET}"
        for type in ("alone", "together"):
            seen: dict[str, Any] = client.end(client.submit(type))["result"]
            assert SECRET not in json.dumps(seen)
            assert {name for name in seen if name.startswith("DOLGO_")} == {
                *(name for name in SEEN if name.startswith("DOLGO_")),
                "DOLGO_HTTP_REQUEST_ALLOW",
            }
            assert {name: seen[name] for name in SEEN} == SEEN
