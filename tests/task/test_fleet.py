"""Which workers there are, and which of them are certainly dead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from dolgo.errors import NotFound, StoreUnavailable
from dolgo.store.base import Store
from dolgo.task import fleet as fleet_room
from dolgo.task.fleet import Fleet, birth, is_gone, this_host
from dolgo.task.types import Put, WorkerInfo
from tests.store.clock import Clock
from tests.task.wrapped import Wrapped, at_first, lose_the_answer

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


@pytest.mark.anyio
async def test_a_worker_that_is_to_drain_hears_of_it_by_its_next_heartbeat(store: Store, clock: Clock) -> None:
    mine, other = Fleet(store), Fleet(store)
    assert not await mine.announce(worker(), every=10.0)
    clock.advance(5)
    assert await mine.is_running("w1")
    assert (await other.drain("w1")).info.state == "draining"
    assert [seen.info.state for seen in await mine.all()] == ["draining"]  # before the worker has heard of it
    assert not await mine.is_running("w1")
    assert await mine.announce(worker(), every=10.0)
    assert not await mine.announce(worker(state="draining"), every=10.0)
    assert [seen.info.state for seen in await mine.all()] == ["draining"]


@pytest.mark.anyio
async def test_a_worker_that_was_asked_to_drain_is_gone_no_later_if_it_is_dead(store: Store, clock: Clock) -> None:
    await Fleet(store).announce(worker(), every=10.0)
    clock.advance(25)
    await Fleet(store).drain("w1")
    clock.advance(5.5)
    assert await Fleet(store).all() == []


@pytest.mark.anyio
async def test_asking_again_changes_nothing(store: Store) -> None:
    mine, other = Fleet(store), Fleet(store)
    await mine.announce(worker(), every=10.0)
    await asyncio.gather(*(other.drain("w1") for _ in range(5)))
    assert await mine.announce(worker(), every=10.0)
    await mine.announce(worker(state="drained"), every=10.0)
    assert (await other.drain("w1")).info.state == "drained"
    assert not await mine.announce(worker(state="drained"), every=10.0)


@pytest.mark.anyio
@pytest.mark.parametrize("id", ["w", "w11", ""])
async def test_nobody_drains_a_worker_that_is_not_there(id: str, store: Store) -> None:
    await Fleet(store).announce(worker(), every=10.0)
    with pytest.raises(NotFound):
        await Fleet(store).drain(id)
    assert await Fleet(store).is_running("w1")


@pytest.mark.anyio
async def test_a_heartbeat_whose_answer_was_lost_is_no_wish(store: Store) -> None:
    wrapped = Wrapped(store)
    fleet = Fleet(wrapped.store)
    await fleet.announce(worker(), every=10.0)
    wrapped.hooks["put"] = at_first(2, lose_the_answer)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await fleet.announce(worker(), every=10.0)
    assert not await fleet.announce(worker(), every=10.0)
    await Fleet(store).drain("w1")
    assert await fleet.announce(worker(), every=10.0)


@pytest.mark.anyio
async def test_a_worker_whose_record_has_expired_comes_back(store: Store, clock: Clock) -> None:
    fleet = Fleet(store)
    await fleet.announce(worker(), every=10.0)
    await fleet.announce(worker(), every=10.0)
    clock.advance(31)
    assert await fleet.all() == []
    assert await fleet.is_running("w1")
    assert not await fleet.announce(worker(), every=10.0)
    assert [seen.info.id for seen in await fleet.all()] == ["w1"]
    await Fleet(store).drain("w1")
    assert await fleet.announce(worker(), every=10.0)


@pytest.mark.anyio
async def test_a_record_of_a_worker_of_an_older_version_can_be_read(store: Store) -> None:
    old = msgspec.to_builtins(worker())
    del old["unfit"]
    await store.put([Put("worker/w1", msgspec.json.encode(old | {"later": 1}), None, 10.0)])
    assert [seen.info for seen in await Fleet(store).all()] == [worker()]


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


def test_of_another_container_on_this_host_nobody_can_tell() -> None:
    """Same host name, same boot, equal pids: but a pid namespace of its own."""
    host, boot, namespace = HOST.split("/")
    assert namespace.startswith("pid:[")
    container = worker(pid=2**22 + 1, boot=f"{host}/{boot}/pid:[1]")
    assert not is_gone(container, HOST)
    assert is_gone(worker(pid=2**22 + 1), HOST)


def test_a_worker_whose_birth_nobody_knows_is_not_gone() -> None:
    assert not is_gone(worker(pid=2**22 + 1, birth=0.0), HOST)


IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
SAYS_HOST = "from dolgo.task.fleet import this_host; print(this_host())"


def host_in_a_namespace(*options: str) -> str:
    """What a process in a pid namespace of its own takes for its system."""
    made = [*IN_A_NAMESPACE, *options]
    if subprocess.run([*made, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make pid namespaces")
    return subprocess.run([*made, sys.executable, "-c", SAYS_HOST], capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_in_a_pid_namespace_of_its_own_is_on_another_system() -> None:
    theirs = host_in_a_namespace("--mount-proc")
    assert theirs.rpartition("/")[0] == HOST.rpartition("/")[0]
    assert theirs != HOST


def test_a_process_that_sees_the_proc_of_another_namespace_looks_up_no_pid_there() -> None:
    assert host_in_a_namespace() == ""


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
