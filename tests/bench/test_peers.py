"""Other task queues are asked through an adapter, and none is believed that loses, doubles or changes a task."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bench import quiet
from bench.errors import Invalid
from bench.peers import lua_floor, on_redis, page, peer_run, report, session, venvs
from bench.peers.broker import Broker
from bench.peers.catalogue import PEERS, Peer
from bench.peers.outcome import Crash, Delivery, Run, delivered
from bench.peers.own_run import Own
from bench.peers.peer_run import ADAPTERS, Bench
from bench.peers.places import PLACES
from bench.peers.scale import QUICK
from bench.place import place
from tests.missing import need

ROOT = Path(__file__).parents[2]
TOY = Peer("toy", "toy")

pytestmark = pytest.mark.timeout(240)  # interpreters are started, on a machine that may be busy


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    need("redis-server")
    with on_redis.running(tmp_path, "none") as found:
        yield found


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the toy is a peer as any other, with this Python as its environment."""
    adapters = tmp_path / "adapters"
    shutil.copytree(ADAPTERS, adapters)
    shutil.copy(Path(__file__).with_name("toy_peer.py"), adapters)
    python = tmp_path / "venvs" / "toy" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(venvs, "HOME", tmp_path / "venvs")
    monkeypatch.setattr(peer_run, "ADAPTERS", adapters)
    return tmp_path


def test_a_peer_that_does_its_tasks_is_measured(toy: Path, broker: Broker) -> None:
    bench = Bench(TOY, broker, toy)
    run = bench.run(300, QUICK)
    assert run.delivery == Delivery(tasks=300, never=0, twice=0, without_result=0)
    assert run.delivery.exact
    assert min(run.enqueue, run.bulk or 0, run.drain) > 0
    assert run.cpu >= 0
    assert run.idle == pytest.approx(0, abs=2)  # a blocked pop is one command for as long as it waits
    assert bench.facts["versions"]["redis"]


def test_a_peer_that_forgets_tasks_makes_its_run_invalid(toy: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_run, "PATIENCE", 4.0)
    with pytest.raises(Invalid, match="270 of 300 results"):
        Bench(TOY, broker, toy, environ={"TOY_LOSES": "10"}).run(300, QUICK)


def test_what_has_no_result_after_a_kill_is_lost(toy: Path, broker: Broker) -> None:
    crash = Bench(TOY, broker, toy, environ={"BENCH_PAUSE": "0.02", "TOY_LOSES": "10"}).crash(100, patience=20)
    first, second = crash.finished_at_kill
    assert 33 <= first < second < 90
    assert 10 <= crash.delivery.without_result <= 12  # what it forgets, and the ones it was at, if it was at one
    assert crash.delivery.twice == 0


def test_an_adapter_that_fails_says_why(toy: Path, broker: Broker) -> None:
    (toy / "adapters" / "toy_peer.py").unlink()
    with pytest.raises(Invalid, match="No module named 'toy_peer'"):
        Bench(TOY, broker, toy)


def test_one_that_fails_is_shown_and_does_not_end_the_run(toy: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_run, "PATIENCE", 4.0)
    monkeypatch.setitem(PEERS, "forgetful", Peer("forgetful", "toy", {"TOY_LOSES": "10"}))
    monkeypatch.setitem(PEERS, "toy", TOY)
    plan = session.Plan(("forgetful", "toy"), ("none",), QUICK, crash=False)
    lines = {line.name: line for line in session.Lane(plan.names, plan, broker, toy, print).measure()}
    assert not lines["forgetful"].runs
    assert "results came into the store" in lines["forgetful"].invalid[0]
    assert len(lines["toy"].runs) == 1
    assert "invalid" in report.rows(lines["forgetful"], PLACES["redis"])[0][-1]


def test_the_ledger_tells_what_was_begun_never_and_twice(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    assert delivered(ledger, 2, without_result=2) == Delivery(2, never=2, twice=0, without_result=2)
    ledger.write_text("0\n1\n1\n3\n1\n")
    seen = delivered(ledger, 4, without_result=0)
    assert seen == Delivery(4, never=1, twice=1, without_result=0)
    assert not seen.exact


def test_the_best_safe_peer_lost_nothing() -> None:
    def line(name: str, drain: float, lost: int) -> session.Line:
        run = Run(1, 1, drain, 1, 1, Delivery(1, 0, 0, 0))
        return session.Line(name, {}, [run], crash=Crash(Delivery(9, 0, 0, lost), [3, 6], 1))

    assert session.best_safe([line("huey", 9, 1), line("arq", 2, 0), line("taskiq", 3, 0), line("dolgo", 99, 0)]) == "taskiq"
    assert session.best_safe([line("huey", 9, 1)]) is None


def test_the_scripts_of_the_floor_end_each_task_once_with_its_result(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = lua_floor.Loop(broker.url)
    loop.submit(250)
    assert loop.drain() == 250
    assert loop.right(250) == 250
    broker.empty()
    loop.submit(250)
    claim = loop._claim
    monkeypatch.setattr(loop, "_claim", lambda keys, words: claim(keys, [words[0], "another's token.", words[2]]))
    assert loop.drain() == 0  # held under another token: nothing is settled
    assert loop.right(250) == 0


def test_a_quick_run_writes_what_it_measured(tmp_path: Path) -> None:
    need("redis-server")
    out = tmp_path / "peers.json"
    argv = [
        sys.executable,
        "-m",
        "bench.peers",
        "--quick",
        "--only",
        "floor",
        "--lane",
        "none",
        "--lane",
        "always",
        "--out",
        str(out),
    ]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Lua alone" in ran.stdout
    lanes = json.loads(out.read_bytes())["lanes"]
    assert [line["name"] for lane in lanes.values() for line in lane] == ["floor", "floor"]
    assert all(floor["right"] == QUICK.tasks for lane in lanes.values() for line in lane for floor in line["floors"])


@pytest.mark.parametrize("peer", PEERS.values(), ids=lambda peer: peer.name)
def test_every_peer_is_pinned_and_says_what_it_is_set_to(peer: Peer) -> None:
    pins = (venvs.REQUIREMENTS / f"{peer.adapter}.txt").read_text().splitlines()
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", pin) for pin in pins), "a name and a version, no address"
    text = (ADAPTERS / f"{peer.adapter}_peer.py").read_text()
    compile(text, peer.adapter, "exec")
    assert all(word in text for word in ("settings = {", "after_a_kill", "packages")), "an adapter says what it sets, and why"


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venvs, "HOME", tmp_path / "bench" / "venvs")
    home = tmp_path / "bench" / "venvs" / "rq"
    home.mkdir(parents=True)
    (home / ".installed").write_text((venvs.REQUIREMENTS / "rq.txt").read_text())
    said: list[str] = []
    assert venvs.ensure("rq", said.append) == home / "bin"
    assert not said
    assert os.listdir(home) == [".installed"]


def test_the_page_shows_what_was_measured_and_says_which_runs_were_invalid() -> None:
    well = Run(900, 4_000, 2_000, 0.0005, 7, Delivery(900, 0, 0, 0), bulk=8_000)
    facts = {"versions": {"a": "1.2"}, "settings": {"--fast": "its manual"}, "bulk": "", "after_a_kill": "comes back"}
    good = session.Line("good", facts, [well], crash=Crash(Delivery(9, 0, 4, 0), [3, 6], 6))
    bad = session.Line("bad", facts, crash=Crash(Delivery(9, 0, 0, 2), [3, 6], 6), invalid=["1 of 3: lost"])
    floor = session.Line("floor", {}, floors=[session.Floor(9, 90_000, 80_000, 70_000, 9)])
    machine = {"cores": 2, "cpu": "c", "system": "s", "python": "3", "redis": "7", "began": "now", "load_average_at_start": 0.1}
    shown = page.filled(page.PAGE.read_text("utf-8"), session.Measured(machine, {"none": [floor, good, bad]}))
    assert "| *Lua alone* |  | 90,000 | 80,000 |" in shown
    assert "| good | 4,000 | 8,000 | 2,000 | 500 µs | 7 | 0 missing, 4 twice, 6 s |" in shown
    assert "| bad |  |  | invalid |  |  | 2 missing, 0 twice, 6 s |" in shown
    assert "| **good**<br>a 1.2 | `--fast`: its manual | none documented | comes back |" in shown
    assert page.filled(shown, session.Measured(machine, {"none": [floor, good, bad]})) == shown


def test_the_figures_on_the_page_are_those_of_the_file_that_is_kept() -> None:
    text = page.PAGE.read_text("utf-8")
    for path in [page.RESULTS / name for name in page.KEPT]:
        if path.exists():
            assert page.filled(text, page.load(path)) == text, path.name


def test_commands_of_others_are_counted_and_those_of_the_looks_are_not(broker: Broker) -> None:
    stop = threading.Event()

    def ping() -> None:
        with redis.Redis.from_url(broker.url) as other:
            for _ in range(20):
                other.ping()
        stop.set()

    watch = quiet.Commands(broker.url)
    assert watch.wait(0) == 0
    thread = threading.Thread(target=ping)
    thread.start()
    seen = watch.wait(1)
    while not stop.is_set():
        seen += watch.wait(1)
    thread.join()
    assert 20 <= seen <= 25  # and what a client says when it connects


def test_each_place_on_a_redis_has_keys_of_its_own() -> None:
    with place("redis://127.0.0.1:1/0") as one, one.another() as other:
        assert one.store.startswith("redis://127.0.0.1:1/0?prefix=bench-")
        assert one.store != other.store
        assert isinstance(quiet.watch(one), quiet.Commands)
    with place() as file:
        assert file.store == f"sqlite:///{file.file}"
        assert isinstance(quiet.watch(file), quiet.Commits)


def test_dolgo_is_drained_and_killed_on_redis(broker: Broker, tmp_path: Path) -> None:
    pytest.importorskip("dolgo.store.redis")
    own = Own(broker, tmp_path)
    run = own.run(1_000, QUICK)
    assert run.delivery == Delivery(1_000, never=0, twice=0, without_result=0)
    assert min(run.enqueue, run.bulk or 0, run.drain, run.cpu, run.idle) > 0
    seen = own.web(QUICK)
    assert min(seen.submit, seen.done, seen.done_p50) > 0
    crash = own.crash(600, patience=20)
    first, second = crash.finished_at_kill
    assert 200 <= first < second < 600
    assert crash.delivery.without_result == crash.delivery.never == 0
    assert crash.delivery.twice > 0  # what the killed one was at
