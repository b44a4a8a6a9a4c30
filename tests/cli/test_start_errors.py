"""What keeps the service from starting is said in one line, with the way out, and no traceback."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


def start(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of a start that is refused, and all it said on stderr."""
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("dolgo")), *arguments], cwd=folder, capture_output=True, text=True, timeout=30
    )
    assert ran.stdout == ""
    return ran.returncode, ran.stderr


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (a)")
    connection.close()


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE task (a)")
    connection.execute(f"PRAGMA application_id = {0x646F6C67}")
    connection.execute("PRAGMA user_version = 99")
    connection.close()


CASES = [
    (["serve", "--host", "0.0.0.0", "--port", "0"], 2, "--insecure"),
    (["serve", "--lease", "soon"], 2, "lease cannot be 'soon'"),
    (["serve", "--store", "redis://user:secret@host/zero", "--port", "0"], 2, "redis://user:***@host/zero"),
    (["serve", "--store", "postgresql://user:secret@host/x?shema=y", "--port", "0"], 2, "did you mean schema?"),
    (["worker", "--slots", "0"], 2, "slots cannot be 0"),
    (["worker", "--store", "memory://"], 2, "a store in memory"),
    (["serve", "--port", "0", "--store", "sqlite:///no/such/folder.db"], 1, "does not exist"),
    (["serve", "--port", "0", "--store", "sqlite:///garbage.db"], 1, "is not a dolgo database"),
    (["serve", "--port", "0", "--store", "sqlite:///foreign.db"], 1, "is a database of another program"),
    (["serve", "--port", "0", "--store", "sqlite:///newer.db"], 1, "upgrade dolgo"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), CASES, ids=[case[2] for case in CASES])
def test_a_start_that_cannot_be_is_refused_in_one_line(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    (tmp_path / "garbage.db").write_bytes(b"this was never a database " * 100)
    foreign(tmp_path / "foreign.db")
    newer(tmp_path / "newer.db")
    exit_code, talk = start(tmp_path, *arguments)
    assert exit_code == code
    assert said in talk
    assert talk.count("\n") == 1
    assert "secret" not in talk


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, talk = start(tmp_path, "serve", "--port", str(port))
    assert code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in talk
    assert talk.count("\n") == 1


def test_a_health_port_in_use_is_named_with_its_flag(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, talk = start(tmp_path, "worker", "--health-port", str(port))
    assert code == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in talk
    assert "another --health-port" in talk
    assert talk.count("\n") == 1
    assert not (tmp_path / "dolgo.db").exists()


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "192.0.2.1"])
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_host_that_is_none_of_this_machine_is_named_with_its_flag(tmp_path: Path, command: str, host: str) -> None:
    if command == "serve":
        given, flag = ["--insecure", "--host", host, "--port", "0"], "another --host."
    else:
        given, flag = ["--health-host", host, "--health-port", "0"], "another --health-host."
    code, talk = start(tmp_path, command, *given)
    assert code == 1
    assert f"Cannot listen on {host}:0" in talk
    assert flag in talk
    assert talk.count("\n") == 1
