"""The examples do what they say, on real files and a real server."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.blackbox.server import Server

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the example types for all tests here."""
    with Server(tmp_path_factory.mktemp("server"), "--tasks", str(EXAMPLES / "tasks")).ready() as server:
        yield server
        server.close()
        server.show()


def run(server: Server, type: str, **payload: Any) -> dict[str, Any]:
    """A task that has ended."""
    answer = httpx.post(f"{server.url}/tasks", params={"wait": 20}, json={"type": type, "payload": payload}, timeout=30)
    assert answer.status_code == 200, answer.text
    task: dict[str, Any] = answer.json()
    return task


def quickstart(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / "quickstart.py"), "--server", url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


class Letters(dict[int, int]):
    """A table for str.translate: whatever is no letter becomes a space."""

    def __missing__(self, code: int) -> int:
        self[code] = code if chr(code).isalnum() and not chr(code).isdecimal() else ord(" ")
        return self[code]


def count(files: list[Path]) -> tuple[int, Counter[str]]:
    """Lines and words of the files, counted another way than the example does it."""
    lines = 0
    words: Counter[str] = Counter()
    table = Letters()
    for file in files:
        text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        lines += len(text.removesuffix("\n").split("\n")) if text else 0
        words.update(text.lower().translate(table).split())
    return lines, words


@pytest.mark.timeout(120)
def test_quickstart_counts_the_standard_library_right(server: Server) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for path in library.rglob("*.py") if "-packages" not in str(path.relative_to(library))]
    lines, words = count(files)
    ran = quickstart(server.url)
    assert ran.returncode == 0, ran.stderr
    shown = re.findall(r"│ (\S+) +│ +([\d,.]+) │", ran.stdout)
    best = {name.strip("“”"): number for name, number in shown if name.startswith("“")}
    assert dict(shown[:3]) == {"files": f"{len(files):,}", "lines": f"{lines:,}", "words": f"{words.total():,}"}
    assert list(best.values()) == [f"{number:,}" for _, number in words.most_common(10)]
    assert all(f"{words[word]:,}" == number for word, number in best.items())
    assert shown[3][0] == "seconds"
    assert re.search(rf"Counting .*100%.* {len(files)}/{len(files)}", ran.stderr)


def test_quickstart_says_what_to_do_when_nobody_answers() -> None:
    ran = quickstart("http://127.0.0.1:9")
    assert ran.returncode == 1
    assert "make run" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_quickstart_says_what_the_server_says(tmp_path: Path) -> None:
    with Server(tmp_path).ready() as server:  # without the example types
        ran = quickstart(server.url)
    assert ran.returncode == 1
    assert "count_words" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_words_of_a_text_are_counted(server: Server) -> None:
    assert run(server, "count_words", text="Ä rose is\na ROSE, 42 is_a rose!", top=2)["result"] == {
        "lines": 2,
        "words": 8,
        "frequent": {"rose": 3, "is": 2},
    }


@pytest.mark.parametrize("payload", [{}, {"path": "/dev/null", "text": ""}])
def test_count_words_wants_a_path_or_a_text(server: Server, payload: dict[str, Any]) -> None:
    task = run(server, "count_words", **payload)
    assert task["status"] == "failed"
    assert "either a path or a text" in task["error"]


def test_a_picture_is_scaled(server: Server, tmp_path: Path) -> None:
    picture = tmp_path / "wide.jpg"
    Image.linear_gradient("L").resize((640, 480)).convert("CMYK").save(picture)
    task = run(server, "thumbnail", picture=str(picture), width=64)
    target = tmp_path / "wide.64.png"
    assert task["result"] == {"path": str(target), "width": 64, "height": 48}
    with Image.open(target) as scaled:
        assert (scaled.format, scaled.size) == ("PNG", (64, 48))
        grey = scaled.convert("L").tobytes()
    top, bottom = grey[4 * 64], grey[44 * 64]
    assert top < 60
    assert bottom > 190
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wide.64.png", "wide.jpg"]


def test_a_small_picture_keeps_its_size_and_is_written_where_it_is_wanted(server: Server, tmp_path: Path) -> None:
    Image.new("P", (3, 2)).save(tmp_path / "dot.gif")
    target = tmp_path / "dot.png"
    task = run(server, "thumbnail", picture=str(tmp_path / "dot.gif"), target=str(target))
    assert task["result"] == {"path": str(target), "width": 3, "height": 2}
    assert target.is_file()


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x89PNG\r\n\x1a\n" + bytes(40)], ids=["empty", "text", "broken"])
def test_a_file_that_is_no_picture_fails_with_a_reason(server: Server, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "none.png"
    file.write_bytes(content)
    task = run(server, "thumbnail", picture=str(file))
    assert task["status"] == "failed"
    assert f"{file} is no picture" in task["error"]


def test_a_picture_that_is_not_there_fails_with_a_reason(server: Server) -> None:
    task = run(server, "thumbnail", picture="/nowhere/cat.png")
    assert task["status"] == "failed"
    assert "No such file" in task["error"]
    assert "/nowhere/cat.png" in task["error"]


def test_without_pillow_a_task_fails_and_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise ImportError('hidden by this test')\n")
    with Server(tmp_path, "--tasks", str(EXAMPLES / "tasks"), environ={"PYTHONPATH": str(tmp_path)}).ready() as server:
        task = run(server, "thumbnail", picture="cat.png")
    assert task["status"] == "failed"
    assert "pip install pillow" in task["error"]
