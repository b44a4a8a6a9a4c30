"""The helper that runs real processes ends them all, and tells what they said."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.blackbox.server import Process

PROGRAM = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("ready on 7", file=sys.stderr, flush=True)
time.sleep(60)
"""


def program(folder: Path, source: str = PROGRAM) -> Process:
    return Process([sys.executable, "-c", source], folder, ready=r"ready on (\d+)")


def test_a_process_is_ready_when_its_line_came_and_is_ended_with_its_children(tmp_path: Path) -> None:
    with program(tmp_path).ready() as process:
        assert process.came_ready is not None
        assert process.came_ready[1] == "7"
        (child,) = process.children()
        assert child.alive
        assert "sleep(60)" in child.command
    assert not process.running
    assert process.wait() == -signal.SIGTERM
    assert not child.alive


def test_children_of_a_killed_process_are_ended_too(tmp_path: Path) -> None:
    with program(tmp_path).ready() as process:
        (child,) = process.children()
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert child.alive
    assert not child.alive


def test_a_stopped_process_is_ended(tmp_path: Path) -> None:
    with program(tmp_path).ready() as process:
        process.kill(signal.SIGSTOP)
    assert not process.running


def test_a_process_that_ends_before_it_is_ready_shows_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ended with 3 before it was ready.*no such thing"):
        program(tmp_path, "import sys; print('no such thing'); sys.exit(3)").ready()


def test_a_process_started_again_must_come_ready_again(tmp_path: Path) -> None:
    process = program(tmp_path).ready()
    process.kill(children=True)
    process.wait()
    process.argv[2] = "print('begun', flush=True)"
    with pytest.raises(AssertionError, match=r"(?s)ended with 0.*begun"):
        process.ready()
