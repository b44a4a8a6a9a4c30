"""Python on the pages is task types that load, run and answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.blackbox.server import Server
from tests.docs.pages import PAGES, blocks, name, python_files, task_files, write_files, write_task_files
from tests.docs.test_console import shown

LOAD = """
import json
from dolgo.runner.discover import load
loaded = load([])
print(json.dumps([sorted(loaded.registry), [broken.error for broken in loaded.broken]]))
"""
WITH_PYTHON = [page for page in PAGES if task_files(page)]
PROGRAMS = [(page, path) for page in PAGES for path in python_files(page) if "/" not in path]
TESTED = [page for page in PAGES if any(path.startswith("tests/") for path in python_files(page))]
RUNS: list[tuple[str, dict[str, Any], Any]] = [
    ("shout", {"text": "hello", "marks": 2}, {"said": "HELLO!!"}),
    ("primes", {"below": 1000}, {"primes": 168}),
    ("pause", {"seconds": 0, "anything": 1}, 0),
    ("price", {"of": "tea"}, 3.5),
    ("totals", {"lists": [[1, 2], [3]]}, [3, 3]),
    ("price", {"of": "tea"}, 3.5),
    ("totals", {"lists": [[1, 2], [3]]}, [3, 3]),
    ("sum-squares", {"upto": 4, "anything": 1}, 14),
    ("fetch_price", {"symbol": "DLG"}, 4210),
    ("total_price", {}, 0),
    ("parcel", {"items": [{"sku": "ABC-1", "count": 2}, {"sku": "ABC-2"}], "not_before": "2026-01-31"}, 3),
]
SUBMITTED = {"report_words"}  # by a handler


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with every type that a page shows."""
    folder = tmp_path_factory.mktemp("server")
    for page in WITH_PYTHON:
        write_task_files(page, folder)
    with Server(folder).ready() as server:
        yield server


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_every_block_loads_as_a_task_type(page: Path, tmp_path: Path) -> None:
    write_task_files(page, tmp_path)
    ran = subprocess.run([sys.executable, "-c", LOAD], cwd=tmp_path, capture_output=True, text=True, check=True)
    types, broken = json.loads(ran.stdout)
    assert broken == []
    assert len(types) - 2 == len(task_files(page))  # two are built in


def test_a_file_shown_on_several_pages_is_the_same_on_all() -> None:
    seen: dict[str, str] = {}
    for page in WITH_PYTHON:
        for path, text in task_files(page).items():
            assert seen.setdefault(path, text) == text, f"{name(page)}: {path} is another one elsewhere"


@pytest.mark.parametrize(("type", "payload", "result"), RUNS)
def test_what_is_shown_runs(server: Server, type: str, payload: dict[str, Any], result: Any) -> None:
    answer = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json={"type": type, "payload": payload}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"] == result


def test_the_invoice_is_written_once_under_the_tasks_id(server: Server) -> None:
    body = {"type": "invoice", "payload": {"customer": "ACME", "cents": 100}}
    answer = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json=body, timeout=30).json()
    assert answer["result"] == f"invoices/{answer['id']}.json"
    assert [path.name for path in (server.folder / "invoices").iterdir()] == [f"{answer['id']}.json"]


@pytest.mark.parametrize(("page", "path"), PROGRAMS, ids=lambda part: part if isinstance(part, str) else name(part))
def test_a_program_that_is_shown_says_what_is_shown(server: Server, page: Path, path: str, tmp_path: Path) -> None:
    write_files({path: python_files(page)[path]}, tmp_path)
    environ = {**os.environ, "DOLGO_URL": server.url}
    ran = subprocess.run(
        [sys.executable, "-W", "error", path], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50, check=False
    )
    assert ran.returncode == 0, ran.stderr
    shown = blocks(page, "python", "text")
    after = next(place for place, block in enumerate(shown) if block.text.startswith(f"# {path}\n")) + 1
    assert [shown[after].language, shown[after].text] == ["text", ran.stdout]


@pytest.mark.parametrize("page", TESTED, ids=name)
def test_tests_that_are_shown_pass(page: Path, tmp_path: Path) -> None:
    write_files(python_files(page), tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_type_shown_was_run(server: Server) -> None:
    """Here, or by a command of the page that shows it."""
    types = httpx.get(f"{server.url}/types").json()
    assert types["broken"] == []
    commands = " ".join(command for page in WITH_PYTHON for command, _ in shown(page))
    elsewhere = {info["name"] for info in types["types"]} - {run[0] for run in RUNS} - {"invoice", "http_request"}
    assert {name for name in elsewhere if not re.search(rf"\b{name}\b", commands)} == SUBMITTED
