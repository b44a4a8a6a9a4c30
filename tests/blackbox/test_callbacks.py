"""Callbacks as a receiver sees them: signed, tried again, and neither lost nor doubled when the service is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.blackbox.client import Client, until, write_type
from tests.blackbox.server import DOLGO, Process, Server
from tests.callbacks.receiver import Receiver
from tests.missing import need
from tests.postgres_server import PostgresServer, need_postgres
from tests.redis_server import DURABLE, RedisServer

ALLOWED = {"DOLGO_CALLBACK_ALLOW": "127.0.0.0/8"}
SOON_PRUNED = """
import sys
from dolgo import cli
from dolgo.task import intake
from dolgo.task.callbacks import cursor
intake.UNTOLD = cursor.UNTOLD = 1.0
sys.exit(cli.main(sys.argv[1:]))
"""
SUBMITS = """
from dolgo import Context, task

@task
async def submits(ctx: Context, url: str) -> str:
    return await ctx.submit("long_task", {"seconds": 0}, callback=url)
"""
WITHIN = 20.0  # seconds for a delivery on a busy machine


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, processes: list[Process]) -> Server:
    made = Server(tmp_path, environ=ALLOWED)
    processes.append(made)
    return made.ready()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def submitted(client: Client, callback: Any, seconds: float = 0.0, **options: Any) -> str:
    answer = client.http.post(
        "/tasks", json={"type": "long_task", "payload": {"seconds": seconds}, "callback": callback, **options}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def told(client: Client, id: str, status: str) -> dict[str, Any]:
    """The delivery of a task, once it stands so."""

    def look() -> dict[str, Any]:
        found = client.task(id)["callbacks"]
        return dict(found[0]) if found and found[0]["status"] == status else {}

    return until(look, WITHIN, f"the callback of {id} is {status}")


def secret(server: Server, *words: str) -> list[str]:
    name = f"secret-{time.monotonic_ns()}"
    ran = Process([DOLGO, "secret", *words], server.folder, ready="whsec_", name=name)
    with ran.ready():
        assert ran.wait() == 0
        return ran.said().split()


def test_a_receiver_is_told_once_by_a_request_that_others_can_verify(server: Server, client: Client, receiver: Receiver) -> None:
    id = submitted(client, f"{receiver.url}/ok")
    (came,) = receiver.until("/ok", 1, WITHIN)
    (valid,) = secret(server, "show")
    said: Any = Webhook(valid).verify(came.body, came.headers)
    assert said == json.loads(came.body)
    assert said["type"] == "task.done"
    assert said["data"] == {"id": id, "status": "done", "type": "long_task", "result": {"result": "success"}}
    with pytest.raises(WebhookVerificationError):
        Webhook(valid).verify(came.body.replace(b"done", b"gone"), came.headers)
    delivery = told(client, id, "done")
    assert (delivery["id"], delivery["attempts"], delivery["error"]) == (came.headers["webhook-id"], 1, None)
    assert client.every() == [{"id": id, "status": "done", "result": {"result": "success"}}]
    assert [task["id"] for task in client.every(type="dolgo.callback")] == [delivery["id"]]
    assert sum(client.counts().values()) == 1


def test_after_a_rotation_both_secrets_verify(server: Server, client: Client, receiver: Receiver) -> None:
    submitted(client, f"{receiver.url}/ok")
    receiver.until("/ok", 1, WITHIN)
    (old,) = secret(server, "show")
    (new,) = secret(server, "rotate")
    submitted(client, f"{receiver.url}/ok")
    came = receiver.until("/ok", 2, WITHIN)[1]
    for valid in secret(server, "show"):
        Webhook(valid).verify(came.body, came.headers)
    assert secret(server, "show") == [new, old]


def test_the_secret_is_there_from_the_first_start_on(tmp_path: Path, processes: list[Process]) -> None:
    server = Server(tmp_path, "--slots", "0")
    processes.append(server)
    server.ready()
    with sqlite3.connect(f"file:{tmp_path}/dolgo.db?mode=ro", uri=True) as database:
        assert b"whsec_" in database.execute("SELECT value FROM record WHERE key = 'callbacks/secret'").fetchone()[0]
    (first,) = secret(server, "show")
    (second,) = secret(server, "rotate")
    assert secret(server, "show") == [second, first]
    (third,) = secret(server, "rotate")
    assert secret(server, "show") == [third, second]  # rotating twice is how to be rid of one that strangers know


def test_a_task_that_is_gone_is_told_of_in_full(tmp_path: Path, processes: list[Process], receiver: Receiver) -> None:
    (tmp_path / "soon.py").write_text(SOON_PRUNED)
    server = Process([sys.executable, "soon.py", "serve", "--port", "0"], tmp_path, ready=r"ready on (\S+)", environ=ALLOWED)
    processes.append(server)
    receiver.retry_after = "12"  # longer than until the next prune
    url = server.ready().came_ready[1]  # type: ignore[index]
    with Client(url) as client:
        kept, deleted = submitted(client, f"{receiver.url}/later", keep=0), submitted(client, f"{receiver.url}/later?2")
        receiver.until("/later", 1, WITHIN)
        client.end(deleted)
        until(lambda: client.http.delete(f"/tasks/{deleted}").status_code == 204, WITHIN, "it is deleted")
        until(lambda: client.http.get(f"/tasks/{kept}").status_code == 404, 30.0, "it is pruned")
        assert len(receiver.of("/later")) == 1
        again = receiver.until("/later", 2, 40.0)[1]
    assert json.loads(again.body)["data"] == {
        "id": kept,
        "status": "done",
        "type": "long_task",
        "result": {"result": "success"},
    }


def test_the_trace_goes_with_the_callback_of_a_task_and_of_those_its_handler_submits(
    server: Server, client: Client, receiver: Receiver
) -> None:
    write_type(server.folder, "submits", SUBMITS)
    server.kill(signal.SIGTERM)
    server.wait()
    server.start().wait_ready()
    sent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}
    with Client(server.url) as again:
        body = {"type": "submits", "payload": {"url": f"{receiver.url}/ok?child"}, "callback": f"{receiver.url}/ok"}
        assert again.http.post("/tasks", json=body, headers=sent).status_code == 202
        assert again.http.post("/tasks/batch", json={"tasks": [body]}, headers=sent).status_code == 202
    came = receiver.until("/ok", 2, WITHIN) + receiver.until("/ok?child", 2, WITHIN)
    for one in came:
        assert (one.headers["traceparent"][:35], one.headers["tracestate"]) == (sent["traceparent"][:35], "a=1")


def test_an_answer_that_is_no_success_is_tried_again_under_the_same_id(client: Client, receiver: Receiver) -> None:
    later, twice = submitted(client, f"{receiver.url}/later"), submitted(client, f"{receiver.url}/twice")
    for path, id in (("/later", later), ("/twice", twice)):
        first, second = receiver.until(path, 2, WITHIN)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert told(client, id, "done")["attempts"] == 2


@pytest.mark.parametrize(
    ("path", "status"), [("410", "failed"), ("302", "queued"), ("500", "queued"), ("reset", "queued"), ("endless", "done")]
)
def test_what_an_evil_receiver_answers_is_told(client: Client, receiver: Receiver, path: str, status: str) -> None:
    id = submitted(client, f"{receiver.url}/{path}")
    delivery = until(
        lambda: found[0] if (found := client.task(id)["callbacks"]) and found[0]["attempts"] else {}, WITHIN, "a try"
    )
    delivery = told(client, id, status)
    assert (delivery["error"] is None) is (status == "done")
    assert not receiver.of("/followed")


def test_receivers_that_never_answer_keep_nobody_else_waiting(client: Client, receiver: Receiver) -> None:
    for _ in range(40):
        submitted(client, f"{receiver.url}/slow")
    receiver.until("/slow", 4, WITHIN)
    submitted(client, f"{receiver.url.replace('127.0.0.1', '127.0.0.2')}/ok")
    receiver.until("/ok", 1, 10.0)  # before any of those runs into its timeout
    assert len(receiver.of("/slow")) == 4  # of one host at once


def test_many_tasks_for_many_dead_receivers_keep_nobody_else_waiting(client: Client, receiver: Receiver) -> None:
    dead = [receiver.url.replace("127.0.0.1", f"127.0.0.{3 + number}") for number in range(8)]
    tasks = [{"type": "long_task", "payload": {"seconds": 0}, "callback": f"{url}/slow"} for url in dead * 300]
    assert client.http.post("/tasks/batch", json={"tasks": tasks}, timeout=40).status_code == 202
    receiver.until("/slow", 4 * len(dead), WITHIN)
    submitted(client, f"{receiver.url}/ok")
    receiver.until("/ok", 1, 12.0)  # before those have all run into their timeout


def test_an_end_that_is_not_asked_for_is_not_told(client: Client, receiver: Receiver) -> None:
    quiet = submitted(client, {"url": f"{receiver.url}/500", "on": ["failed"]})
    client.end(quiet)
    loud = submitted(client, {"url": f"{receiver.url}/ok", "on": ["cancelled"]}, 0.0, delay=600)
    assert client.http.post(f"/tasks/{loud}/cancel").status_code == 200
    (came,) = receiver.until("/ok", 1, WITHIN)
    assert json.loads(came.body)["data"] == {
        "id": loud,
        "status": "cancelled",
        "type": "long_task",
        "error": client.get(f"/tasks/{loud}")["error"],
    }
    assert client.task(quiet)["callbacks"] == []
    assert not receiver.of("/500")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://example.com/",
            "ftp://example.com/",
            "example.com",
            "https://",
            "https://a b/",
            "https://user:pass@example.com/",
        ),
        *(
            "https://169.254.169.254/",
            "https://10.1/",
            "https://0xa9fea9fe/",
            "https://2852039166/",
            "https://[::ffff:10.0.0.1]/",
        ),
        *(
            "https://[::1]/",
            "https://[64:ff9b::a00:1]/",
            "https://localhost/",
            "https://example.com:22/",
            "https://example.com/#x",
        ),
    ],
)
def test_a_url_that_shows_where_it_must_not_go_is_refused_at_the_door(client: Client, url: str) -> None:
    for body, pointer in (({}, "/callback"), ({"batch": True}, "/tasks/0/callback")):
        task = {"type": "long_task", "callback": url}
        answer = client.http.post("/tasks/batch", json={"tasks": [task]}) if body else client.http.post("/tasks", json=task)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert client.every() == []


def test_a_schedule_tells_its_receiver(client: Client, receiver: Receiver) -> None:
    body = {"type": "long_task", "payload": {"seconds": 0}, "every": 3600, "options": {"callback": f"{receiver.url}/ok"}}
    assert client.http.put("/schedules/hourly", json=body).json()["options"]["callback"] == {
        "url": f"{receiver.url}/ok",
        "on": ["done", "failed", "cancelled"],
    }
    assert client.http.post("/schedules/hourly/run").status_code == 202
    receiver.until("/ok", 1, WITHIN)
    refused = client.http.put("/schedules/hourly", json={**body, "options": {"callback": "https://10.0.0.1"}})
    assert refused.json()["errors"][0]["pointer"] == "/options/callback"


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
def test_nothing_is_lost_or_doubled_when_the_service_is_killed(
    kind: str, tmp_path: Path, processes: list[Process], receiver: Receiver
) -> None:
    options: list[str] = []
    if kind == "redis":
        need("redis-server")
        redis = RedisServer(tmp_path, *DURABLE)
        processes.append(redis)
        options = ["--store", redis.ready().url]
    if kind == "postgres":
        need_postgres()
        postgres = PostgresServer(tmp_path, durable=True)
        processes.append(postgres)
        options = ["--store", postgres.ready().url]
    server = Server(tmp_path, *options, environ=ALLOWED)
    processes.append(server)
    server.ready()
    ids: list[str] = []
    for _ in range(4):
        with Client(server.url) as client:
            ids += [submitted(client, f"{receiver.url}/ok") for _ in range(25)]
        receiver.until("/ok", len(receiver.of("/ok")) + 1, WITHIN)  # some are told, some not yet, some not even ended
        server.kill(signal.SIGKILL, children=True)
        server.wait()
        server.start().wait_ready()
    deadline = time.monotonic() + 60.0
    with Client(server.url) as client:
        while {json.loads(came.body)["data"]["id"] for came in receiver.of("/ok")} < set(ids):
            assert time.monotonic() < deadline, "a callback is lost"
            time.sleep(0.1)
        deliveries = client.every(type="dolgo.callback", view="full")
    assert Counter(delivery["payload"]["task"] for delivery in deliveries) == Counter(ids)
    by_task: dict[str, set[str]] = {}
    for came in receiver.of("/ok"):
        by_task.setdefault(json.loads(came.body)["data"]["id"], set()).add(came.headers["webhook-id"])
    assert {len(known) for known in by_task.values()} == {1}
