"""Streams of events, of real processes: nothing is lost and nothing is told twice, whoever dies meanwhile."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dolgo.task.types import FINAL
from tests.blackbox.client import until
from tests.blackbox.server import Process, Server
from tests.blackbox.streams import WITHIN, Ended, Message, Reader, place
from tests.missing import need
from tests.postgres_server import PostgresServer, need_postgres
from tests.redis_server import DURABLE, RedisServer

Serve = Callable[..., Server]

NO_WORK = ("--slots", "0")
LATER = 3_600.0  # seconds until a task may start: in no test
MANY = 2_000  # streams
PER_STREAM = 60_000  # bytes of memory of a server for each


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, processes: list[Process]) -> str:
    """The URL of a store that several servers may share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    if request.param == "postgres":
        need_postgres()
        postgres = PostgresServer(tmp_path, durable=True)
        processes.append(postgres)
        return postgres.ready().url
    need("redis-server")
    redis = RedisServer(tmp_path, *DURABLE)
    processes.append(redis)
    return redis.ready().url


def submit(server: Server, *, seconds: float = 0.0, count: int = 1, **members: Any) -> list[str]:
    tasks = [{"type": "long_task", "payload": {"seconds": seconds}, **members}] * count
    answer = httpx.post(f"{server.url}/tasks/batch", json={"tasks": tasks}, timeout=WITHIN)
    assert answer.status_code == 202, answer.text
    return [task["id"] for task in answer.json()["tasks"]]


def wait(server: Server, *ids: str) -> None:
    """Return when all have ended."""
    for id in ids:
        assert httpx.get(f"{server.url}/tasks/{id}?wait=30", timeout=40).json()["status"] == "done"


def wait_for_the_end(server: Server) -> None:
    """Return when nothing waits or runs any more."""
    until(lambda: not [id for id, status in all_statuses(server).items() if status not in FINAL], 60, "all tasks have ended")


def all_statuses(server: Server) -> dict[str, str]:
    """How every task stands."""
    statuses: dict[str, str] = {}
    query = {"limit": "1000"}
    while True:
        page = httpx.get(f"{server.url}/tasks", params=query, timeout=WITHIN).json()
        statuses |= {task["id"]: task["status"] for task in page["tasks"]}
        if page["next"] is None:
            return statuses
        query["cursor"] = page["next"]


def whole_log(server: Server) -> list[dict[str, Any]]:
    """Every event there is, by pages."""
    events: list[dict[str, Any]] = []
    after = 0
    while True:
        page = httpx.get(f"{server.url}/events", params={"after": after, "limit": 1000}, timeout=WITHIN).json()
        assert not page["reset"]
        if not page["events"]:
            return events
        events += page["events"]
        after = page["next"]


def up_to(reader: Reader, seq: int) -> Iterator[Message]:
    """The events of a stream as far as a number."""
    while True:
        message = reader.next()
        yield message
        if message.seq >= seq:
            return


@pytest.mark.timeout(180)
def test_a_reader_that_is_cut_and_goes_on_elsewhere_sees_each_event_once(serve: Serve, store: str) -> None:
    first, second = serve("--store", store), serve("--store", store)
    last, seen, ids = place(first.url), [], []
    for turn in range(6):
        server, other = (first, second) if turn % 2 else (second, first)
        with Reader(server.url, "/events", last=last) as reader:
            assert reader.status == 200
            ids += submit(other, count=20)
            for _ in range(15 if turn % 3 else 40):
                message = reader.next()
                assert message.name == "task.status"
                seen.append(message)
                last = message.id
    wait(first, *ids)
    log = whole_log(second)
    with Reader(first.url, "/events", last=last) as reader:
        seen += up_to(reader, log[-1]["seq"])
    assert [message.data for message in seen] == log
    assert len({message.id for message in seen}) == len(seen)


@pytest.mark.timeout(180)
def test_a_server_killed_in_the_middle_of_a_stream_costs_no_event(serve: Serve, store: str) -> None:
    dies, lives = serve("--store", store, *NO_WORK), serve("--store", store)
    last, seen = place(dies.url), []
    ids: list[str] = []
    for _ in range(3):
        with Reader(dies.url, "/events", last=last) as reader:
            ids += submit(lives, count=200)
            for _ in range(100):
                seen.append(reader.next())
            dies.kill(signal.SIGKILL)
            seen += reader.rest()[0]
            last = reader.last
        dies.wait()
        dies.start().wait_ready()
    wait(lives, *ids)
    log = whole_log(lives)
    if len(seen) < len(log):  # on a busy machine the last server has told all of it before it is killed
        with Reader(dies.url, "/events", last=last) as reader:
            seen += up_to(reader, log[-1]["seq"])
    assert [message.data for message in seen] == log
    final = {message.data["id"]: message.data["status"] for message in seen}
    assert final == dict.fromkeys(ids, "done")


@pytest.mark.timeout(180)
def test_slow_and_quick_readers_come_to_the_truth_though_every_server_is_killed(serve: Serve, store: str) -> None:
    servers = [serve("--store", store), serve("--store", store)]
    last = dict.fromkeys(("quick", "slow"), place(servers[0].url))
    seen: dict[str, list[Message]] = {"quick": [], "slow": []}
    ids: list[str] = []
    for turn in range(4):
        dies, lives = servers[turn % 2], servers[1 - turn % 2]
        readers = {name: Reader(dies.url, "/events", last=last[name], buffer=4096 if name == "slow" else 0) for name in last}
        ids += submit(lives, count=100) + submit(dies, count=100, delay=LATER)
        with httpx.Client(timeout=WITHIN) as http:
            for id in ids[-150::5]:
                http.post(f"{lives.url}/tasks/{id}/cancel")
            for id in ids[-150::10]:
                http.post(f"{dies.url}/tasks/{id}/retry")
        seen["quick"] += [readers["quick"].next() for _ in range(150)]
        seen["slow"].append(readers["slow"].next())
        dies.kill(signal.SIGKILL)
        for name, reader in readers.items():
            seen[name] += reader.rest()[0] if name == "quick" else []
            last[name] = reader.last
            reader.close()
        dies.wait()
        dies.start().wait_ready()
    httpx.post(f"{servers[0].url}/tasks/cancel?status=queued", timeout=WITHIN)
    wait_for_the_end(servers[1])
    log = whole_log(servers[1])
    for name, messages in seen.items():
        with Reader(servers[0].url, "/events", last=last[name]) as reader:
            messages += up_to(reader, log[-1]["seq"])
        assert [message.data for message in messages] == log, name
    assert {event["id"]: event["status"] for event in log} == all_statuses(servers[0])


def test_a_task_is_told_from_how_it_stands_to_its_end_and_then_no_more(serve: Serve, store: str) -> None:
    runs, other = serve("--store", store), serve("--store", store, *NO_WORK)
    (id,) = submit(runs, seconds=0.5)
    with Reader(other.url, f"/tasks/{id}/events") as reader:
        told, clean = reader.rest()
        assert clean
    statuses = [message.data["status"] for message in told]
    assert statuses in (["queued", "in_progress", "done"], ["in_progress", "done"])
    for server in (runs, other):
        with Reader(server.url, f"/tasks/{id}/events", last=reader.last) as again:
            assert again.status == 204
    with Reader(other.url, f"/tasks/{id}/events") as late:
        assert late.next().data["status"] == "done"
        with pytest.raises(Ended):
            late.next()
    with Reader(runs.url, f"/tasks/{id}/events", last=late.last) as again:
        assert again.status == 204


def test_the_end_that_came_between_two_connections_is_told(serve: Serve, store: str) -> None:
    server = serve("--store", store)
    (id,) = submit(server, seconds=0.3)
    with Reader(server.url, f"/tasks/{id}/events") as reader:
        reader.next()
        last = reader.last
    wait(server, id)
    with Reader(server.url, f"/tasks/{id}/events", last=last) as reader:
        told, _ = reader.rest()
    assert told[-1].data["status"] == "done"


def test_a_log_that_lost_its_end_resets_who_was_beyond_it(serve: Serve, tmp_path: Path, processes: list[Process]) -> None:
    need("redis-server")
    redis = RedisServer(tmp_path)  # keeps nothing
    processes.append(redis)
    server = serve("--store", redis.ready().url)
    submit(server, count=50, delay=LATER)
    before = place(server.url)
    with Reader(server.url, "/events") as reader:
        redis.kill(signal.SIGKILL)
        redis.wait()
        redis.start().wait_ready()
        assert reader.next().name == "reset"
        deadline = time.monotonic() + WITHIN
        while httpx.get(f"{server.url}/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
    with Reader(server.url, "/events", last=before) as reader:
        assert reader.next().name == "reset"
    assert reader.last.partition("-")[0] != before.partition("-")[0]


@pytest.mark.timeout(180)
def test_a_reader_who_does_not_read_costs_little_and_holds_up_nobody(serve: Serve) -> None:
    server = serve()
    last = place(server.url)
    with Reader(server.url, "/events", last=last, buffer=4096) as slow, Reader(server.url, "/events", last=last) as quick:
        before = memory(server.pid)
        total = 0
        for _ in range(6):
            total += len(submit(server, count=10_000, delay=LATER))
            assert len([quick.next() for _ in range(10_000)]) == 10_000
        assert memory(server.pid) - before < 150_000_000  # what the store itself keeps of so many tasks is in it
        names, seqs = [], []
        while not seqs or seqs[-1] < total:
            message = slow.next()
            if message.name == "task.status":
                seqs.append(message.seq)
            else:
                names.append(message.name)
    assert seqs == list(range(seqs[0], total + 1))
    assert len(seqs) == total
    assert names == ["lagged"]


@pytest.mark.timeout(180)
def test_two_thousand_streams_are_told_of_an_end_and_end_with_the_server(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 200:
        pytest.skip("so many files may not be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 200), hard))
    server = serve()
    before = memory(server.pid)
    readers: list[Reader] = []
    try:
        for _ in range(MANY):
            readers.append(Reader(server.url, "/events?status=done"))
        opened = memory(server.pid)
        assert opened - before < MANY * PER_STREAM
        for _ in range(3):
            (id,) = submit(server)
            assert {reader.next().data["id"] for reader in readers} == {id}
        assert memory(server.pid) - opened < MANY * PER_STREAM / 4
        server.kill(signal.SIGTERM)
        for reader in readers:
            with pytest.raises(Ended) as ended:
                reader.next()
            assert ended.value.clean
        assert server.wait() == 0
    finally:
        for reader in readers:
            reader.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid: int) -> int:
    """Bytes a process has in memory."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
