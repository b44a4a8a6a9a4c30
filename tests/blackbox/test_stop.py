"""Stopping: what runs may end, the rest is given back, and a second signal does not wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, outcomes, until, write_type
from tests.blackbox.server import Process, Server, Worker

Serve = Callable[..., Server]

DRAIN = 2.0  # seconds
SPARE = 15.0  # seconds over the time to drain in which it is gone; what only ran out of time on the way says so in its log
LONG = 60.0  # seconds to drain, of a service that is seen not to wait for them
AT_ONCE = 15.0  # seconds: a machine may be busy, and the time to drain is far longer
SOON = 15.0  # seconds for what is seen at once on a machine with nothing else to do
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])

HANDLERS = """
import time
from dolgo import task

@task
def blocks(seconds: float, mark: str) -> str:
    with open(mark, "w"):
        time.sleep(seconds)
    return "slept"
"""


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    """With a slot for each kind of task a test begins, and none for those that are to wait."""
    write_type(tmp_path, "handlers", HANDLERS)
    return serve("--slots", "4", "--drain-timeout", str(DRAIN))


@pytest.fixture
def patient(serve: Serve, tmp_path: Path) -> Server:
    """As `server`, with so much time to drain that waiting for it cannot be taken for a slow machine."""
    write_type(tmp_path, "handlers", HANDLERS)
    return serve("--slots", "4", "--drain-timeout", str(LONG))


def ask_to_stop(process: Process, number: int) -> None:
    """As it is done: Ctrl-C signals the process group of the terminal, a service manager all that it finds in a control group."""
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
        return
    for child in process.children():
        child.kill(number)
    process.kill(number)


def ended_well(process: Process) -> None:
    """It ended by itself, and nothing on the way took as long as it may at most."""
    assert process.wait(DRAIN + SPARE) == 0
    for trouble in ("Traceback", "could not", "time ran out"):
        assert trouble not in process.said()


def begin(client: Client, folder: Path) -> dict[str, str]:
    """A short and a long task of either kind, all begun, and one that waits for a slot."""
    marks = [folder / "short.mark", folder / "long.mark"]
    ids = {
        "short": client.submit("long_task", {"seconds": 1}),  # may have ended before the signal where the machine is busy
        "short blocking": client.submit("blocks", {"seconds": 1, "mark": str(marks[0])}),
        "long": client.submit("long_task", {"seconds": 60}),
        "long blocking": client.submit("blocks", {"seconds": 60, "mark": str(marks[1])}),
    }
    for id in (ids["long"], ids["long blocking"]):
        client.begun(id)
    until(lambda: all(mark.exists() for mark in marks), SOON, "the single children run them")
    until(lambda: client.task(ids["short"])["attempt"], SOON, "the short one begins")
    return {**ids, "waiting": client.submit("long_task", {"seconds": 0})}


@BOTH
def test_a_signal_lets_short_tasks_end_and_gives_long_ones_back(number: int, server: Server, tmp_path: Path) -> None:
    with Client(server.url) as client:
        ids = begin(client, tmp_path)
        children = server.children()
        begun = time.monotonic()
        ask_to_stop(server, number)
        until(lambda: client.http.get("/readyz").status_code == 503, DRAIN, "it is not ready any more")
        assert client.http.get("/livez").status_code == 200
        assert client.task(ids["long"])["status"] == "in_progress"  # requests are answered
        submitted = client.submit("long_task", {"seconds": 0})  # and taken up
        assert client.task(submitted)["status"] == "queued"  # but nothing new begins
    ended_well(server)
    assert time.monotonic() - begun >= DRAIN  # the long ones had all of it
    assert not [child.command for child in children if not child.gone(SOON)]
    with Client(server.start().wait_ready().url) as client:
        for name in ("short", "short blocking"):
            assert outcomes(client.end(ids[name])) == ["done"]
        assert outcomes(client.end(ids["waiting"])) == ["done"]
        assert client.end(submitted)["status"] == "done"
        for name in ("long", "long blocking"):
            task = client.begun(ids[name])
            assert (outcomes(task), task["error"]) == (["given_back", None], None)
            assert task["attempt"] == 2


def test_what_is_given_back_is_free_at_once_and_not_charged(server: Server) -> None:
    with Client(server.url) as client:
        id = client.submit("long_task", {"seconds": 60})
        client.begun(id)
        server.kill(signal.SIGTERM)
    ended_well(server)
    server.argv += ["--slots", "0"]  # nobody claims it
    with Client(server.start().wait_ready().url) as client:
        task = client.task(id)
        assert (task["status"], outcomes(task), task["worker"]) == ("queued", ["given_back"], None)
        assert client.get("/workers") == {"workers": []}  # it said goodbye


def test_with_nothing_to_do_it_ends_at_once(patient: Server) -> None:
    patient.kill(signal.SIGTERM)
    assert patient.wait(AT_ONCE) == 0


def test_waits_are_answered_as_things_stand(patient: Server) -> None:
    answers: list[Any] = []
    with Client(patient.url, timeout=30) as client:
        id = client.submit("long_task", {"seconds": 60})
        client.begun(id)
        asked = threading.Thread(target=lambda: answers.append(client.http.get(f"/tasks/{id}?wait=30")))
        asked.start()
        time.sleep(0.2)  # not to be lucky: whether it waits already or asks later, the answer is the same
        patient.kill(signal.SIGTERM)
        asked.join(AT_ONCE)
        assert patient.running  # it drains still
        assert answers[0].json() == {"id": id, "status": "in_progress"}
    patient.kill(signal.SIGTERM)
    patient.wait(AT_ONCE)


@BOTH
def test_a_second_signal_does_not_wait(number: int, patient: Server, tmp_path: Path) -> None:
    with Client(patient.url) as client:
        ids = begin(client, tmp_path)
        children = patient.children()
        ask_to_stop(patient, number)
        until(lambda: client.http.get("/readyz").status_code == 503, SOON, "it has heard the first")
    begun = time.monotonic()
    ask_to_stop(patient, number)
    patient.wait(AT_ONCE)
    assert not [child.command for child in children if not child.gone(max(0.0, begun + AT_ONCE - time.monotonic()))]
    assert "Traceback" not in patient.said()
    with Client(patient.start().wait_ready().url) as client:
        for name in ("short", "short blocking", "waiting"):
            assert client.end(ids[name])["status"] == "done"  # none was lost


def test_a_worker_alone_drains_the_same_way(serve: Serve, worker: Callable[..., Worker], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    alone = worker("--slots", "4", "--drain-timeout", str(DRAIN))
    with Client(serve("--slots", "0").url) as client:
        ids = begin(client, tmp_path)
        ask_to_stop(alone, signal.SIGTERM)
        until(lambda: client.get("/workers")["workers"][0]["state"] == "draining", DRAIN, "it says that it drains")
        ended_well(alone)
        assert [client.task(ids[name])["status"] for name in ("short", "short blocking")] == ["done", "done"]
        assert [client.task(ids[name])["status"] for name in ("long", "long blocking", "waiting")] == ["queued"] * 3
        assert client.get("/workers") == {"workers": []}
