"""Tasks by the clock: each tick is one task, with two servers on one file and over restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.blackbox.client import Client, until, write_type
from tests.blackbox.server import Server

OPTIONS = ("--slots", "4", "--drain-timeout", "0")

HANDLERS = """
import asyncio
from dolgo import task

@task
async def ticks(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
"""


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def put(client: Client, name: str, *, status: int = 201, **members: Any) -> dict[str, Any]:
    body = {"type": "ticks", "options": {"tags": [name]}, **members}
    answer = client.http.put(f"/schedules/{name}", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def made(client: Client, name: str) -> list[dict[str, Any]]:
    """The tasks of a schedule, oldest first."""
    return client.every(tag=name, view="full", order="created_at")


def until_made(client: Client, name: str, number: int) -> list[dict[str, Any]]:
    return until(lambda: tasks if len(tasks := made(client, name)) >= number else [], 5 + 3 * number, f"{number} tasks")


def check_ticks(tasks: list[dict[str, Any]], ticks: list[float]) -> None:
    """Each tick that has a task has one."""
    of = [max((tick for tick in ticks if tick <= seconds(task["created_at"])), default=0.0) for task in tasks]
    assert len(set(of)) == len(of), f"two tasks of one tick: {of}"
    assert of[0] > 0.0


def test_each_tick_is_one_task_with_two_servers_on_one_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    one, two = serve(*OPTIONS), serve(*OPTIONS)
    with Client(one.url) as client, Client(two.url) as other:
        shown = put(client, "often", every=2)
        assert len(shown["next"]) == 5
        first = seconds(shown["next"][0])
        assert [round(seconds(at) - first) for at in shown["next"]] == [0, 2, 4, 6, 8]
        until_made(other, "often", 2)
        one.kill()  # the other goes on alone
        one.wait()
        until_made(other, "often", 3)
        one.start().wait_ready()
        tasks = until_made(client, "often", 4)
        check_ticks(tasks, [first + 2 * number for number in range(100)])
        span = seconds(tasks[-1]["created_at"]) - seconds(tasks[0]["created_at"])
        assert len(tasks) >= span / 2 - 1  # none was left out either
        last = client.get("/schedules/often")["last_run"]
        assert last["id"] in {task["id"] for task in made(client, "often")}
        assert client.http.delete("/schedules/often").status_code == 204
        assert other.http.get("/schedules/often").status_code == 404


def test_a_schedule_goes_on_after_everything_was_killed(serve: Callable[..., Server], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    server = serve(*OPTIONS)
    with Client(server.url) as client:
        before = put(client, "kept", every=1, payload={"seconds": 0.01})
        until_made(client, "kept", 1)
        server.kill(children=True)
        server.wait()
        server.start().wait_ready()
        after = client.get("/schedules/kept")
        changing = ("next", "last_run")
        assert {**after, **dict.fromkeys(changing)} == {**before, **dict.fromkeys(changing)}
        since = seconds(before["next"][0])
        assert all(abs((seconds(at) - since) % 1 - 0.5) > 0.49 for at in after["next"])  # in step with before
        check_ticks(until_made(client, "kept", 3), [since + number for number in range(100)])


def test_a_paused_schedule_makes_nothing_but_can_be_run_by_hand(client: Client) -> None:
    shown = put(client, "rests", every=1, paused=True)
    assert (shown["next"], shown["last_run"]) == ([], None)
    headers = {"Idempotency-Key": "only-once"}
    answers = [client.http.post("/schedules/rests/run", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    id = answers[0].json()["id"]
    assert answers[1].json()["id"] == id
    assert answers[1].headers["idempotency-replayed"] == "true"
    client.end(id)
    time.sleep(2.2)  # not to be lucky: what comes now would be the fault
    assert [task["id"] for task in made(client, "rests")] == [id]
    assert client.get("/schedules/rests")["last_run"]["id"] == id
    put(client, "rests", every=1, status=200)
    until_made(client, "rests", 2)
    put(client, "rests", every=1, paused=True, status=200)


def test_a_run_is_passed_over_while_the_last_one_goes_on(client: Client) -> None:
    put(client, "overlaps", every=1, overlap="skip", payload={"seconds": 2.5})
    tasks = until_made(client, "overlaps", 2)
    client.http.delete("/schedules/overlaps")
    assert seconds(tasks[1]["created_at"]) >= seconds(tasks[0]["finished_at"] or "2999-01-01T00:00:00Z")


def test_its_options_are_those_of_its_tasks(client: Client) -> None:
    put(client, "opts", every=3600, options={"priority": 8, "retries": 2, "timeout": 9, "keep": 60, "tags": ["opts"]})
    client.http.post("/schedules/opts/run")
    (task,) = made(client, "opts")
    assert (task["priority"], task["max_attempts"], task["timeout"], task["keep"]) == (8, 3, 9, 60)


def test_a_cron_line_knows_its_time_zone_and_daylight_saving(client: Client) -> None:
    shown = put(client, "night", cron="30 2 * * *", timezone="Europe/Berlin", paused=False)
    assert {(seconds(at) - seconds(shown["next"][0])) % 3600 for at in shown["next"]} == {0}
    assert all(at[11:16] in ("00:30", "01:30", "01:00") for at in shown["next"])


def test_what_can_never_be_due_is_refused_with_the_reason(client: Client) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"cron": "61 * * * *"}, "/cron"),
        ({"cron": "nonsense"}, "/cron"),
        ({"cron": "* * * * *", "every": 5}, "/every"),
        ({}, "/cron"),
        ({"every": 0.5}, "/every"),
        ({"every": -1}, "/every"),
        ({"cron": "* * * * *", "timezone": "Europe/Nowhere"}, "/timezone"),
        ({"every": 5, "missed": "twice"}, "/missed"),
        ({"every": 5, "overlap": True}, "/overlap"),
        ({"every": 5, "payload": {"seconds": "x"}}, "/payload/seconds"),
        ({"every": 5, "type": "tick"}, "/type"),
        ({"every": 5, "options": {"priority": 10}}, "/options/priority"),
        ({"every": 5, "options": {"color": 1}}, "/options/color"),
    ]
    for members, pointer in wrong:
        answer = client.http.put("/schedules/wrong", json={"type": "ticks", **members})
        assert answer.status_code == 422, f"{members}: {answer.text}"
        problem = answer.json()
        assert pointer in [error["pointer"] for error in problem["errors"]], f"{members}: {problem}"
        assert all(error["detail"] for error in problem["errors"])
    assert client.http.get("/schedules/wrong").status_code == 404
