"""`dolgo submit`: what becomes of its arguments."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, Stub

ACCEPTED = {"id": "0192", "status": "queued"}


def submitted(stub: Stub) -> Any:
    """The body of the newest submit."""
    return stub.asked("POST /tasks")[-1].body


def test_it_prints_the_id_alone(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    ran = run("submit", "long_task")
    assert (ran.code, ran.out, ran.err) == (0, "0192\n", "")
    assert submitted(stub) == {"type": "long_task", "payload": {}}
    assert run("submit", "long_task", "--json").out == '{"id":"0192","status":"queued"}\n'


def test_it_says_when_the_task_is_one_that_was_there_before(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202, Dolgo_Existing="true")
    ran = run("submit", "long_task", "--unique-key", "k")
    assert (ran.code, ran.out) == (0, "0192\n")
    assert ran.err.startswith("Nothing new: ")


def test_a_value_is_json_where_it_is_json_and_text_where_it_is_not(run: Run, stub: Stub, at: Path) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    (at / "note.txt").write_text("Привет\n", "utf-8")
    pairs = ["n=3", "x=0.10", 'quoted="3"', "text=hello there", "yes=true", "none=null", 'deep={"a":[1]}', "empty=", "eq=a=b"]
    assert run("submit", "t", *pairs, "nan=NaN", "file=@note.txt").code == 0
    assert submitted(stub)["payload"] == {
        "n": 3,
        "x": 0.1,
        "quoted": "3",
        "text": "hello there",
        "yes": True,
        "none": None,
        "deep": {"a": [1]},
        "empty": "",
        "eq": "a=b",
        "nan": "NaN",
        "file": "Привет\n",
    }


def test_a_payload_is_sent_as_given_from_argument_file_or_stdin(
    run: Run, stub: Stub, at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    (at / "p.json").write_text('{"a": 1}')
    run("submit", "t", "--payload", "[1, 2]")
    assert submitted(stub)["payload"] == [1, 2]
    run("submit", "t", "--payload", "@p.json", "b=2")
    assert submitted(stub)["payload"] == {"a": 1, "b": 2}
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}'))
    run("submit", "t", "--payload", "-")
    assert submitted(stub)["payload"] == {"from": "stdin"}


def test_options_are_sent_when_they_are_given(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    options = ["--queue", "q", "--priority", "0", "--delay", "5m", "--tag", "a", "--tag", "b"]
    run("submit", "t", *options)
    assert submitted(stub) == {"type": "t", "payload": {}, "queue": "q", "priority": 0, "delay": 300, "tags": ["a", "b"]}
    run("submit", "t", "--run-at", "2030-01-01T00:00:00Z")
    assert submitted(stub)["run_at"] == "2030-01-01T00:00:00Z"


def test_every_option_of_a_task_is_sent(run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    options = ["--timeout", "5m", "--retries", "3", "--keep", "0", "--expires-at", "2030-01-01T00:00:00Z", "--depends-on", "a"]
    options += ["--depends-on", "b", "--on-parent-failure", "run", "--unique-key", "u", "--limit-key", "l"]
    options += ["--callback", "https://example.com/"]
    assert run("submit", "t", *options).code == 0
    assert submitted(stub) == {
        "type": "t", "payload": {}, "timeout": 300, "retries": 3, "keep": 0, "expires_at": "2030-01-01T00:00:00Z",
        "depends_on": ["a", "b"], "on_parent_failure": "run", "unique_key": "u", "limit_key": "l",
        "callback": "https://example.com/",
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["novalue"],
        ["=x"],
        ["a=1", "a=2"],
        ["a=@missing"],
        ["a=@."],
        ["--payload", "{"],
        ["--payload", "@missing"],
        ["--payload", "[1]", "a=1"],
        ["--payload", "NaN"],
        ["--payload", "[" * 100_000],
        ["a=" + "[" * 100_000],
        ["--delay", "soon"],
        ["--wait-timeout", "5"],
        ["--retries", "-1"],
        ["--on-parent-failure", "panic"],
    ],
)
def test_a_payload_that_cannot_be_sent_is_a_usage_error(arguments: list[str], run: Run, stub: Stub) -> None:
    ran = run("submit", "t", *arguments)
    assert (ran.code, ran.out, stub.requests) == (2, "", [])
    assert "Error: " in ran.err


def test_a_file_that_is_no_text_is_a_usage_error(run: Run, at: Path) -> None:
    (at / "picture").write_bytes(b"\xff\xd8")
    ran = run("submit", "t", "a=@picture")
    assert ran.code == 2
    assert "picture is not UTF-8 text." in ran.err


@pytest.mark.parametrize(
    ("ended", "code", "out"),
    [
        ({"status": "done", "result": {"result": "success"}}, 0, '0192  done\n{"result":"success"}\n'),
        ({"status": "failed", "error": "It broke."}, 3, "0192  failed\n  It broke.\n"),
        ({"status": "cancelled", "error": "Cancelled."}, 3, "0192  cancelled\n  Cancelled.\n"),
    ],
)
def test_with_wait_it_prints_how_the_task_ended(ended: dict[str, Any], code: int, out: str, run: Run, stub: Stub) -> None:
    stub.answer("POST /tasks", ACCEPTED, 202)
    stub.answer("GET /tasks/0192", {"id": "0192", "status": "in_progress"})
    stub.answer("GET /tasks/0192", {"id": "0192", **ended})
    ran = run("submit", "t", "--wait")
    assert (ran.code, ran.out, ran.err) == (code, out, "0192\n")


@pytest.mark.parametrize(
    "arguments", [["a=\udcff"], ["a\udcff=1"], ["--tag", "\udcff"], ["--payload", '"\udcff"'], ["--key", "\udcff"]]
)
def test_an_argument_that_is_no_text_is_a_usage_error(arguments: list[str], run: Run, stub: Stub) -> None:
    ran = run("submit", "t", *arguments)
    assert ran == (2, "", "dolgo: an argument is not UTF-8 text.\n")
    assert stub.requests == []
