"""Handlers that do their worst harm themselves alone: not the web, not the leases, not the tasks beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox.client import Client, Prober, outcomes, shown, write_type
from tests.blackbox.server import Server

Serve = Callable[..., Server]

LEASE = ("--lease", "3", "--drain-timeout", "0")
BLOCKED = 9.0  # seconds a handler blocks: longer than a lease
NEIGHBOURS = 4  # well-behaved tasks beside a bad one

HANDLERS = """
import ctypes, os, re, sys, time
from dolgo import task

def hold_the_gil(seconds):
    end = time.monotonic() + seconds
    length = 20
    while (begun := time.monotonic()) < end:  # one call in C that takes about as long as is left
        re.match(r"(a+)+b", "a" * length)
        took = time.monotonic() - begun
        while took * 2 < end - time.monotonic() and took < seconds:
            length, took = length + 1, took * 2

@task
async def blocks_the_loop(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"

@task
def blocks(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"

@task
async def holds_the_gil_of_the_loop(seconds: float) -> str:
    hold_the_gil(seconds)
    return "held"

@task
def holds_the_gil(seconds: float) -> str:
    hold_the_gil(seconds)
    return "held"

@task
async def exits_async(code: int) -> None:
    os._exit(code)

@task
def exits(code: int) -> None:
    os._exit(code)

@task
async def crashes_async() -> None:
    ctypes.string_at(0)

@task
def crashes() -> None:
    ctypes.string_at(0)

@task
async def raises_system_exit_async(code: int) -> None:
    raise SystemExit(code)

@task
def raises_system_exit(code: int) -> None:
    sys.exit(code)

@task
async def raises_interrupt_async() -> None:
    raise KeyboardInterrupt

@task
def raises_interrupt() -> None:
    raise KeyboardInterrupt

@task
def naps(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"
"""


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    write_type(tmp_path, "handlers", HANDLERS)
    return serve("--slots", "12", *LEASE)


def neighbours(client: Client) -> list[str]:
    """Tasks that run while something bad happens, of both kinds, all begun."""
    ids = client.batch("long_task", [{"seconds": 1}] * NEIGHBOURS) + client.batch("naps", [{"seconds": 1}] * NEIGHBOURS)
    for id in ids:
        client.begun(id)
    return ids


def assert_unharmed(client: Client, ids: list[str], *, lost: int, within: float = 10.0) -> None:
    """All ended as they should; those that shared a child with a bad one may have been lost with it so many times, uncharged."""
    for id in ids:
        task = client.end(id, within)
        assert (task["status"], task["error"]) == ("done", None), shown(task)
        most = lost if task["type"] == "long_task" else 0
        assert outcomes(task)[-1] == "done", shown(task)
        assert outcomes(task)[:-1] in [["lost"] * times for times in range(most + 1)], shown(task)


@pytest.mark.parametrize("type", ["blocks_the_loop", "holds_the_gil_of_the_loop", "blocks", "holds_the_gil"])
def test_a_handler_that_blocks_longer_than_a_lease_runs_once_and_delays_no_task_that_comes(type: str, server: Server) -> None:
    seconds = 2 * BLOCKED if type == "holds_the_gil_of_the_loop" else BLOCKED
    with Client(server.url, timeout=20) as client, Prober(server.url):
        beside = neighbours(client)
        bad = client.submit(type, {"seconds": seconds})
        client.begun(bad)
        later = client.batch("long_task", [{"seconds": 0.1}] * NEIGHBOURS)
        for id in later:
            assert client.end(id, within=seconds - 1)["status"] == "done"  # while the bad one still blocks
        assert client.task(bad)["status"] == "in_progress"
        assert_unharmed(client, beside, lost=0, within=2 * seconds)
        ended = client.end(bad, within=2 * seconds)
        assert (ended["status"], outcomes(ended), ended["attempt"]) == ("done", ["done"], 1), shown(ended)


@pytest.mark.parametrize(
    ("type", "payload", "how"),
    [
        ("exits_async", {"code": 3}, "exited with code 3"),
        ("exits", {"code": 3}, "exited with code 3"),
        ("exits", {"code": 0}, "exited with code 0"),
        ("crashes_async", {}, "was killed by SIGSEGV"),
        ("crashes", {}, "was killed by SIGSEGV"),
    ],
)
def test_a_handler_that_ends_its_process_fails_after_three_and_takes_nobody_along(
    type: str, payload: dict[str, Any], how: str, server: Server
) -> None:
    with Client(server.url) as client, Prober(server.url):
        beside = neighbours(client)
        bad = client.end(client.submit(type, payload), within=20)
        assert (bad["status"], bad["error"]["code"]) == ("failed", "worker_lost"), shown(bad)
        assert how in bad["error"]["message"]
        in_company = type.endswith("async")  # that death says nothing of whose fault it was, so it is not counted
        assert outcomes(bad) == ["lost"] * (4 if in_company else 3)
        assert_unharmed(client, beside, lost=1 if in_company else 0)
        assert client.end(client.submit("long_task", {"seconds": 0}))["attempt"] == 1
        assert client.end(client.submit("naps", {"seconds": 0}))["attempt"] == 1


@pytest.mark.parametrize("kind", ["raises_system_exit_async", "raises_system_exit", "raises_interrupt_async", "raises_interrupt"])
def test_a_handler_that_raises_what_ends_programs_fails_alone(kind: str, server: Server) -> None:
    with Client(server.url) as client, Prober(server.url):
        beside = neighbours(client)
        before = server.children()
        bad = client.end(client.submit(kind, {"code": 3} if "exit" in kind else {}))
        assert (bad["status"], bad["error"]["code"], outcomes(bad)) == ("failed", "handler_error", ["failed"]), shown(bad)
        assert bad["error"]["type"] in ("SystemExit", "KeyboardInterrupt")
        assert_unharmed(client, beside, lost=0)
        assert set(before) <= set(server.children())  # no child ended for it
