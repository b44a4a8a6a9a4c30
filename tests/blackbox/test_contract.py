"""What the service is named for: the two calls key for key, and a type by one new file."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.client import Client, until, write_type
from tests.blackbox.server import DOLGO, Server

Serve = Callable[..., Server]

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
RELOADED = 2.0  # seconds in which a new or changed file answers
QUICK = ("--drain-timeout", "0")

DOUBLE = """
from dolgo import task

@task
def double(number: int) -> int:
    \"\"\"Twice the number.\"\"\"
    return 2 * number
"""
FAILING = """
from dolgo import task

@task
async def failing(reason: str) -> None:
    raise ValueError(reason)
"""
BROKEN = "import dolgo\nthis is no Python\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the servers of a test start; `tasks/` in it has one type that fails."""
    write_type(tmp_path, "failing", FAILING)
    return tmp_path


def test_a_task_is_queued_then_in_progress_then_done(serve: Serve) -> None:
    with Client(serve(*QUICK).url) as client:
        answer = client.http.post("/tasks", json={"type": "long_task", "payload": {"seconds": 0.5}})
        assert answer.status_code == 202
        assert answer.headers["content-type"] == "application/json"
        id = answer.json()["id"]
        assert UUID7.fullmatch(id)
        assert answer.json() == {"id": id, "status": "queued"}
        assert answer.headers["location"] == f"/tasks/{id}"
        assert client.begun(id)["status"] == "in_progress"
        running = client.http.get(f"/tasks/{id}")
        assert running.json() == {"id": id, "status": "in_progress"}
        assert int(running.headers["retry-after"]) >= 1
        assert client.get(f"/tasks/{id}", wait=10) == {"id": id, "status": "done", "result": {"result": "success"}}
        assert "retry-after" not in client.http.get(f"/tasks/{id}").headers


def test_a_failed_task_is_a_200_with_one_string(serve: Serve, folder: Path) -> None:
    with Client(serve(*QUICK).url) as client:
        id = client.submit("failing", {"reason": "the disk is on fire"})
        answer = client.get(f"/tasks/{id}", wait=10)
        assert answer.keys() == {"id", "status", "error"}
        assert (answer["id"], answer["status"]) == (id, "failed")
        assert isinstance(answer["error"], str)
        assert "the disk is on fire" in answer["error"]
        error = client.task(id)["error"]
        assert error.keys() == {"code", "message", "type", "traceback", "attempt"}
        assert (error["code"], error["attempt"]) == ("handler_error", 1)


def test_waiting_a_task_that_has_not_begun_stays_queued(serve: Serve) -> None:
    with Client(serve("--slots", "1", *QUICK).url) as client:
        client.begun(client.submit("long_task", {"seconds": 60}))
        id = client.submit("long_task", {"seconds": 0})
        assert client.get(f"/tasks/{id}", wait=0.2) == {"id": id, "status": "queued"}


def test_a_submit_can_wait_for_the_end(serve: Serve) -> None:
    with Client(serve(*QUICK).url) as client:
        answer = client.http.post("/tasks?wait=10", json={"type": "long_task", "payload": {"seconds": 0.05}})
        assert answer.status_code == 200
        assert answer.json() == {"id": answer.json()["id"], "status": "done", "result": {"result": "success"}}


def test_an_id_that_was_never_given_is_a_404(serve: Serve) -> None:
    with Client(serve(*QUICK).url) as client:
        answer = client.http.get("/tasks/01890000-0000-7000-8000-000000000000")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert isinstance(answer.json()["error"], str)


def test_the_reference_type_waits_three_minutes_and_ignores_what_it_does_not_know(serve: Serve) -> None:
    with Client(serve(*QUICK).url) as client:
        assert client.http.post("/tasks", json={"type": "long_task"}).status_code == 202
        id = client.submit("long_task", {"seconds": 0, "colour": ["blue"]})
        assert client.end(id)["result"] == {"result": "success"}
        (schema,) = client.get("/types/long_task")["payload_schema"]["$defs"].values()
        assert schema["properties"]["seconds"]["default"] == 180.0


def test_one_new_file_and_no_other_edit_makes_a_type(serve: Serve, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    write_type(tmp_path, "double", DOUBLE)
    with Client(serve(*QUICK).url) as client:
        id = client.submit("double", {"number": 21})
        assert client.get(f"/tasks/{id}", wait=10) == {"id": id, "status": "done", "result": 42}
        assert client.get("/types/double")["description"] == "Twice the number."
        refused = client.http.post("/tasks", json={"type": "double", "payload": {"number": "x", "more": 1}})
        assert refused.status_code == 422
        assert {error["pointer"] for error in refused.json()["errors"]} == {"/payload/number", "/payload/more"}


def test_a_file_that_is_broken_harms_nobody_and_is_shown(serve: Serve, folder: Path) -> None:
    write_type(folder, "broken", BROKEN)
    write_type(folder, "double", DOUBLE)
    server = serve(*QUICK)
    with Client(server.url) as client:
        (broken,) = client.get("/types")["broken"]
        assert broken["file"].endswith("broken.py")
        assert "SyntaxError" in broken["error"]
        assert "broken.py" in server.said()
        assert client.end(client.submit("double", {"number": 1}))["result"] == 2


def double_by(client: Client, payload: dict[str, Any]) -> Any:
    """What `double` answers now; None while it is not known."""
    answer = client.http.post("/tasks?wait=5", json={"type": "double", "payload": payload})
    return answer.json()["result"] if answer.status_code == 200 else None


def test_reload_takes_up_new_changed_and_broken_files(serve: Serve, folder: Path) -> None:
    server = serve("--reload", *QUICK)
    with Client(server.url) as client:
        assert client.http.post("/tasks", json={"type": "double"}).json()["type"].endswith("unknown-type")
        running = client.submit("long_task", {"seconds": 4})
        client.begun(running)
        write_type(folder, "double", DOUBLE)
        assert until(lambda: double_by(client, {"number": 21}), RELOADED, "a new file answers") == 42
        write_type(folder, "double", DOUBLE.replace("2 *", "10 *"))
        until(lambda: double_by(client, {"number": 2}) == 20, RELOADED, "a changed file answers")
        write_type(folder, "broken", BROKEN)
        until(lambda: client.get("/types")["broken"], RELOADED, "a broken file is shown")
        assert double_by(client, {"number": 3}) == 30
        ended = client.end(running)
        assert (ended["status"], ended["attempt"]) == ("done", 1)  # the old child finished what it ran


def test_the_folder_may_come_after_the_server_under_reload(serve: Serve, tmp_path: Path) -> None:
    with Client(serve("--reload", *QUICK).url) as client:
        write_type(tmp_path, "double", DOUBLE)
        assert until(lambda: double_by(client, {"number": 21}), RELOADED, "a new folder answers") == 42
        (tmp_path / "tasks").rename(tmp_path / "old")
        write_type(tmp_path, "double", DOUBLE.replace("2 *", "3 *"))
        until(lambda: double_by(client, {"number": 21}) == 63, RELOADED, "a folder put in its place answers")
        write_type(tmp_path, "double", DOUBLE.replace("2 *", "4 *"))
        until(lambda: double_by(client, {"number": 21}) == 84, RELOADED, "a file changed in that answers")


def test_dolgo_new_writes_a_type_that_serves_and_a_test_that_passes(serve: Serve, tmp_path: Path) -> None:
    subprocess.run([DOLGO, "new", "greet"], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/test_greet.py"], cwd=tmp_path, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout + tested.stderr
    with Client(serve(*QUICK).url) as client:
        assert client.end(client.submit("greet", {"name": "you"}))["result"] == {"greeting": "Hello, you!"}


def test_the_first_line_says_where_it_answers(serve: Serve) -> None:
    server = serve("--port", "0", *QUICK)
    assert re.match(r"dolgo \d+\.\d+\.\d+\S* ready on http://127\.0\.0\.1:\d+\n", server.said())
    assert httpx.get(f"{server.url}/livez").status_code == 200
