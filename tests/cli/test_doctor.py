"""`dolgo doctor`: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dolgo.store import disk
from dolgo.store.findings import ok
from tests.cli.conftest import Run, on_terminal
from tests.cli.test_prune import fill
from tests.redis_server import free_port


def judged(ran_out: str) -> dict[str, str]:
    """The level of each check."""
    return {finding["check"]: finding["level"] for finding in json.loads(ran_out)}


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: a library without a known fault, a disk with room, and fast."""
    monkeypatch.setattr(disk, "file_system", lambda mount: None)
    monkeypatch.setattr(disk, "room", lambda folder: ok("room"))
    monkeypatch.setattr(disk, "SLOW_FLUSH", 60.0)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 53, 0))


@pytest.mark.usefixtures("sound")
def test_a_store_in_order_is_all_well_and_exits_with_0(alone: Run, at: Path) -> None:
    asyncio.run(fill(at / "dolgo.db", ended=1, unfinished=0))
    ran = alone("doctor", "--strict", "--json")
    assert (ran.code, ran.err) == (0, ""), ran
    assert set(judged(ran.out).values()) == {"ok"}
    assert alone("doctor").err == "dolgo: sqlite:///dolgo.db: all is well\n"


def test_each_finding_is_a_line_with_what_to_do(alone: Run) -> None:
    ran = alone("doctor", "--store", "memory://")
    assert ran.code == 1
    assert ran.out.endswith(
        "bad\tdurability\tall tasks are gone when the process ends. For more than a trial: sqlite:///dolgo.db.\n"
    )
    assert ran.err == "dolgo: memory://: 1 bad, 0 warnings\n"


def test_in_json_what_is_found_and_what_to_do_are_apart(alone: Run) -> None:
    found = json.loads(alone("doctor", "--store", "memory://", "--json").out)
    assert found[-1] == {
        "check": "durability",
        "level": "bad",
        "found": "all tasks are gone when the process ends",
        "advice": "For more than a trial: sqlite:///dolgo.db.",
    }


@pytest.mark.usefixtures("sound")
def test_warnings_exit_with_0_unless_they_are_to_count(alone: Run, at: Path) -> None:
    asyncio.run(fill(at / "dolgo.db", ended=0, unfinished=1))
    ran = alone("doctor")
    assert (ran.code, ran.err) == (0, "dolgo: sqlite:///dolgo.db: 0 bad, 1 warning\n")
    assert alone("doctor", "--strict").code == 1


def test_a_file_that_is_not_there_is_not_made(alone: Run, at: Path) -> None:
    assert alone("doctor").code == 0
    assert not list(at.iterdir())


def test_a_misspelt_variable_is_a_warning(alone: Run, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_DRAIN_TIMEOT", "3")
    ran = alone("doctor")
    assert "DOLGO_DRAIN_TIMEOT (did you mean DOLGO_DRAIN_TIMEOUT?)" in ran.out
    assert ran.code == 0


def test_a_clock_that_lost_its_battery_is_bad(alone: Run, at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    ran = alone("doctor", "--json")
    assert (ran.code, judged(ran.out)["this clock"]) == (1, "bad")


@pytest.mark.parametrize(
    "url", ["postgresql://me:hush@host/db?colour=red", "sqlite://relative", "redis://me:hush@host/0?colour=red"]
)
def test_a_url_that_cannot_be_used_exits_with_2_and_shows_no_password(alone: Run, url: str) -> None:
    ran = alone("doctor", "--store", url)
    assert (ran.code, ran.out) == (2, "")
    assert "hush" not in ran.err
    assert ran.err.count("\n") == 1


def test_a_redis_that_is_not_there_is_bad_and_its_password_not_shown(alone: Run) -> None:
    ran = alone("doctor", "--store", f"redis://me:hush@127.0.0.1:{free_port()}/0")
    assert ran.code == 1
    assert "hush" not in ran.out + ran.err
    assert "bad\tconnection\tredis://me:***@127.0.0.1:" in ran.out


def test_a_postgresql_that_is_not_there_is_bad_and_its_password_not_shown(alone: Run) -> None:
    ran = alone("doctor", "--store", f"postgresql://me:hush@127.0.0.1:{free_port()}/db")
    assert ran.code == 1
    assert "hush" not in ran.out + ran.err
    assert "bad\tconnection\tpostgresql://me:***@127.0.0.1:" in ran.out


@pytest.mark.parametrize(("module", "url"), [("redis", "redis://me:hush@host/0"), ("asyncpg", "postgresql://me:hush@host/db")])
def test_a_store_whose_driver_is_not_there_names_the_extra(tmp_path: Path, module: str, url: str) -> None:
    script = f"import sys; sys.modules[{module!r}] = None; from dolgo.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", script, "doctor", "--store", url]
    ran = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=40)
    assert (ran.returncode, ran.stdout) == (1, "")
    shown, extra = url.replace("hush", "***"), "redis" if module == "redis" else "postgres"
    assert ran.stderr == f"dolgo: The store {shown} needs a package more: pip install 'dolgo[{extra}]'.\n"


def test_on_a_terminal_it_is_a_table() -> None:
    code, shown = on_terminal("stdout", "doctor", "--store", "memory://")
    assert code == 1
    assert "LEVEL" in shown
    assert "FOUND, AND WHAT TO DO" in shown


@pytest.mark.usefixtures("sound")
def test_a_broker_is_looked_at_beside_the_store_and_its_password_is_not_shown(alone: Run, at: Path) -> None:
    asyncio.run(fill(at / "dolgo.db", ended=1, unfinished=0))
    ran = alone("doctor", "--json", "--queue", "amqp://app:hunter2@127.0.0.1:1/")
    assert ran.code == 1, ran
    assert judged(ran.out)["broker"] == "bad"
    assert "hunter2" not in ran.out + ran.err
