"""A wall clock that is set while tasks run: no live lease is taken, no tick is doubled, nothing begins before its time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dolgo.task.schedules import LATE
from tests.blackbox.client import Client, lines, outcomes, until, write_type
from tests.blackbox.life import doubled_ticks, seconds
from tests.blackbox.server import Process, Server, Worker
from tests.faults.clock import WallClock
from tests.faults.outage import Site

DAY = 86_400
SKEW = 300  # seconds
LEASE = 1.5  # seconds
TAKEN_OVER = LEASE + 5.0  # seconds of the monotonic clock
OPTIONS = ("--drain-timeout", "0", "--lease", str(LEASE))

HANDLERS = """
import asyncio, os
from dolgo import Context, task

@task
async def works(ctx: Context, ledger: str, seconds: float = 0) -> int:
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{ctx.id}\\n".encode())
    os.close(file)
    await asyncio.sleep(seconds)
    return ctx.attempt
"""

Start = Callable[..., Any]


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    write_type(tmp_path, "handlers", HANDLERS)
    return WallClock(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(Server, clock, "--slots", "0")`, ready, and closed after the test."""
    started: list[Process] = []

    def ready(kind: type[Server] | type[Worker], clock: WallClock, *options: str) -> Process:
        process = kind(tmp_path, *options, *OPTIONS, name=f"process-{len(started)}", environ=clock.environ)
        started.append(process)
        return process.ready()

    yield ready
    for process in reversed(started):
        process.close()
        process.show()


def now(clock: WallClock) -> float:
    """What the processes of this clock take for the time."""
    asked = [sys.executable, "-c", "import time; print(time.time())"]
    return float(subprocess.run(asked, env=clock.environ, capture_output=True, text=True, check=True).stdout)


def test_the_clock_of_the_tests_moves_the_time_and_nothing_else(clock: WallClock) -> None:
    asked = "import time; print(time.time(), time.monotonic(), time.localtime().tm_year)"
    clock.set(400 * DAY)
    said = subprocess.run([sys.executable, "-c", asked], env=clock.environ, capture_output=True, text=True, check=True).stdout
    wall, monotonic, _ = map(float, said.split())
    assert abs(wall - time.time() - 400 * DAY) < 30
    assert abs(monotonic - time.monotonic()) < 30


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_is_set_takes_no_lease_from_the_living(jump: int, clock: WallClock, start: Start, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    server = start(Server, clock, "--slots", "0")
    start(Worker, clock, "--slots", "4")
    with Client(server.url) as client:
        ids = client.batch("works", [{"ledger": str(ledger), "seconds": 3 * LEASE}] * 3)
        until(lambda: len(lines(ledger)) == 3, 10, "they run")
        clock.set(jump)
        tasks = [client.end(id, 20) for id in ids]
        assert [(task["status"], outcomes(task)) for task in tasks] == [("done", ["done"])] * 3
        assert sorted(lines(ledger)) == sorted(ids)
        until(lambda: client.http.get("/types/works").status_code == 200, TAKEN_OVER, "its types are known again")
        after = client.end(client.submit("works", {"ledger": str(ledger)}))
        assert abs(seconds(after["started_at"]) - time.time() - jump) < 60  # the jump was one
        until(lambda: client.get("/workers")["workers"], TAKEN_OVER, "the worker is seen again")


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_what_a_dead_worker_held_runs_again_in_time_though_the_clock_was_set(
    jump: int, clock: WallClock, start: Start, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    server = start(Server, clock, "--slots", "0")
    doomed = start(Worker, clock, "--slots", "1")
    with Client(server.url) as client:
        id = client.submit("works", {"ledger": str(ledger), "seconds": 1.0})
        until(lambda: lines(ledger), 10, "it runs")
        clock.set(jump)
        doomed.kill(children=True)
        begun = time.monotonic()
        start(Worker, clock, "--slots", "1")
        until(lambda: len(lines(ledger)) == 2, TAKEN_OVER + 5, "it runs again")
        assert time.monotonic() - begun < TAKEN_OVER + 3  # the other worker's start is in it
        assert outcomes(client.end(id)) == ["lost", "done"]


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_tick_makes_one_task_however_the_clock_is_set(jump: int, clock: WallClock, start: Start, tmp_path: Path) -> None:
    """There and back again: ticks that were passed are not made a second time, and of a day of missed ones speaks one."""
    payload = {"ledger": str(tmp_path / "ledger")}
    servers = [start(Server, clock, "--slots", "2") for _ in range(2)]
    with Client(servers[0].url) as client:
        body = {"type": "works", "payload": payload, "every": 1, "options": {"tags": ["tick"]}, "missed": "once"}
        first = seconds(client.http.put("/schedules/often", json=body).json()["next"][0])
        until(lambda: client.every(tag="tick"), 10, "it ticks")
        for offset in (jump, 0):
            clock.set(offset)
            time.sleep(2.5)  # two ticks that may be missed, doubled or made up for
        assert client.http.delete("/schedules/often").status_code == 204
        tasks = client.every(tag="tick", view="full")
        assert len(tasks) < 2 * LATE + 20, f"{len(tasks)} tasks in some seconds"  # what is not later than that is made up for
        assert not list(doubled_ticks([task["id"] for task in tasks], first=first, every=1))


def test_nothing_begins_before_its_time_or_expires_before_it(clock: WallClock, start: Start, tmp_path: Path) -> None:
    payload = {"ledger": str(tmp_path / "ledger")}
    server = start(Server, clock, "--slots", "4")
    with Client(server.url) as client:
        soon, tomorrow, later = (client.submit("works", payload, delay=delay) for delay in (2, DAY / 2, 3 * DAY))
        hour = client.submit("works", payload, delay=3 * DAY, expires_at=iso(now(clock) + 2 * DAY))
        clock.set(-DAY)
        time.sleep(3.0)  # longer than the delay of the first
        assert [client.task(id)["status"] for id in (soon, tomorrow, later)] == ["queued"] * 3
        clock.set(DAY)
        for id in (soon, tomorrow):
            task = client.end(id)
            assert seconds(task["started_at"]) >= seconds(task["run_at"])
        assert [client.task(id)["status"] for id in (later, hour)] == ["queued"] * 2
        clock.set(2 * DAY + 60)
        assert client.end(hour)["error"]["code"] == "expired"
        assert client.task(later)["status"] == "queued"


def iso(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


# -- on Redis, whose clock is the only one that counts


@pytest.mark.timeout(90)
def test_on_redis_workers_may_have_any_clocks(tmp_path: Path) -> None:
    ahead, behind = WallClock(tmp_path, "ahead"), WallClock(tmp_path, "behind")
    ahead.set(SKEW)
    behind.set(-SKEW)
    with Site(tmp_path, lease=LEASE, environ=({}, ahead.environ, behind.environ)) as site:
        options = ("--store", site.redis.url, "--slots", "2", "--drain-timeout", "0", "--lease", str(LEASE))
        with Worker(tmp_path, *options, name="other", environ=ahead.environ).ready():
            ids = [site.submit(seconds=3 * LEASE) for _ in range(6)]
            late = site.client.submit("works", {"ledger": str(site.ledger)}, delay=2)
            tasks = [site.client.end(id, 20) for id in ids]
            assert [(task["status"], outcomes(task)) for task in tasks] == [("done", ["done"])] * 6
            assert len({task["worker"] for task in tasks}) == 2
            task = site.client.end(late)
            assert 0 <= seconds(task["started_at"]) - seconds(task["run_at"]) < 2
            assert abs(seconds(task["started_at"]) - time.time()) < 30


@pytest.mark.timeout(90)
@pytest.mark.parametrize("jump", [DAY])
def test_on_redis_a_server_whose_clock_is_set_takes_no_lease_from_the_living(jump: int, tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    with Site(tmp_path, lease=LEASE, environ=(clock.environ, {}, {})) as site:
        ids = [site.submit(seconds=3 * LEASE) for _ in range(3)]
        until(lambda: sum(site.runs().values()) == 3, 10, "they run")
        clock.set(jump)
        tasks = [site.client.end(id, 20) for id in ids]
        assert [(task["status"], outcomes(task)) for task in tasks] == [("done", ["done"])] * 3
        until(lambda: site.client.http.get("/types/works").status_code == 200, TAKEN_OVER, "its types are known again")
        after = site.client.end(site.submit())
        assert abs(seconds(after["started_at"]) - time.time() - jump) < 60
