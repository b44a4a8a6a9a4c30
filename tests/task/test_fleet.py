"""Which workers there are, and which of them are certainly dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dolgo.store.base import Store
from dolgo.task import fleet as fleet_room
from dolgo.task.fleet import Fleet, birth, is_gone, this_host
from dolgo.task.types import WorkerInfo
from tests.store.clock import Clock

HOST = this_host()


def worker(**changes: Any) -> WorkerInfo:
    """A worker as it announces itself; without changes, this very process."""
    fields: dict[str, Any] = {
        "id": "w1", "host": "here", "pid": os.getpid(), "version": "1", "state": "running", "queues": None,
        "types": (("echo", "h"),), "broken": (), "slots": 5, "lease": 30.0, "started_at": 1.0, "boot": HOST,
        "birth": birth(os.getpid()),
    }  # fmt: skip
    return WorkerInfo(**(fields | changes))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.anyio
async def test_a_worker_is_there_until_it_has_missed_three_heartbeats(store: Store, clock: Clock) -> None:
    fleet = Fleet(store)
    await fleet.announce(worker(), every=10.0)
    await fleet.announce(worker(id="w2"), every=20.0)
    heard_at = clock.now
    clock.advance(29)
    assert [(seen.info.id, seen.heartbeat_at) for seen in await fleet.all()] == [("w1", heard_at), ("w2", heard_at)]
    clock.advance(2)
    await fleet.announce(worker(id="w2", state="draining"), every=20.0)
    (seen,) = await fleet.all()
    assert (seen.info, seen.heartbeat_at) == (worker(id="w2", state="draining"), clock.now)


@pytest.mark.anyio
async def test_a_worker_that_left_is_not_there(store: Store) -> None:
    fleet = Fleet(store)
    await fleet.announce(worker(), every=10.0)
    await fleet.announce(worker(id="w2"), every=10.0)
    await fleet.leave(["w1", "never there"])
    assert [seen.info.id for seen in await fleet.all()] == ["w2"]


def test_this_process_is_not_gone() -> None:
    assert HOST
    assert not is_gone(worker(), HOST)


def test_a_process_is_gone_when_it_has_ended(sleeper: subprocess.Popen[bytes]) -> None:
    info = worker(pid=sleeper.pid, birth=birth(sleeper.pid))
    assert not is_gone(info, HOST)
    sleeper.kill()
    sleeper.wait()
    assert is_gone(info, HOST)


def test_a_zombie_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    info = worker(pid=sleeper.pid, birth=birth(sleeper.pid))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(info, HOST)


def test_a_stopped_process_is_not_gone(sleeper: subprocess.Popen[bytes]) -> None:
    info = worker(pid=sleeper.pid, birth=birth(sleeper.pid))
    os.kill(sleeper.pid, 19)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED)
    assert not is_gone(info, HOST)


def test_a_pid_that_another_process_has_by_now_does_not_stand_for_the_worker(sleeper: subprocess.Popen[bytes]) -> None:
    born = birth(sleeper.pid)
    assert born is not None
    assert is_gone(worker(pid=sleeper.pid, birth=born - 100), HOST)


def test_of_another_system_nobody_can_tell() -> None:
    assert not is_gone(worker(pid=2**22 + 1, boot="elsewhere"), HOST)
    assert not is_gone(worker(pid=2**22 + 1, boot=""), "")


def test_a_process_that_only_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(fleet_room, "birth", lambda pid: None)
    assert is_gone(worker(pid=2**22 + 1), HOST)
    monkeypatch.setattr(os, "kill", kill)
    assert not is_gone(worker(pid=2**22 + 1), HOST)


def test_the_birth_of_a_process_is_read_whatever_its_name(tmp_path: Any) -> None:
    odd = tmp_path / "a) R 1 ("
    os.symlink("/bin/sleep", odd)
    with subprocess.Popen([str(odd), "60"]) as process:
        try:
            born, ours = birth(process.pid), birth(os.getpid())
            assert born is not None
            assert ours is not None
            assert born >= ours
        finally:
            process.kill()


def test_a_process_that_never_was_has_no_birth() -> None:
    assert birth(2**22 + 1) is None
