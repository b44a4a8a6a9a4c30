"""The pipeline over the standard library adds up right, and says what is wrong when it cannot run."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.blackbox.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = Path(sysconfig.get_path("stdlib"))
CHOSEN = ("argparse", "asyncio", "ctypes", "email", "http", "importlib", "json", "logging", "this", "unittest", "xml")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the example types for all tests here."""
    with Server(tmp_path_factory.mktemp("server"), "--tasks", str(EXAMPLES / "tasks")).ready() as server:
        yield server
        server.close()
        server.show()


def library(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "library.py"), "--server", url, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def files(package: str) -> list[Path]:
    single = LIBRARY / f"{package}.py"
    return [single] if single.exists() else list((LIBRARY / package).rglob("*.py"))


def keywords(path: Path) -> Counter[str]:
    """How often each name and keyword stands in a file, by the tokenizer: the example goes by the syntax tree."""
    tokens = tokenize.tokenize(io.BytesIO(path.read_bytes()).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.NAME)


def numbers(report: str) -> dict[str, int]:
    """The rows of the report's tables."""
    return {name: int(number.replace(",", "")) for name, number in re.findall(r"^\| (\S+) \| ([\d,]+) \|$", report, re.MULTILINE)}


@pytest.mark.timeout(120)
def test_a_report_of_packages_counts_right(server: Server, tmp_path: Path) -> None:
    ran = library(server.url, *CHOSEN, "--out", str(tmp_path / "report.md"))
    assert ran.returncode == 0, ran.stderr
    told = numbers((tmp_path / "report.md").read_text())
    paths = [path for package in CHOSEN for path in files(package)]
    words = sum(map(keywords, paths), Counter[str]())
    lines = {package: sum(path.read_text("utf-8").count("\n") for path in files(package)) for package in CHOSEN}
    right = {
        "packages": len(CHOSEN),
        "files": len(paths),
        "lines": sum(lines.values()),
        "functions": words["def"],
        "classes": words["class"],
        "imports": words["import"],  # one in each statement, `from` or not
    }
    assert {name: told[name] for name in right} == right
    largest = sorted(lines, key=lambda package: -lines[package])[:10]
    assert {package: told[package] for package in largest} == {package: lines[package] for package in largest}
    assert told["sys"] == sum(any(imports(path, "sys") for path in files(package)) for package in CHOSEN)
    assert re.search(rf"Measuring .*100%.* {len(CHOSEN) + 2}/{len(CHOSEN) + 2}", ran.stderr)


def imports(path: Path, module: str) -> bool:
    statement = rf"^\s*(import ([\w., ]+, *)?{module}\b|from {module}[. ])"
    return re.search(statement, path.read_text("utf-8"), re.MULTILINE) is not None


def test_a_report_is_printed_unless_it_is_to_be_written(server: Server) -> None:
    ran = library(server.url, "json", "this")
    assert ran.returncode == 0, ran.stderr
    assert "The standard library" in ran.stdout
    assert re.search(r"packages +2\b", ran.stdout)


@pytest.mark.timeout(120)
def test_files_that_cannot_be_read_are_told_of_and_not_counted(server: Server, tmp_path: Path) -> None:
    package = tmp_path / "odd"
    package.mkdir()
    (package / "good.py").write_text("import os\n")
    (package / "print.py").write_text("def f():\n    print 1\n")
    (package / "bytes.py").write_bytes(b"x = '\xff'\n")
    (package / "escape.py").write_text("'\\d'\n")
    body = {"type": "measure_package", "payload": {"path": str(package)}}
    task = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json=body, timeout=30).json()
    result = task["result"]
    assert result["unreadable"] == [str(package / "bytes.py"), str(package / "print.py")]
    assert (result["files"], result["lines"], result["functions"], result["imports"]) == (2, 2, 0, 1)
    log = httpx.get(f"{server.url}/tasks/{task['id']}/logs").json()
    assert ["2 files cannot be read" in line["text"] for line in log["lines"]] == [True]


def test_a_package_that_is_gone_fails_and_cancels_what_depends_on_it(server: Server, tmp_path: Path) -> None:
    tasks = [
        {"type": "measure_package", "payload": {"path": str(tmp_path)}, "ref": "empty"},
        {"type": "collect_packages", "depends_on": ["ref:empty"]},
    ]
    answer = httpx.post(f"{server.url}/tasks/batch", json={"tasks": tasks}).json()
    first, second = [
        httpx.get(f"{server.url}/tasks/{task['id']}", params={"wait": 20}, timeout=30).json() for task in answer["tasks"]
    ]
    assert (first["status"], second["status"]) == ("failed", "cancelled")
    assert "has no Python files" in first["error"]
    assert first["id"] in second["error"]


def test_a_name_that_the_library_has_not_is_told(server: Server) -> None:
    ran = library(server.url, "json", "jsonn")
    assert ran.returncode == 1
    assert ran.stderr == "The standard library has no source of jsonn.\n"


def test_it_says_what_to_do_when_nobody_answers() -> None:
    ran = library("http://127.0.0.1:9")
    assert ran.returncode == 1
    assert "make run" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_it_says_what_the_server_says(tmp_path: Path) -> None:
    with Server(tmp_path).ready() as server:  # without the example types
        ran = library(server.url, "json")
    assert ran.returncode == 1
    assert "measure_package" in ran.stderr
    assert "Traceback" not in ran.stderr
