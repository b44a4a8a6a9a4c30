"""What is found in a SQLite store, each fault made for real."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dolgo.store.findings import Finding, Level
from dolgo.store.sqlite import SqliteStore, doctor
from tests.blackbox.server import DOLGO, Process
from tests.missing import missing
from tests.store.build import submit, task

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one queued task."""
    asyncio.run(fill(tmp_path / "dolgo.db"))
    return tmp_path / "dolgo.db"


async def fill(path: Path) -> None:
    store = SqliteStore(str(path))
    await store.open()
    await submit(store, task())
    await store.close()


def found(path: Path, *, full: bool = False) -> dict[str, Finding]:
    """The findings by check, of which each says one thing."""
    findings = doctor.examine(str(path), full=full)
    by_check = {finding.check: finding for finding in findings}
    assert len(by_check) == len(findings)
    return by_check


def bad(path: Path) -> dict[str, str]:
    """What is bad, by check."""
    findings = found(path).values()
    assert all(finding.advice for finding in findings if finding.level is not Level.OK)
    return {finding.check: finding.found for finding in findings if finding.level is Level.BAD}


def test_nothing_is_bad_in_a_store_as_dolgo_makes_it_and_every_check_speaks(path: Path) -> None:
    assert bad(path) == {}
    assert list(found(path)) == [*doctor.FILE, *doctor.DATA]


def test_looking_leaves_a_store_as_it_is(path: Path) -> None:
    before = path.read_bytes(), path.stat().st_mtime_ns
    found(path, full=True)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_looking_leaves_the_log_of_a_server_that_was_killed(path: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE more (a)")
        for name in ("dolgo.db", "dolgo.db-wal"):
            (killed / name).write_bytes((tmp_path / name).read_bytes())
    before = (killed / "dolgo.db-wal").read_bytes()
    found(killed / "dolgo.db", full=True)
    assert before
    assert (killed / "dolgo.db-wal").read_bytes() == before


def test_a_file_that_is_not_there_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    assert bad(tmp_path / "dolgo.db") == {}
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one(tmp_path: Path) -> None:
    assert list(bad(tmp_path / "no" / "dolgo.db")) == ["file"]


def test_a_folder_in_place_of_the_file_is_one(tmp_path: Path) -> None:
    assert bad(tmp_path)["file"].endswith("is no file")


def test_a_database_of_another_program_is_named(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE event (seq, time)")
    os.chmod(tmp_path / "other.db", 0o600)
    assert bad(tmp_path / "other.db") == {"contents": "a database of another program"}


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this was never a database " * 100)
    assert bad(tmp_path / "text") == {"contents": "the file is no SQLite database"}


def test_a_newer_file_asks_for_a_newer_dolgo(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "written by a newer dolgo (data version 99" in bad(path)["contents"]


def test_a_damaged_file_is_found_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'task_created'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    assert "damaged" in bad(path)["damage"]


def test_a_large_file_is_read_through_only_if_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKED_SIZE", 1000)
    assert "--full" in found(path)["damage"].found
    assert found(path, full=True)["damage"].found == "none found"


def test_files_that_others_may_open_are_named(path: Path) -> None:
    path.chmod(0o644)
    said = found(path)["privacy"]
    assert said.level is Level.WARN
    assert "dolgo.db:" in said.found


def test_a_folder_open_to_all_is_named(path: Path) -> None:
    path.parent.chmod(0o777)
    assert found(path)["privacy"].level is Level.WARN


def test_files_of_different_users_are_named(path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root may give a file away")
    os.chown(path, NOBODY, -1)
    assert f"different users (0, {NOBODY})" in bad(path)["access"]


def test_a_user_who_may_not_open_it_is_told() -> None:
    looks = "import os, sys\nfrom dolgo.store.sqlite import doctor\n"
    if os.geteuid() == 0:  # who may everything
        looks += f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    looks += "print(*(finding.check for finding in doctor.examine(sys.argv[1], full=False) if finding.level == 'bad'))"
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folder is shut to others
        path = Path(folder) / "dolgo.db"
        asyncio.run(fill(path))
        Path(folder).chmod(0o755)
        path.chmod(0o600 if os.geteuid() == 0 else 0)
        ran = subprocess.run([sys.executable, "-c", looks, str(path)], capture_output=True, text=True, timeout=40, check=True)
    assert {"access", "contents"} <= set(ran.stdout.split())


def test_a_second_name_of_the_file_is_found(path: Path) -> None:
    os.link(path, path.with_name("copy.db"))
    assert "2 names" in bad(path)["file"]


def test_a_clock_that_was_set_back_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE event SET time = time + 3600")
    assert "in the future" in bad(path)["clock"]


def test_tasks_without_a_worker_are_said(path: Path) -> None:
    said = found(path)["workers"]
    assert (said.level, said.found) == (Level.WARN, "workers alive: 0; tasks queued: 1")


@pytest.fixture
def holder(path: Path) -> Iterator[Process]:
    """Another process that has the store open."""
    script = "import sqlite3, sys, time\nfile = open(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(600)"
    process = Process([sys.executable, "-c", script, str(path)], path.parent, ready="open", name="holder").ready()
    yield process
    process.close()


def test_a_process_that_has_it_open_is_named(path: Path, holder: Process) -> None:
    assert found(path)["opened"].found == f"open in process {holder.pid}"


def test_a_process_that_writes_to_a_deleted_file_is_found(path: Path, holder: Process) -> None:
    path.unlink()
    assert f"process {holder.pid} writes to a database that was deleted" in bad(path)["opened"]


def test_a_library_with_the_fault_is_named_and_one_without_is_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {}
    for version in ((3, 40, 1), (3, 44, 5), (3, 44, 6), (3, 46, 0), (3, 50, 7), (3, 51, 2), (3, 51, 3), (3, 53, 0)):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        levels[version] = found(path)["SQLite"].level
    assert [version for version, level in levels.items() if level is Level.OK] == [
        (3, 44, 6),
        (3, 50, 7),
        (3, 51, 3),
        (3, 53, 0),
    ]


def test_a_small_disk_of_memory_is_said_to_be_both(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = 'mount -t tmpfs -o size=3m none "$0" && echo mounted >&2 && exec "$1" doctor --store "sqlite:///$0/dolgo.db" --json'
    ran = subprocess.run(
        ["unshare", "--mount", *user, "sh", "-c", script, str(disk), DOLGO], capture_output=True, text=True, timeout=40
    )
    if "mounted" not in ran.stderr:
        missing(f"no disk can be mounted: {ran.stderr}")
    assert ran.returncode == 1
    assert f'{{"check":"file system","level":"warn","found":"tmpfs at {disk} is memory' in ran.stdout
    assert '{"check":"disk","level":"bad","found":"3.0 MiB of 3.0 MiB free"' in ran.stdout


def test_a_log_that_nobody_copies_back_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LARGE_LOG", 100)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE more (a)")
        assert found(path)["log"].level is Level.WARN
