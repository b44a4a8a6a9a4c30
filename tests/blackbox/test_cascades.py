"""`kill -9` in the middle of a cascade: whatever was released, cancelled or brought back until then, the rest follows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.blackbox import life
from tests.blackbox.checker import FINAL
from tests.blackbox.client import Client, shown, until, write_type
from tests.blackbox.server import Server

OPTIONS = ("--slots", "50", "--drain-timeout", "0", "--max-losses", "50")
WIDE = 2_500  # dependents of one task; a commit moves 500
DEEP = 300  # tasks of a chain below one of them
AT_REST = 60.0  # seconds

HANDLERS = """
import os
from dolgo import Context, Fail, task

@task
async def quick() -> None:
    pass

@task
async def root(gate: str, ctx: Context) -> None:
    if not os.path.exists(gate):
        raise Fail("the gate is closed")
"""


def tree(gate: Path) -> list[dict[str, Any]]:
    """A root, a wide fan below it, a deep chain below the last of the fan, and one below all of the fan."""
    fan = [{"type": "quick", "ref": f"f{n}", "depends_on": ["ref:root"], "tags": ["fan"]} for n in range(WIDE)]
    above = [f"f{WIDE - 1}", *(f"c{n}" for n in range(DEEP - 1))]
    chain = [{"type": "quick", "ref": f"c{n}", "depends_on": [f"ref:{above[n]}"], "tags": ["chain"]} for n in range(DEEP)]
    last = {"type": "quick", "depends_on": [f"ref:f{n}" for n in range(WIDE)], "tags": ["last"]}
    return [{"type": "root", "ref": "root", "payload": {"gate": str(gate)}, "tags": ["root"], "delay": 3600}, *fan, *chain, last]


def kill_all(server: Server) -> None:
    server.kill(children=True)
    server.wait()
    server.start().wait_ready()


def check(client: Client, expected: dict[str, str]) -> None:
    """All is at rest, no rule is broken, and tasks of a tag have ended like this."""
    until(lambda: not client.counts().keys() - FINAL, AT_REST, "all comes to rest")
    tasks = client.every(view="full")
    assert len(tasks) == WIDE + DEEP + 2
    assert not life.broken(tasks, max_losses=50), shown(life.broken(tasks, max_losses=50))[:2000]
    ended = Counter((task["tags"][0], task["status"]) for task in tasks)
    assert ended.keys() == expected.items(), ended
    assert not list(life.miscounted(tasks, client.get("/queues")["queues"]))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("pause", [0.0, 0.1])  # seconds between the commit that begins a cascade and the kill
def test_a_cascade_that_was_cut_off_is_finished(pause: float, serve: Callable[..., Server], tmp_path: Path) -> None:
    write_type(tmp_path, "handlers", HANDLERS)
    gate, server = tmp_path / "gate", serve(*OPTIONS)
    with Client(server.url) as client:
        answer = client.http.post("/tasks/batch", json={"tasks": tree(gate)})
        assert answer.status_code == 202, answer.text[:500]
        root = answer.json()["tasks"][0]["id"]

        assert client.http.post(f"/tasks/{root}/cancel").status_code == 200
        time.sleep(pause)  # the moment of the kill is what the test is about
        kill_all(server)
        check(client, {"root": "cancelled", "fan": "cancelled", "chain": "cancelled", "last": "cancelled"})

        gate.touch()
        assert client.http.post(f"/tasks/{root}/retry").status_code == 202
        until(lambda: client.get(f"/tasks/{root}")["status"] == "done", 10, "the root is done")
        time.sleep(pause)
        kill_all(server)
        check(client, {"root": "done", "fan": "done", "chain": "done", "last": "done"})
