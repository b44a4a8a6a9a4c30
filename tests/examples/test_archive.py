"""A job that works by steps goes on where it was when what ran it is killed."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import sysconfig
import tarfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.blackbox.server import Process, Server, Worker

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = (
    "asyncio", "collections", "concurrent", "ctypes", "curses", "dbm", "email", "encodings", "html", "http", "importlib", "json",
    "logging", "multiprocessing", "re", "sqlite3", "tomllib", "unittest", "urllib", "wsgiref", "xml", "xmlrpc", "zoneinfo",
)  # fmt: skip
OPTIONS = ("--tasks", str(EXAMPLES / "tasks"), "--lease", "2")


class Written(NamedTuple):
    """Which writing of a file this is."""

    inode: int
    at: int

    @classmethod
    def of(cls, file: Path) -> Written:
        stat = file.stat()
        return cls(stat.st_ino, stat.st_mtime_ns)


class Job:
    """An archive task on a copy of some packages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.source, self.target, self._store = folder / "source", folder / "target", folder / "dolgo.db"
        for package in PACKAGES:
            shutil.copytree(LIBRARY / package, self.source / package, ignore=shutil.ignore_patterns("__pycache__", "test*"))
        body = {"type": "archive", "payload": {"source": str(self.source), "target": str(self.target)}}
        self._url = f"{url}/tasks/{httpx.post(f'{url}/tasks', json=body).raise_for_status().json()['id']}"

    def look(self) -> dict[str, Any]:
        task: dict[str, Any] = httpx.get(self._url, params={"view": "full"}).raise_for_status().json()
        return task

    def half_way(self) -> dict[str, Any]:
        """The task, when it says that half of its steps are done and before all are."""
        while True:
            task = self.look()
            assert task["status"] in ("queued", "in_progress")
            if task["progress"] and task["progress"]["done"] >= len(PACKAGES) / 2:
                return task
            time.sleep(0.01)

    def ended(self) -> dict[str, Any]:
        """The task, once it has ended."""
        httpx.get(self._url, params={"wait": 60}, timeout=70)
        return self.look()

    def stored(self) -> set[str]:
        """The packages whose steps the store has, read from its file."""
        with sqlite3.connect(self._store) as store:
            keys = [key for (key,) in store.execute("SELECT key FROM note WHERE key LIKE 'step/pack %'")]
        store.close()
        return {key.removeprefix("step/pack ") for key in keys}

    def written(self) -> dict[str, Written]:
        """The archives there are."""
        return {file.name.removesuffix(".tar.xz"): Written.of(file) for file in self.target.glob("[!.]*.tar.xz")}

    def check(self, task: dict[str, Any], before: dict[str, Written], stored: set[str]) -> None:
        """It is done by more than one attempt, all of it is there, and no step ran again whose result was stored."""
        assert task["status"] == "done", task["error"]
        assert task["attempt"] == 2
        assert 0 < len(stored) < len(PACKAGES)
        after = self.written()
        assert {name: after[name] for name in stored} == {name: before[name] for name in stored}
        assert {name for name in after if after[name] != before.get(name)} == set(PACKAGES) - stored
        assert [packed["name"] for packed in task["result"]] == [f"{name}.tar.xz" for name in PACKAGES]
        assert task["progress"] == {"done": len(PACKAGES), "total": len(PACKAGES), "note": ""}
        for packed in task["result"]:
            self._check_archive(packed)

    def _check_archive(self, packed: dict[str, Any]) -> None:
        file = self.target / packed["name"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == packed["sha256"]
        assert file.stat().st_size == packed["size"]
        with tarfile.open(file) as packed_files:
            for member in packed_files.getmembers():
                if member.isfile():
                    content = packed_files.extractfile(member)
                    assert content is not None
                    assert content.read() == (self.source / member.name).read_bytes()


@pytest.mark.timeout(120)
def test_a_job_whose_worker_is_killed_goes_on_in_another(tmp_path: Path) -> None:
    with Server(tmp_path, "--slots", "0", *OPTIONS).ready() as server:
        with Worker(tmp_path, *OPTIONS, name="first").ready() as first:
            job = Job(tmp_path, server.url)
            task = job.half_way()
            stored, before = _kill(first, job)
        with Worker(tmp_path, *OPTIONS, name="second").ready():
            ended = job.ended()
    job.check(ended, before, stored)
    assert ended["worker"] != task["worker"]
    assert [attempt["outcome"] for attempt in ended["attempts"]] == ["lost", "done"]


@pytest.mark.timeout(120)
def test_a_job_goes_on_when_all_of_the_service_was_killed(tmp_path: Path) -> None:
    server = Server(tmp_path, *OPTIONS)
    with server.ready():
        job = Job(tmp_path, server.url)
        job.half_way()
        stored, before = _kill(server, job)
        server.start().wait_ready()
        job.check(job.ended(), before, stored)


def _kill(process: Process, job: Job) -> tuple[set[str], dict[str, Written]]:
    """Kill it with its children, and see what is left: the stored steps and the archives."""
    children = process.children()
    process.kill(children=True)
    process.wait()
    assert all(child.gone() for child in children)
    return job.stored(), job.written()
