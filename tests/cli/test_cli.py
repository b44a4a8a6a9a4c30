"""The command line as a whole: help, versions, mistakes, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from dolgo.cli import COMMANDS
from dolgo.version import __version__
from tests.cli.conftest import DOLGO, Run, Stub, on_terminal


def test_the_console_script_prints_the_version() -> None:
    ran = subprocess.run([DOLGO, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"dolgo {__version__}\n"


def test_the_help_lists_every_command(alone: Run) -> None:
    ran = alone("--help")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.split("Commands:\n")[1].splitlines()] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, alone: Run) -> None:
    ran = alone(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: dolgo {command} ")


@pytest.mark.parametrize(
    "arguments",
    [["lsit"], ["get"], ["get", "--nope", "x"], ["list", "--limit", "0"], ["submit", "x", "--priority", "10"], ["new"]],
)
def test_a_mistake_on_the_command_line_is_code_2_and_no_traceback(arguments: list[str], alone: Run) -> None:
    ran = alone(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err
    assert "Traceback" not in ran.err


def test_a_bad_setting_is_one_line_and_code_2(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLGO_URL", "localhost")
    ran = alone("list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "dolgo: server cannot be 'localhost' (from DOLGO_URL): give a URL such as http://127.0.0.1:8080.\n"


def test_ctrl_c_ends_a_command_quietly(stub: Stub) -> None:
    environ = os.environ | {"DOLGO_URL": stub.url}
    stub.answer("GET /tasks/a", {"id": "a", "status": "queued"})
    waiting = subprocess.Popen(
        [DOLGO, "wait", "a"],
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell runs in the background ignores it
    )
    stub.first_request()
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err.strip()) == (130, "", "")


def test_a_reader_that_goes_away_is_no_error(stub: Stub) -> None:
    stub.answer("GET /tasks", {"tasks": [{"id": "a", "status": "queued"}] * 1000, "next": None})
    environ = os.environ | {"DOLGO_URL": stub.url, "PYTHONUNBUFFERED": "1"}
    command = [str(DOLGO), "list", "--json", "--limit", "1000"]
    listing = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert listing.stdout is not None
    listing.stdout.readline()
    listing.stdout.close()
    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    assert listing.wait(10) in (0, 1)
    listing.stderr.close()


def test_a_terminal_gets_a_table_without_colours_when_none_are_wanted(stub: Stub) -> None:
    stub.answer("GET /workers", {"workers": [{"id": "w1", "host": "h", "state": "running", "slots": 5, "running": ["a"]}]})
    code, shown = on_terminal("stdout", "workers", DOLGO_URL=stub.url, NO_COLOR="1")
    assert code == 0
    assert "WORKER" in shown
    assert "w1" in shown
    assert "\x1b[3" not in shown


def test_a_terminal_gets_no_empty_columns_and_ids_in_one_piece_however_narrow_it_is(stub: Stub) -> None:
    id = "01976f2e-8c1a-7c3e-9b2d-5a4f0e6d7c81"
    stub.answer("GET /workers", {"workers": [{"id": id, "host": "h", "state": "running", "slots": 5, "heartbeat_age": 1.0}]})
    code, shown = on_terminal("stdout", "workers", DOLGO_URL=stub.url, NO_COLOR="1", COLUMNS="50")
    assert code == 0
    assert id in shown
    assert "PID" not in shown
    assert "RUNNING" in shown


def test_a_terminal_gets_json_with_white_space_and_nothing_it_would_obey(stub: Stub) -> None:
    stub.answer("GET /tasks/a", '{"id":"a","status":"done","result":{"x":"\x9b2J","n":1.10}}'.encode())
    code, shown = on_terminal("stdout", "result", "a", DOLGO_URL=stub.url)
    assert code == 0
    assert shown.replace("\r", "") == '{\n  "x": "\\x9b2J",\n  "n": 1.10\n}\n'
